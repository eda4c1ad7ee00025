import copy
import io
import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from sdgan_jax import config as config_lib
from sdgan_jax.data import stream
from tests.data import damage

NAMES = ("none", "mask", "beard")
TRAIN, VALIDATION = 11, 3


def picture(index, size=8):
    """A picture that is known by its number: red = index, green = row, blue = column."""
    rows, columns = np.mgrid[:size, :size]
    return np.stack([np.full((size, size), index), rows, columns], axis=2).astype(np.uint8)


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    file.seek(0)
    return file


class TinyFaces(tfds.core.GeneratorBasedBuilder):
    """Faces of 8 pixels; number i wears nothing, a mask, a beard, or mask and beard, by i % 4."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(8, 8, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=list(NAMES)),
            "attributes": tfds.features.Tensor(shape=(2,), dtype=np.bool_),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._examples(0, TRAIN), "validation": self._examples(100, VALIDATION)}

    def _generate_examples(self):
        raise NotImplementedError

    def _examples(self, first, count):
        for i in range(first, first + count):
            mask, beard = i % 4 in (1, 3), i % 4 in (2, 3)
            label = "mask" if mask else "beard" if beard else "none"
            yield i, {"image": png(picture(i)), "label": label, "attributes": [mask, beard]}


class TinyDigits(tfds.core.GeneratorBasedBuilder):
    """Grey pictures of varying size with a label alone, whose order is not the config's."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=["one", "zero"]),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._examples()}

    def _generate_examples(self):
        raise NotImplementedError

    def _examples(self):
        for i in range(4):
            yield i, {"image": png(np.full((12 + i, 20), 10 * i, np.uint8)), "label": i % 2}


def channels(name):
    """A stored picture of 8 x 8 pixels and what is to be seen of it, u8[8,8,3], after the PNG specification."""
    values = np.random.default_rng(0).integers(0, 256, (8, 8, 4)).astype(np.uint8)
    grey, alpha = values[..., :1], values[..., 3:]
    on_white = lambda colour: np.round(colour * (alpha / 255) + 255 * (1 - alpha / 255))  # noqa: E731
    grey16 = np.random.default_rng(0).integers(0, 65536, (8, 8, 1)).astype(np.uint16)
    white = np.full((8, 8, 3), 255)
    if name == "palette":
        image = Image.fromarray(values[..., 0] % 2, "P")
        image.putpalette([10, 20, 30, 200, 100, 50])
        return image, np.where(grey % 2, [200, 100, 50], [10, 20, 30])
    return {
        "grey": (Image.fromarray(values[..., 0]), grey + 0 * white),
        "grey and alpha": (Image.fromarray(values[..., [0, 3]], "LA"), on_white(grey) + 0 * white),
        "rgb": (Image.fromarray(values[..., :3]), values[..., :3]),
        "rgba": (Image.fromarray(values), on_white(values[..., :3])),
        "grey of 16 bits": (Image.fromarray(grey16[..., 0]), np.round(grey16 / 257) + 0 * white),
        "black and white": (Image.fromarray(values[..., 0] > 127), 255 * (grey > 127) + 0 * white),
    }[name]


class TinyKinds(tfds.core.GeneratorBasedBuilder):
    """Six copies of a picture, stored as the config's name says."""

    VERSION = tfds.core.Version("1.0.0")
    KINDS = {
        "grey": (1, np.uint8),
        "grey and alpha": (2, np.uint8),
        "rgb": (3, np.uint8),
        "rgba": (4, np.uint8),
        "palette": (3, np.uint8),
        "black and white": (1, np.uint8),
        "grey of 16 bits": (1, np.uint16),
        "rgba as rgb": (3, np.uint8),
        "float": (1, np.float32),
        "broken": (3, np.uint8),
    }
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name.replace(" ", "_")) for name in KINDS]

    def _info(self):
        depth, dtype = self.KINDS[self.builder_config.name.replace("_", " ")]
        features = {
            "image": tfds.features.Image(shape=(8, 8, depth), dtype=dtype, encoding_format="png"),
            "label": tfds.features.ClassLabel(names=list(NAMES)),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._examples()}

    def _generate_examples(self):
        raise NotImplementedError

    def _examples(self):
        name = self.builder_config.name.replace("_", " ").removesuffix(" as rgb")
        file = io.BytesIO()
        channels("rgb" if name == "broken" else name)[0].save(file, "PNG")
        data = file.getvalue()[: -60 if name == "broken" else None]
        for i in range(6):
            yield i, {"image": io.BytesIO(data), "label": "mask"}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return config_lib.Config(
        dataset="tiny_faces",
        data_dir=str(tmp_path_factory.mktemp("data")),
        resolution=8,
        attributes=NAMES,
        batch_size=4,
        seed=3,
    )


