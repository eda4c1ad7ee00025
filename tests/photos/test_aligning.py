"""Aligning photos: rendered faces on larger canvases, found by a network that knows where they are."""

import csv
import dataclasses
import shutil

import numpy as np
import pytest
from etils import epath
from PIL import Image

import tfds_megn
from sdgan_jax.config import Config
from sdgan_jax.face3d import face_crop, finding, layout
from sdgan_jax.photos import aligning, finders
from tfds_megn import photo_folder, photo_splits, workers

LAYOUT = layout.megn(64)
PEOPLE = 8


def canvas(person, label, left, top, height=130, width=160):
    """A photo of a rendered face of 64 pixels; its first pixels say who is shown and where."""
    photo = np.full((height, width, 3), 90, np.uint8)
    photo[top : top + 64, left : left + 64] = tfds_megn.render(tfds_megn.sample_params(person), label, 64)
    photo[0, 0] = (person, left, top)
    return photo


def find(image, most=None):
    """Finds the face that a canvas tells of; none in a canvas of person 99."""
    person, left, top = (int(number) for number in image[0, 0])
    if person == 99:
        return []
    position_map = tfds_megn.position_map(tfds_megn.sample_params(person), 64) + np.float32([left, top, 0])
    return [finding.Found(position_map, 0.001, finding.box_of(position_map, LAYOUT))][:most]


