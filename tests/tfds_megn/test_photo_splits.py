"""Division of photos: shares, groups that stay together, and the table of both."""

import csv
import io
import os

import PIL.Image
import pytest

import tfds_megn
from tests.tfds_megn.test_photo_folder import png, write
from tfds_megn import photo_files, photo_folder, photo_splits


def divide(photos):
    """Returns the photos of each split without their groups."""
    splits = photo_splits.split_photos(photos)
    return {name: [photo for group in groups for photo in group] for name, groups in splits.items()}


def usable(pixels: list[int]) -> dict[photo_folder.Photo, photo_folder.Converted]:
    """Photos that show the images of these numbers."""
    return with_hashes([(number * 0x9E3779B97F4A7C15 + 12345) % 2**64 for number in pixels])  # Fibonacci hashing


def with_hashes(hashes: list[int]) -> dict[photo_folder.Photo, photo_folder.Converted]:
    """Photos whose pixels have these hashes of 64 bits."""
    return {
        photo_folder.Photo(
            f"mask/{index}.png", (True, False, False, False, False), "/x", photo_files.File(f"mask/{index}.png", 1)
        ): photo_folder.Converted(b"", 0, value)
        for index, value in enumerate(hashes)
    }


class TestSplits:
    def test_shares(self):
        splits = divide(usable(range(5000)))
        assert sum(map(len, splits.values())) == 5000
        # Four standard deviations of a binomial with p = 0.1.
        assert abs(len(splits["validation"]) - 500) < 4 * (5000 * 0.1 * 0.9) ** 0.5
        assert abs(len(splits["test"]) - 500) < 4 * (5000 * 0.1 * 0.9) ** 0.5

    def test_the_first_eight_tenths_of_the_hashes_are_train_then_validation_then_test(self):
        """A photo is in the same split in every version of this project, or trained models would have seen the test."""
        shares = {"train": [0.0, 0.5, 0.79], "validation": [0.81, 0.89], "test": [0.91, 0.99]}
        photos_ = with_hashes([int(share * 2**64) for some in shares.values() for share in some])
        names = iter(photos_)
        assert divide(photos_) == {split: [next(names) for _ in some] for split, some in shares.items()}

    def test_an_empty_split_takes_the_last_of_the_images_with_the_fewest_files(self):
        one, other, two, three, four = with_hashes([int(tenth / 10 * 2**64) for tenth in (1, 1, 2, 3, 3)]).items()
        splits = divide(dict((four, two, one, three, other)))
        assert splits == {"train": [one[0], other[0]], "validation": [two[0]], "test": [four[0], three[0]]}

    def test_a_photo_stays_when_others_are_added(self):
        small, large = (divide(usable(range(count))) for count in (500, 600))
        for split, members in small.items():
            assert set(members) <= set(large[split])

    @pytest.mark.parametrize("count", range(3, 30))
    def test_none_is_empty_and_images_stay_together(self, count):
        pixels = [*range(count), *range(count), 0, 0, 0]
        photos_ = usable(pixels)
        splits = divide(photos_)
        assert all(splits.values())
        place = {photo: split for split, members in splits.items() for photo in members}
        assert set(place) == set(photos_) and sum(map(len, splits.values())) == len(pixels)
        for number in range(count):
            shown = [place[photo] for photo, image in zip(photos_, pixels, strict=True) if image == number]
            assert len(set(shown)) == 1
        assert len({pixels[int(photo.name[5:-4])] for photo in splits["train"]}) >= count / 3

    @pytest.mark.parametrize("pixels", [[1, 2], [1, 2, 2, 2, 1]])
    def test_too_few(self, pixels):
        words = (
            rf"{len(pixels)} usable photos \(2 different images\) cannot fill train, validation and test; at least 3"
        )
        with pytest.raises(ValueError, match=words):
            divide(usable(pixels))

    def test_one_image_in_many_files_is_one_image(self, tmp_path):
        """A byte copy, a hard link, a link, a copy in another format and a rotated copy whose EXIF undoes it."""
        shown = PIL.Image.open(io.BytesIO(png(5)))
        exif = PIL.Image.Exif()
        exif[0x0112] = 6  # to be turned clockwise by whoever shows it
        write(tmp_path, {"mask/a.png": png(5), "mask/b.png": png(5), "none/other.png": png(6)})
        os.link(tmp_path / "mask/a.png", tmp_path / "mask/c.png")
        (tmp_path / "mask/d.png").symlink_to("a.png")
        shown.save(tmp_path / "mask/e.bmp")
        shown.transpose(PIL.Image.Transpose.ROTATE_90).save(tmp_path / "mask/f.png", exif=exif)
        for size in (8, 20):
            results = {
                photo.name: photo_folder.convert_photo((photo, size)).pixels
                for photo in photo_folder.scan(tmp_path).photos
            }
            assert len(results) == 7 and len({results[f"mask/{name}"] for name in ("a.png", "b.png")}) == 1
            assert {value for name, value in results.items() if name != "none/other.png"} == {results["mask/a.png"]}
            assert results["none/other.png"] != results["mask/a.png"]


@pytest.fixture
def faces(tmp_path):
    """Twelve rendered faces without and with a mask, a smaller JPEG file of each, and a file that is no image."""
    for person in range(12):
        for label in ("none", "mask"):
            image = PIL.Image.fromarray(tfds_megn.render(tfds_megn.sample_params(person + 50), label, 64))
            (tmp_path / label).mkdir(exist_ok=True)
            image.save(tmp_path / label / f"{person}.png")
            image.resize((50, 50)).save(tmp_path / label / f"small_{person}.jpg", quality=60)
    (tmp_path / "mask" / "broken.png").write_bytes(b"no image")
    return tmp_path


def test_near_duplicates_are_in_one_split(faces):
    splits = photo_splits.read_splits(faces)
    groups = [{photo.name for photo in group} for members in splits.values() for group in members]
    assert all(splits.values()) and sum(map(len, groups)) == 48
    for label in ("none", "mask"):
        for person in range(12):
            (group,) = (group for group in groups if f"{label}/{person}.png" in group)
            assert f"{label}/small_{person}.jpg" in group
            people = {name.split("/")[1].removeprefix("small_").split(".")[0] for name in group}
            assert people == {str(person)}  # with a mask or without


def test_the_table_names_split_and_group(faces, tmp_path_factory):
    """Equal numbers are near-duplicates; the data set that is prepared has these splits."""
    data = tmp_path_factory.mktemp("data")
    source = {name: tfds_megn.data_source("photos_64", name, data, faces) for name in ("train", "test")}
    (table,) = data.rglob(photo_splits.TABLE)
    rows = {row["file"]: row for row in csv.DictReader(io.StringIO(table.read_text()))}
    assert len(rows) == 48 and list(rows) == sorted(rows)
    assert rows["mask/3.png"]["group"] == rows["mask/small_3.jpg"]["group"] != rows["mask/4.png"]["group"]
    assert {row["attribute"] for row in rows.values()} == {"none", "mask"}
    for name, examples in source.items():
        assert {example["id"].decode() for example in examples} == {
            file for file, row in rows.items() if row["split"] == name
        }