def changed(config, **fields):
    new = copy.deepcopy(config)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def take(config, count, start=0, **process):
    iterator = stream.train_iterator(config, **process)
    iterator.position = start
    batches = [next(iterator) for _ in range(count)]
    iterator.close()
    return batches


def numbers(batches):
    """The pictures' numbers, by their red channel."""
    return np.concatenate([batch["image"][:, 0, 0, 0] for batch in batches]).tolist()


def assert_same(some, others):
    assert len(some) == len(others)
    for one, other in zip(some, others):
        np.testing.assert_array_equal(one["image"], other["image"])
        np.testing.assert_array_equal(one["attributes"], other["attributes"])


def test_a_batch_holds_decoded_images_and_multi_hot_attributes(config):
    worn = {0: [1, 0, 0], 1: [0, 1, 0], 2: [0, 0, 1], 3: [0, 1, 1]}
    for batch in take(config, 3):
        assert batch["image"].shape == (4, 8, 8, 3) and batch["image"].dtype == np.uint8
        assert batch["attributes"].shape == (4, 3) and batch["attributes"].dtype == np.float32
        for image, row in zip(batch["image"], batch["attributes"]):
            number = int(image[0, 0, 0])
            np.testing.assert_array_equal(image, picture(number))
            assert row.tolist() == worn[number % 4]


