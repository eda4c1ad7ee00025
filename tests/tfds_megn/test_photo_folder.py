"""Folders and zips of photos, listed, labelled and divided; expected values follow from what was written there."""

import io
import os
import time
import unicodedata
import zipfile

import numpy as np
import PIL.Image
import pytest

from tfds_megn import photo_folder, photos
from tfds_megn.params import ATTRIBUTES


def png(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (20, 20, 3)).astype(np.uint8)
    PIL.Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


def write(folder, files: dict[str, bytes | str]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)


def found(folder) -> dict[str, list[str]]:
    """Returns the names of the attributes of each photo, by its name."""
    return {
        photo.name: [name for name, worn in zip(ATTRIBUTES[1:], photo.attributes, strict=True) if worn]
        for photo in photo_folder.scan(folder).photos
    }


FOLDERS = {"None/a.png": b"1", "MASK/deep/b.jpg": b"2", "sunglasses/c.png": b"3", "mask/.DS_Store": b"4"}
AS_FOLDERS = {"None/a.png": [], "MASK/deep/b.jpg": ["mask"], "sunglasses/c.png": ["sunglasses"]}
HEADER = "file,mask,eyeglasses,sunglasses,beard,mustache\n"


class TestScan:
    def test_folders_in_any_case(self, tmp_path):
        write(tmp_path, FOLDERS)
        assert found(tmp_path) == AS_FOLDERS

    def test_names_differ_where_escapes_look_like_other_names(self, tmp_path):
        names = ("a\nb.png", "a\\nb.png", "a\\\\nb.png", "a\rb.png", "a\\rb.png", os.fsdecode(b"\xe9.png"), "\\xe9.png")
        write(tmp_path, {f"mask/{name}": b"1" for name in (*names, "plain.png")})
        shown = set(found(tmp_path))
        assert len(shown) == 8 and {"mask/plain.png", "mask/a\\nb.png", "mask/a\\\\nb.png", "mask/\\xe9.png"} < shown

    def test_table_wins_over_folders(self, tmp_path):
        write(tmp_path, {"mask/a.png": b"1", "mask/b.png": b"2", "x/c.png": b"3", "none/d.png": b"4"})
        table = "\ufeff" + HEADER + "mask/a.png,0,1,0,0,1\n\nx\\c.png,1,0,0,0,0\n./mask/b.png, 0,0 ,0,0,0\n"
        write(tmp_path, {"Labels.CSV": table})
        assert found(tmp_path) == {
            "mask/a.png": ["eyeglasses", "mustache"],
            "mask/b.png": [],
            "x/c.png": ["mask"],
        }
        assert photo_folder.scan(tmp_path).skipped == (f"{tmp_path}/none/d.png: not listed in labels.csv",)

    def test_names_that_have_a_drive_on_windows_only(self, tmp_path):
        """Such a photo belongs to the collection where it is there, and where it is not, it is skipped alone."""
        write(tmp_path, {"a:0.png": b"1", "b:/c.png": b"2"})
        write(tmp_path, {"labels.csv": "file,label\na:0.png,mask\nb:/c.png,beard\na:1.png,mask\n"})
        assert found(tmp_path) == {"a:0.png": ["mask"], "b:/c.png": ["beard"]}
        assert photo_folder.scan(tmp_path).skipped == (f"{tmp_path}/a:1.png: not there (labels.csv line 4)",)

    def test_single_labels(self, tmp_path):
        write(tmp_path, {"a.png": b"1", "b.png": b"2", "labels.csv": "label,file\nBeard,a.png\nnone,b.png\n"})
        assert found(tmp_path) == {"a.png": ["beard"], "b.png": []}

    def test_label_is_the_first_worn(self, tmp_path):
        write(tmp_path, {"a.png": b"1", "b.png": b"2", "c.png": b"3"})
        write(tmp_path, {"labels.csv": HEADER + "a.png,1,1,0,0,0\nb.png,0,0,0,1,1\nc.png,0,0,0,0,0\n"})
        labels = [ATTRIBUTES[photo.label] for photo in photo_folder.scan(tmp_path).photos]
        assert labels == ["mask", "beard", "none"]

    @pytest.mark.parametrize("around", ["", "MEGN/", "MEGN/data/"])
    @pytest.mark.parametrize("inside_folder", [False, True])
    def test_zip(self, tmp_path, around, inside_folder):
        with zipfile.ZipFile(tmp_path / "photos.ZIP", "w") as archive:
            for name, data in FOLDERS.items():
                archive.writestr(around + name, data)
            archive.writestr("__MACOSX/mask/._b.jpg", b"5")
        assert found(tmp_path if inside_folder else tmp_path / "photos.ZIP") == AS_FOLDERS

    def test_zip_is_read_in_place(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
            archive.writestr("mask/../../evil.png", png())
            archive.writestr("labels.csv", HEADER + "a.png,1,0,0,0,0\n")
            archive.writestr("a.png", png())
        scanned = photo_folder.scan(tmp_path)
        assert [photo.name for photo in scanned.photos] == ["a.png"]
        image = photo_folder.convert_photo((scanned.photos[0], 20)).image
        np.testing.assert_array_equal(photos.read_photo(image), photos.read_photo(png()))
        assert [path.name for path in tmp_path.parent.rglob("evil.png")] == []

    @pytest.mark.parametrize(
        ("files", "words"),
        [
            (
                {"hat/a.png": b"1", "mask/b.png": b"2"},
                r"/hat: unknown label 'hat'; the folders are named none, mask",
            ),
            ({"a.png": b"1"}, "no labels.csv and no folder named after an attribute"),
            (
                {"labels.csv": "file,label\na.png,hat\n"},
                r"labels.csv line 2: unknown label 'hat'; known are none",
            ),
            ({"labels.csv": "file,hat\na.png,1\n"}, r"labels.csv: unknown label 'hat' in its first line"),
            ({"labels.csv": HEADER + "a.png,1,0,0,yes,0\n"}, "line 2: beard is 'yes'; it must be 0 or 1"),
            ({"labels.csv": HEADER + "a.png,1\n"}, "line 2: 2 cells under 6 columns"),
            ({"labels.csv": HEADER + "../a.png,1,0,0,0,0\n"}, "line 2: ../a.png lies outside"),
            ({"labels.csv": HEADER + "/etc/a.png,1,0,0,0,0\n"}, "line 2: /etc/a.png lies outside"),
            ({"labels.csv": HEADER + "C:\\a.png,1,0,0,0,0\n"}, "line 2: C:/a.png lies outside"),
            ({"labels.csv": HEADER + "C:/a.png,1,0,0,0,0\n"}, "line 2: C:/a.png lies outside"),
            ({"labels.csv": HEADER + "\\\\server\\b\\a.png,1,0,0,0,0\n"}, "line 2: //server/b/a.png lies outside"),
            (
                {"labels.csv": "file,mask\na.png,1\na.png,0\n", "a.png": b"1"},
                "line 3: a.png was listed before",
            ),
            ({"labels.csv": "\n"}, "labels.csv: empty"),
            ({"labels.csv": "file\na.png\n"}, "its first line must be"),
            ({"labels.csv": "file,label,mask\na.png,mask,1\n"}, "its first line must be"),
            ({"labels.csv": b"\xff\xfe\x00"}, "labels.csv: not a table .*; save it as CSV in UTF-8"),
            ({"a.zip": b"1", "b.zip": b"2"}, r"holds 2 zip files \(a.zip, b.zip\)"),
            ({"a.zip": b"1"}, "a.zip: not a readable zip file"),
        ],
    )
    def test_refused_in_one_line(self, tmp_path, files, words):
        write(tmp_path, files)
        with pytest.raises(ValueError, match=words) as caught:
            photo_folder.scan(tmp_path)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("make", [False, True])
    def test_missing_or_empty_folder_says_what_to_put_where(self, tmp_path, make):
        folder = tmp_path / "photos"
        if make:
            folder.mkdir()
        with pytest.raises(FileNotFoundError, match=r"photos .*folders named none, mask.*labels.csv.*zip") as caught:
            photo_folder.scan(folder)
        assert "\n" not in str(caught.value)

    def test_files_without_a_label_are_listed(self, tmp_path):
        write(tmp_path, {"mask/a.png": b"1", "b.png": b"2", "notes.txt": b"3"})
        assert photo_folder.scan(tmp_path).skipped == (f"{tmp_path}/b.png: not in a folder named after an attribute",)
        write(tmp_path, {"labels.csv": "file,label\nmask/a.png,mask\nc.png,mask\n"})
        assert f"{tmp_path}/c.png: not there (labels.csv line 3)" in photo_folder.scan(tmp_path).skipped

    def test_every_suffix_of_pillow_in_any_case(self, tmp_path):
        names = ["a.jfif", "b.AVIF", "c.jp2", "d.PNG", "e.ppm", "f.Webp"]
        write(tmp_path, {f"mask/{name}": b"1" for name in names})
        assert sorted(found(tmp_path)) == [f"mask/{name}" for name in names]
        assert photo_folder.scan(tmp_path).notes == ()

    @pytest.mark.parametrize("table", [False, True])
    def test_what_is_no_image_is_counted_in_one_line(self, tmp_path, table, monkeypatch):
        monkeypatch.setattr(photos, "suffixes", lambda: frozenset({".png"}))  # As without pillow-heif.
        write(tmp_path, {"mask/a.png": b"1", "mask/b.HEIC": b"2", "mask/c.heic": b"3", "notes.txt": b"4"})
        if table:
            write(tmp_path, {"labels.csv": "file,label\nmask/a.png,mask\n"})
        scanned = photo_folder.scan(tmp_path)
        assert [photo.name for photo in scanned.photos] == ["mask/a.png"] and scanned.skipped == ()
        assert scanned.notes == (
            f"{tmp_path}: left out 3 files that are no images by the suffix: .heic (2), .txt (1); HEIC files are read "
            "after `pip install pillow-heif` (the extra [heif])",
        )

    def test_links_to_folders_above_and_beside(self, tmp_path):
        write(tmp_path, FOLDERS)
        (tmp_path / "MASK" / "up").symlink_to("..")
        (tmp_path / "None" / "up").symlink_to(tmp_path, target_is_directory=True)
        (tmp_path / "None" / "again").symlink_to(tmp_path / "MASK")
        (tmp_path / "None" / "itself.png").symlink_to("itself.png")
        scanned = photo_folder.scan(tmp_path)
        assert found(tmp_path) == AS_FOLDERS
        ends = [f"{tmp_path}/{link}: a link to a folder that is read already" for link in ("MASK/up", "None/again")]
        ends += [f"{tmp_path}/None/itself.png: a link to itself"]
        assert sorted(scanned.skipped) == [*ends, f"{tmp_path}/None/up: a link to a folder that is read already"]

    def test_pipes_do_not_block_and_links_to_nothing_are_said(self, tmp_path):
        write(tmp_path, FOLDERS)
        os.mkfifo(tmp_path / "None" / "pipe.png")
        (tmp_path / "None" / "moved.png").symlink_to("/nowhere/moved.png")
        assert found(tmp_path) == AS_FOLDERS
        assert photo_folder.scan(tmp_path).skipped == (
            f"{tmp_path}/None/moved.png: a link to nothing",
            f"{tmp_path}/None/pipe.png: a pipe or device",
        )


NOT_UTF8 = os.fsdecode(b"caf\xe9.png")


class TestNames:
    """File names of other systems."""

    @pytest.mark.parametrize(
        "table", [None, "caf\u00e9.png".encode("latin-1"), "caf\u00e9.png".encode(), b"caf\\xe9.png"]
    )
    def test_name_that_is_not_utf8(self, tmp_path, table):
        folder = tmp_path / os.fsdecode(b"\xff") / "mask"
        write(folder, {NOT_UTF8: png()})
        if table is not None:
            (folder / "labels.csv").write_bytes(b"file,label\n" + table + b",mask\n")
        scanned = photo_folder.scan(folder if table else folder.parent)
        (photo,) = scanned.photos
        assert photo.name == ("caf\\xe9.png" if table else "mask/caf\\xe9.png") and photo.label == 1
        assert len(photo_folder.convert_photo((photo, 20)).image) > 100
        for line in [*scanned.skipped, *scanned.notes, photo.name]:
            line.encode()

    def test_unreadable_file_with_such_a_name(self, tmp_path):
        write(tmp_path / "mask", {NOT_UTF8: b"no image"})
        (photo,) = photo_folder.scan(tmp_path).photos
        line = photo_folder.convert_photo((photo, 20)).image
        assert line == f"{tmp_path}/mask/caf\\xe9.png: not an image, or its header is broken"

    @pytest.mark.parametrize(("stored", "written"), [("NFD", "NFC"), ("NFC", "NFD")])
    @pytest.mark.parametrize("zipped", [False, True])
    def test_unicode_forms(self, tmp_path, stored, written, zipped):
        name, other = (unicodedata.normalize(form, "\u00e9t\u00e9/\ud55c\uad6d.png") for form in (stored, written))
        files = {name: png(), "labels.csv": f"file,label\n{other},beard\n"}
        if zipped:
            with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
                for path, data in files.items():
                    archive.writestr(path, data)
        else:
            write(tmp_path, files)
        assert found(tmp_path) == {name: ["beard"]}
        assert len(photo_folder.convert_photo((photo_folder.scan(tmp_path).photos[0], 20)).image) > 100

    def test_the_exact_name_comes_first(self, tmp_path):
        both = [unicodedata.normalize(form, "\u00e9.png") for form in ("NFC", "NFD")]
        write(tmp_path, {both[0]: b"1", both[1]: b"2"})
        write(tmp_path, {"labels.csv": f"file,label\n{both[0]},mask\n{both[1]},beard\n"})
        assert found(tmp_path) == {both[0]: ["mask"], both[1]: ["beard"]}

    @pytest.mark.parametrize("table", [False, True])
    def test_zip_of_windows(self, tmp_path, table):
        """Backslashes in the names, folders among the members."""
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("MEGN\\mask\\", b"")
            archive.writestr("MEGN\\mask\\a.png", png())
            archive.writestr("MEGN\\mask\\Thumbs.db", b"1")
            if table:
                archive.writestr("MEGN\\labels.csv", "file;label\r\nmask\\a.png;beard\r\n")
        assert found(tmp_path) == {"mask/a.png": ["beard" if table else "mask"]}
        assert len(photo_folder.convert_photo((photo_folder.scan(tmp_path).photos[0], 20)).image) > 100


def test_many_files_take_seconds(tmp_path):
    """20,000 rows: whatever is quadratic takes minutes."""
    names = [f"caf\u00e9/{number}.png" for number in range(20_000)]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in names:
            archive.writestr(name, b"1")
        archive.writestr("labels.csv", "file;label\r\n" + "".join(f"{name};mask\r\n" for name in names))
    start = time.monotonic()
    assert len(photo_folder.scan(tmp_path).photos) == 20_000
    assert time.monotonic() - start < 20
