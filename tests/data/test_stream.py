import json
import pathlib

import numpy as np
import pytest

from sdgan_jax import config as config_lib
from sdgan_jax.data import stream
from tests.data.tiny_sets import TRAIN, VALIDATION, TinyKinds, changed, channels, numbers, picture, png, take


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


@pytest.mark.parametrize("workers", [0, 1, 3, 8, 64])
def test_workers_share_the_threads_and_the_memory_of_one_process(workers):
    """Of batches of 12 MiB 21 fit into 256 MiB; there are 16 cores."""
    readers, options = max(1, workers), stream._read_options(12 * 2**20, workers, 16)
    assert readers * options.num_threads <= max(16, workers)
    assert readers * options.prefetch_buffer_size <= max(21, workers)
    assert readers * options.num_threads > 8 and readers * options.prefetch_buffer_size > 10


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