def test_every_epoch_shows_each_image_once_in_another_order(config):
    seen = numbers(take(config, 11))  # 44 images: four epochs of 11
    epochs = [seen[i : i + TRAIN] for i in range(0, 44, TRAIN)]
    assert all(sorted(epoch) == list(range(TRAIN)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_the_order_follows_the_seed(config):
    assert_same(take(config, 5), take(config, 5))
    assert numbers(take(config, 5)) != numbers(take(changed(config, seed=4), 5))


def test_processes_share_the_batch_of_one_process(config):
    whole = take(config, 5)
    parts = [take(config, 5, process_index=p, process_count=2) for p in range(2)]
    joined = [{name: np.concatenate([a[name], b[name]]) for name in a} for a, b in zip(*parts)]
    assert_same(joined, whole)


def test_resuming_in_the_middle_of_an_epoch_is_exact(config):
    whole = take(config, 9)
    for stop in (1, 2, 4):
        assert_same(take(config, 9 - stop, start=stop), whole[stop:])


def test_position_counts_batches_given_out_not_prefetched(config):
    iterator = stream.train_iterator(config)
    first = [next(iterator) for _ in range(3)]
    assert iterator.position == 3
    iterator.position = 1
    assert_same([next(iterator), next(iterator)], first[1:])
    assert iterator.position == 3
    iterator.close()


@pytest.mark.slow
def test_worker_processes_give_the_same_batches(config):
    assert_same(take(changed(config, data_workers=2), 4, start=2), take(config, 6)[2:])


def test_first_images_are_held_out_ones_then_training_ones(config):
    batch = stream.first_images(config, 2)
    assert all(number >= 100 for number in numbers([batch])) and len(batch["image"]) == 2
    batch = stream.first_images(config, 5)
    assert [number >= 100 for number in numbers([batch])] == [True, True, True, False, False]
    assert_same([batch], [stream.first_images(config, 5)])
    assert len(stream.first_images(config, 99)["image"]) == TRAIN + VALIDATION


def test_attributes_are_read_without_the_images(config):
    examples = stream.Examples(config, "train")
    numbers_seen = examples.read(range(TRAIN))["image"][:, 0, 0, 0]
    expected = [[i % 4 == 0, i % 4 in (1, 3), i % 4 in (2, 3)] for i in numbers_seen]
    np.testing.assert_array_equal(examples.attributes(range(TRAIN)), expected)
    np.testing.assert_array_equal(examples.attributes([4, 2]), np.asarray(expected)[[4, 2]])


def test_another_datasets_labels_are_matched_by_name_and_its_images_resized(config):
    digits = changed(config, dataset="tiny_digits", attributes=("none", "zero", "one"), batch_size=2)
    batch = stream.first_images(digits, 4)
    assert batch["image"].shape == (4, 8, 8, 3)
    for image, row in zip(batch["image"], batch["attributes"]):
        number = int(image[0, 0, 0]) // 10
        np.testing.assert_array_equal(image, np.full((8, 8, 3), 10 * number))
        assert row.tolist() == ([0, 0, 1] if number % 2 == 0 else [0, 1, 0])  # label 0 is "one"


def test_plain_stylegan2_looks_at_no_label(config):
    plain, faces = (stream.first_images(c, 3) for c in (changed(config, attributes=("none",)), config))
    np.testing.assert_array_equal(plain["attributes"], np.ones((3, 1), np.float32))
    np.testing.assert_array_equal(plain["image"], faces["image"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dataset": "tiny_face"}, "'tiny_face', which TFDS does not know; did you mean tiny_faces"),
        ({"batch_size": 12}, "11 images, fewer than a batch: .* --config.batch_size=8 or less"),
        ({"attributes": ("none", "mask")}, "are none, mask, beard, but config.attributes is none, mask; set"),
        ({"resolution": 16}, "8 x 8 pixels but config.resolution is 16; set --config.resolution=8"),
        ({"dataset": "megn/rendered_33"}, "rendered_33"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(config, fields, message):
    with pytest.raises(ValueError, match=message) as raised:
        stream.train_iterator(changed(config, **fields))
    assert "\n" not in str(raised.value)


def test_a_batch_that_the_processes_cannot_share_is_refused(config):
    with pytest.raises(ValueError, match="config.batch_size is 4; it must be a multiple of the 3 processes"):
        stream.train_iterator(config, process_count=3)


@pytest.mark.parametrize("kind", [name for name in TinyKinds.KINDS if name not in ("float", "broken")])
def test_images_of_any_channels_and_16_bits_are_seen_as_photos_are(config, kind):
    batch = stream.first_images(changed(config, dataset=f"tiny_kinds/{kind.replace(' ', '_')}"), 4)
    expected = channels(kind.removesuffix(" as rgb"))[1]
    assert batch["image"].shape == (4, 8, 8, 3) and batch["image"].dtype == np.uint8
    np.testing.assert_allclose(batch["image"][3], expected, atol=1 if "a" in kind.split() or "rgba" in kind else 0)


def test_float_images_are_refused_before_they_are_prepared(config, tmp_path):
    with pytest.raises(ValueError, match="the images of tiny_kinds/float are float32, not colours") as raised:
        stream.train_iterator(changed(config, dataset="tiny_kinds/float", data_dir=str(tmp_path)))
    assert "\n" not in str(raised.value) and not list(tmp_path.iterdir())


def test_a_broken_image_is_named_in_one_line(config):
    with pytest.raises(ValueError, match=r"^tiny_kinds/broken, split train, image 0: .*(broken|truncated)") as raised:
        stream.first_images(changed(config, dataset="tiny_kinds/broken"), 1)
    assert "\n" not in str(raised.value)


def broken_copy(config, folder, records):
    """Copies the tiny faces, and damages some records of the training split; returns the config of the copy."""
    stream.Examples(config, "train")  # prepares them
    copied = changed(config, data_dir=str(shutil.copytree(config.data_dir, folder / "copy")))
    damage.flip_bits(copied, records)
    return copied


def replaced(config, seen, records):
    """The numbers of pictures that are seen in place of `seen` when records are broken: each is the next one."""
    stored = stream.Examples(config, "train").read(range(TRAIN))["image"][:, 0, 0, 0].tolist()
    for record in sorted(records, reverse=True):
        seen = [stored[(record + 1) % TRAIN] if n == stored[record] else n for n in seen]
        stored[record] = stored[(record + 1) % TRAIN]
    return seen


BROKEN = (2, 3, TRAIN - 1)  # the image after 2 is broken, too, and after the last comes the first


def test_an_image_that_cannot_be_read_is_replaced_by_the_next_and_named_once(config, tmp_path, capfd):
    damaged = broken_copy(config, tmp_path, BROKEN)
    expected = replaced(config, numbers(take(config, 9)), BROKEN)
    iterator = stream.train_iterator(damaged)
    assert numbers([next(iterator) for _ in range(9)]) == expected
    assert iterator.skipped == set(BROKEN)
    iterator.close()
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("left out")]
    assert len(lines) == len(BROKEN)
    for record in BROKEN:
        (line,) = [line for line in lines if f"image {record}: " in line]
        assert line.startswith(
            f"left out, replaced by the next image: tiny_faces, split train, image {record}: Corrupted"
        )
        assert line.endswith(
            f"(record {record} of {damaged.data_dir}/tiny_faces/1.0.0/tiny_faces-train.array_record-00000-of-00001)"
        )
    parts = [take(damaged, 9, process_index=p, process_count=2) for p in range(2)]
    assert np.stack([np.reshape(numbers(part), (9, 2)) for part in parts], 1).ravel().tolist() == expected
    assert numbers(take(damaged, 4, start=5)) == expected[20:]


@pytest.mark.slow
def test_worker_processes_replace_broken_images_as_threads_do(config, tmp_path):
    damaged = changed(broken_copy(config, tmp_path, BROKEN), data_workers=2)
    iterator = stream.train_iterator(damaged)
    batches = [next(iterator) for _ in range(6)]
    iterator.close()
    assert numbers(batches) == replaced(config, numbers(take(config, 6)), BROKEN)
    assert iterator.skipped <= set(BROKEN) and len(iterator.skipped) > 1
    iterator = stream.train_iterator(changed(damaged, max_skipped=0))
    with pytest.raises(ValueError, match="images cannot be read, and config.max_skipped is 0"):
        [next(iterator) for _ in range(6)]
    iterator.close()


def test_a_batch_with_more_broken_images_than_allowed_is_refused_in_one_line(config, tmp_path):
    damaged = changed(broken_copy(config, tmp_path, range(4, 8)), batch_size=8, max_skipped=2)
    with pytest.raises(ValueError, match=r"image \d: Corrupted .*; 3 images cannot be .*max_skipped is 2: ") as raised:
        take(damaged, 1)
    assert "\n" not in str(raised.value)


def test_a_data_set_without_a_whole_image_is_refused(config):
    with pytest.raises(ValueError, match=r"^tiny_kinds/broken, .*; 6 images cannot be read"):
        take(changed(config, dataset="tiny_kinds/broken", max_skipped=100), 1)


def test_sheets_leave_broken_images_out(config, tmp_path):
    damaged = broken_copy(config, tmp_path, (0,))
    seen, whole = (numbers([stream.first_images(c, TRAIN + VALIDATION)]) for c in (damaged, config))
    assert seen == whole[:VALIDATION] + whole[VALIDATION + 1 :]


@pytest.mark.parametrize(
    ("text", "reason"), [("", "Expecting value"), ('{"name": ', "Expecting value"), (None, "has not been generated")]
)
def test_a_folder_that_was_written_by_halves_is_named(config, tmp_path, text, reason):
    damaged = broken_copy(config, tmp_path, ())
    (file,) = (tmp_path / "copy").rglob("tiny_faces/1.0.0/dataset_info.json")
    file.unlink() if text is None else file.write_text(text)
    words = rf"^tiny_faces: its folder in {tmp_path}/copy is incomplete or damaged \(.*{reason}.*; move it away, and"
    with pytest.raises(ValueError, match=words) as raised:
        stream.train_iterator(damaged)
    assert "\n" not in str(raised.value)


def test_the_data_set_is_described_by_version_and_exact_size(config):
    iterator = stream.train_iterator(config)
    (file,) = pathlib.Path(config.data_dir).rglob("tiny_faces/1.0.0/dataset_info.json")
    splits = {split["name"]: split for split in json.loads(file.read_text())["splits"]}
    assert iterator.dataset == f"tiny_faces/1.0.0: {TRAIN} images, {splits['train']['numBytes']} bytes"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A config of twelve photos with a labels.csv, of which three wear a mask and a beard."""
    return config_of_photos(tmp_path_factory, 3)


def config_of_photos(tmp_path_factory, several):
    """A config of twelve photos: six wear a mask, and the first of them a beard, too."""
    folder = tmp_path_factory.mktemp("photos")
    rows = ["file,mask,beard"]
    for i in range(12):
        (folder / f"{i}.png").write_bytes(png(picture(i, 64)).getvalue())
        rows.append(f"{i}.png,{int(i < 6)},{int(i < several)}")
    (folder / "labels.csv").write_text("\n".join(rows))
    return config_lib.Config(
        dataset="megn/photos_64",
        data_dir=str(tmp_path_factory.mktemp("data")),
        manual_dir=str(folder),
        resolution=64,
        batch_size=2,
    )


@pytest.mark.parametrize(("kind", "process", "hinted"), [("softmax", 0, 1), ("softmax", 1, 0), ("sigmoid", 0, 0)])
def test_photos_with_several_attributes_hint_at_sigmoid_once(photos, kind, process, hinted, capfd):
    photos = changed(photos)
    photos.losses.attribute_kind = kind
    stream.train_iterator(photos, process, 2).close()
    lines = [line for line in capfd.readouterr().err.split("\n") if line.startswith("hint")]
    assert len(lines) == hinted
    for line in lines:
        assert "3 of the 12 photos of megn/photos_64 wear several attributes" in line
        assert "--config.losses.attribute_kind=sigmoid" in line


def test_photos_with_one_attribute_each_need_no_hint(tmp_path_factory, capfd):
    stream.train_iterator(config_of_photos(tmp_path_factory, 0)).close()
    assert "hint" not in capfd.readouterr().err


@pytest.mark.parametrize("dataset", ["megn/rendered_32", "tiny_faces"])
def test_a_folder_that_cannot_be_written_is_named_with_the_flag(config, dataset, tmp_path):
    (tmp_path / "file").write_text("")
    folder = str(tmp_path / "file" / "data")
    words = rf"^{tmp_path}/file\S*: cannot be written \(.*\); set --config.data_dir to another folder$"
    with pytest.raises(OSError, match=words):
        stream.train_iterator(changed(config, dataset=dataset, data_dir=folder))


def test_the_home_is_expanded(config, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    stream.train_iterator(changed(config, data_dir="~/data")).close()
    assert (tmp_path / "data" / "tiny_faces").is_dir()