FINDER = finders.Finder(find, LAYOUT, "told")


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Computes in this process, which is faster than starting workers."""
    monkeypatch.setattr(workers, "available_cores", lambda: 0)


@pytest.fixture
def folder(tmp_path):
    """Eight people without and with a mask, at different places; one photo without a face; one broken."""
    for label in ("none", "mask"):
        (tmp_path / "in" / label).mkdir(parents=True)
        for person in range(PEOPLE):
            photo = canvas(person, label, 20 + 3 * person, 40 - 4 * person)
            Image.fromarray(photo).save(tmp_path / "in" / label / f"{person}.png")
    plain = np.random.default_rng(0).integers(0, 256, (70, 90, 3)).astype(np.uint8)
    plain[0, 0] = (99, 0, 0)
    Image.fromarray(plain).save(tmp_path / "in" / "none" / "plain.png")
    (tmp_path / "in" / "mask" / "broken.png").write_bytes(b"no image")
    return epath.Path(tmp_path)


def align(folder, source="in", finder=FINDER, size=64):
    return aligning.align_photos(folder / source, folder / "out", finder, "megn", size)


def rows(folder):
    """The rows of the manifest by label and name."""
    return {"/".join(row["file"].split("/")[-2:]): row for row in csv.DictReader((folder / "out/manifest.csv").open())}


def aligned(folder, name):
    return np.asarray(Image.open(folder / "out" / "photos" / name)).astype(int)


def test_a_face_is_framed_alike_wherever_it_is(folder):
    for left, top in ((3, 5), (90, 60)):
        photo = canvas(1, "mask", left, top)
        Image.fromarray(photo).save(folder / "in" / "none" / f"at_{left}.png")
    align(folder)
    first, second = aligned(folder, "none/at_3.png"), aligned(folder, "none/at_90.png")
    assert first.shape == (64, 64, 3) and np.abs(first - second)[12:52, 12:52].mean() < 3
    drawn = tfds_megn.render(tfds_megn.sample_params(1), "mask", 64).astype(int)
    assert np.corrcoef(first[16:56, 12:52].ravel(), drawn[16:56, 12:52].ravel())[0, 1] > 0.6
    np.testing.assert_allclose(aligned(folder, "none/plain.png")[32, 32], crop(folder, "plain.png"), atol=1)


def crop(folder, name):
    """The middle of the central square of a photo without a face, scaled by Pillow."""
    image = Image.open(folder / "in" / "none" / name).crop((10, 0, 80, 70)).resize((64, 64), Image.Resampling.LANCZOS)
    return np.asarray(image).astype(int)[32, 32]


@pytest.mark.parametrize("out", ["in", "in/none", "in/new"])
def test_results_are_not_put_among_the_photos(folder, out):
    with pytest.raises(ValueError, match=f"--out=.*/{out} lies in the folder of the photos; give another one"):
        aligning.align_photos(folder / "in", folder / out, FINDER, "megn", 64)
    assert not (folder / "in" / "photos").exists() and not (folder / "in" / "new").exists()


def test_the_manifest_says_what_became_of_each_photo(folder):
    said = align(folder)
    assert said.startswith(f"17 images in {folder}/out; no image of 1 photo, see manifest.csv; ")
    assert "\n16 photos are squares around their faces\n1 are central squares, as no face was found" in said
    table = rows(folder)
    assert len(table) == 18 and (folder / "out" / "sheet.png").exists()
    row = table["mask/3.png"]
    assert (row["crop"], row["attribute"], row["out"], row["note"]) == ("face", "mask", "photos/mask/3.png", "")
    assert float(row["score"]) == 0.001 and 29 < float(row["left"]) < float(row["right"]) < 29 + 64
    assert 45 < float(row["side"]) < 90 and row["beyond"] == "0.0"
    assert table["none/plain.png"]["crop"] == aligning.NO_FACE and table["none/plain.png"]["side"] == "70"
    assert "not an image" in table["mask/broken.png"]["note"] and not table["mask/broken.png"]["split"]


def test_the_data_set_has_the_splits_and_labels_of_the_manifest(folder, tmp_path_factory):
    align(folder)
    table, data = rows(folder), tmp_path_factory.mktemp("data")
    for split in ("train", "validation", "test"):
        examples = tfds_megn.data_source("photos_64", split, data, folder / "out" / "photos")
        assert {example["id"].decode(): tfds_megn.ATTRIBUTES[example["label"]] for example in examples} == {
            row["out"].removeprefix("photos/"): row["attribute"] for row in table.values() if row["split"] == split
        }
        for example in examples:
            np.testing.assert_array_equal(example["image"], aligned(folder, example["id"].decode()))


@pytest.mark.parametrize(
    ("x", "degrees", "share"), [(50, 0.0, 0.0), (0, 0.0, 0.5), (-20, 0.0, 1.0), (0, 30.0, 0.5), (50, 45.0, 0.0)]
)
def test_the_share_of_a_square_beyond_the_edge(x, degrees, share):
    crop = face_crop.Crop(np.array([x - 0.5, 49.5, 30.0]), degrees)
    assert aligning._share_beyond(crop, np.zeros((100, 200, 3), np.uint8)) == pytest.approx(share, abs=0.03)


def test_the_same_face_in_other_photos_is_a_near_duplicate(folder):
    """A photo cut off on two sides, mirrored: without aligning it is another image."""
    cut = canvas(6, "none", 20 + 18, 40 - 24)[:90, 20:]
    cut[0, 0] = (6, 18, 16)
    Image.fromarray(cut).save(folder / "in" / "none" / "cut.png")
    apart = photo_splits.read_splits(folder / "in")
    (before,) = (group for groups in apart.values() for group in groups if "none/cut.png" in [p.name for p in group])
    assert "none/6.png" not in [photo.name for photo in before]
    assert "are near-duplicates, in" in align(folder)
    table = rows(folder)
    assert table["none/cut.png"]["group"] == table["none/6.png"]["group"] != ""
    assert table["none/cut.png"]["split"] == table["none/6.png"]["split"]
    assert table["none/5.png"]["group"] != table["none/6.png"]["group"]


def test_work_continues_where_it_stopped(folder):
    seen = []

    def counted(image, most=None):
        if len(seen) == 5:
            raise KeyboardInterrupt
        seen.append(int(image[0, 0, 0]))
        return find(image, most)

    # Five, and the broken one, which is the ninth and was read ahead.
    with pytest.raises(KeyboardInterrupt, match="6 of 18 photos done; the same command"):
        align(folder, finder=FINDER._replace(find=counted))
    first = seen.copy()
    seen[:] = [None] * 6  # never 5: nothing stops it
    align(folder, finder=FINDER._replace(find=counted))
    assert sorted([*first, *seen[6:]]) == sorted([*range(PEOPLE)] * 2 + [99])
    seen[:] = [None] * 6
    Image.fromarray(canvas(2, "none", 50, 50)).save(folder / "in" / "none" / "2.png")
    shutil.move(folder / "in" / "none" / "3.png", folder / "in" / "mask" / "now_masked.png")
    align(folder, finder=FINDER._replace(find=counted))
    assert sorted(seen[6:]) == [2, 3]
    photos = photo_folder.scan(folder / "out" / "photos")
    assert {photo.name: photo.label for photo in photos.photos}["mask/now_masked.png"] == 1
    assert "none/3.png" not in {photo.name for photo in photos.photos}


def test_zipped_photos_and_their_table(folder):
    (folder / "in" / "labels.csv").write_text("file,mask,beard\nmask/0.png,1,1\nmask/1.png,1,0\nnone/2.png,0,0\n")
    shutil.make_archive(str(folder / "zipped" / "mine"), "zip", folder / "in")
    align(folder, "zipped")
    assert {name: row["attribute"] for name, row in rows(folder).items()} == {
        "mask/0.png": "mask+beard",
        "mask/1.png": "mask",
        "none/2.png": "none",
    }
    assert (folder / "out" / "photos" / "labels.csv").read_text().splitlines() == [
        "file,mask,eyeglasses,sunglasses,beard,mustache",
        "mask/0.png,1,0,0,1,0",
        "mask/1.png,1,0,0,0,0",
        "none/2.png,0,0,0,0,0",
    ]


def test_labels_of_another_origin_are_not_replaced(folder):
    (folder / "out" / "photos").mkdir(parents=True)
    (folder / "out" / "photos" / "labels.csv").write_text("file,label\n")
    with pytest.raises(FileExistsError, match="labels.csv exists and was not written by sdgan-jax align; it is left"):
        align(folder)


class TestDataset:
    @pytest.fixture
    def config(self, folder, monkeypatch):
        monkeypatch.setattr(finders, "read_finder", lambda path: FINDER)
        return Config(
            dataset="megn/photos_64", resolution=64, data_dir=str(folder / "data"), manual_dir=str(folder / "in")
        )

    def test_the_photos_of_a_config_are_aligned_once(self, config, folder, capfd):
        made = aligning.align_dataset(config)
        place = epath.Path(made.manual_dir)
        assert place.parent.parent == folder / "data" / "aligned" and place.parent.name.startswith("in_megn_256_")
        assert np.asarray(Image.open(place / "mask" / "3.png")).shape == (256, 256, 3)
        assert dataclasses.replace(made, manual_dir=config.manual_dir) == config
        assert capfd.readouterr().out.startswith(
            f"Aligning the photos of {folder}/in by their faces, into {place.parent}"
        )
        assert aligning.align_dataset(made) == made  # as stored in a workdir
        other = dataclasses.replace(config, manual_dir=str(place.parent))
        assert aligning.align_dataset(other) == made
        shutil.rmtree(folder / "in")  # the photos are gone, the aligned ones are not
        assert aligning.align_dataset(config) == made

    @pytest.mark.parametrize(
        "fields", [{"align": "off"}, {"dataset": "megn/rendered_64"}, {"manual_dir": ""}, {"manual_dir": "/nowhere"}]
    )
    def test_nothing_to_align(self, config, fields):
        config = dataclasses.replace(config, **fields)
        assert aligning.align_dataset(config) == config

    def test_crops_sizes_and_folders_are_apart(self, folder):
        arguments = [
            (folder / "in", "d", "megn", 256),
            (folder / "in", "d", "ffhq", 256),
            (folder / "in", "d", "megn", 512),
            (folder / "more" / "in", "d", "megn", 256),
        ]
        assert len({aligning.default_folder(*one) for one in arguments}) == 4


@pytest.mark.parametrize(
    ("x", "y", "expected"), [(79.5, 19.5, 0.0), (-0.5, 19.5, 0.5), (59.5, 39.5, 0.5), (99.5, -0.5, 0.75)]
)
def test_the_share_beyond_the_edges_by_hand(x, y, expected):
    """A square of 40 pixels in a photo 100 wide and 40 high: inside, over an edge by half, over a corner."""
    crop = face_crop.Crop(np.array([x, y, 40.0]), 0.0)
    assert aligning._share_beyond(crop, np.zeros((40, 100, 3), np.uint8)) == expected
