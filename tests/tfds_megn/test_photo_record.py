"""The record of the photos that a data set was prepared from, and the changes that it shows."""

import os
import pathlib
import shutil

import PIL.Image
import pytest
from etils import epath

from tfds_megn import photo_files, photo_folder, photo_record
from tfds_megn.params import ATTRIBUTES


@pytest.fixture
def pictures(tmp_path):
    """Twelve photos, two per label, and a broken one."""
    for index, name in enumerate(ATTRIBUTES):
        for number in range(2):
            path = tmp_path / "photos" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.new("RGB", (24, 24), (10 * index, 20 * number, 99)).save(path)
            path.write_bytes(path.read_bytes() + bytes(100))  # Room for `alter`.
    (tmp_path / "photos" / "mask" / "broken.png").write_bytes(b"broken")
    return tmp_path / "photos"


def record(folder, manual_dir):
    """Records the photos of a folder as a preparation does."""
    photos = photo_folder.scan(manual_dir).photos
    photo_record.write(epath.Path(folder), {photo: photo_folder.convert_photo((photo, 16)).crc for photo in photos})
    photo_files.close_zips()


def compare(folder, manual_dir):
    return photo_record.find_difference(epath.Path(folder), photo_folder.scan(manual_dir))


def alter(path: pathlib.Path) -> None:
    """Paints a photo anew, in the same number of bytes and with the same time of change."""
    before = path.stat()
    PIL.Image.new("RGB", (24, 24), (1, 2, 3)).save(path)
    data = path.read_bytes()
    path.write_bytes(data + bytes(before.st_size - len(data)))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def lengthen(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def add(path: pathlib.Path) -> None:
    PIL.Image.new("RGB", (24, 24)).save(path.with_name("new.png"))


def relabel(path: pathlib.Path) -> None:
    names = [f"{name}/{number}.png,{name}" for name in ATTRIBUTES for number in range(2)] + ["mask/broken.png,mask"]
    table = "\n".join(["file,label", *names]).replace("mask/1.png,mask", "mask/1.png,beard")
    (path.parent.parent / "labels.csv").write_text(table)


def repair(path: pathlib.Path) -> None:
    shutil.copy(path, path.with_name("broken.png"))


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (alter, "mask/1.png has other contents"),
        (lengthen, "mask/1.png has other contents"),
        (pathlib.Path.unlink, "mask/1.png is gone"),
        (add, "mask/new.png is new"),
        (relabel, "mask/1.png has another label"),
        (repair, "mask/broken.png has other contents"),
        (lambda path: shutil.rmtree(path.parent), "mask/0.png is gone, and 2 more differences"),
        (lambda path: path.rename(path.with_name("2.png")), "mask/1.png is gone, and 1 more difference"),
    ],
)
@pytest.mark.parametrize("aged", [False, True])
def test_changes_are_noticed(pictures, tmp_path, change, difference, aged, monkeypatch):
    if aged:  # The times of change are trusted.
        monkeypatch.setattr(photo_record, "_YOUNG_NS", 0)
    record(tmp_path, pictures)
    assert compare(tmp_path, pictures) is None
    change(pictures / "mask" / "1.png")
    assert compare(tmp_path, pictures) == difference


def test_the_same_photos_elsewhere_later_and_zipped(pictures, tmp_path):
    record(tmp_path, pictures)
    shutil.copytree(pictures, tmp_path / "copy", copy_function=shutil.copyfile)
    for path in (tmp_path / "copy").rglob("*.png"):
        os.utime(path, (1e9, 1e9))
    shutil.make_archive(str(tmp_path / "zipped" / "photos"), "zip", pictures)
    for folder in ("copy", "zipped", "photos"):
        assert compare(tmp_path, tmp_path / folder) is None


def test_photos_of_another_zip(pictures, tmp_path):
    shutil.make_archive(str(tmp_path / "zipped" / "photos"), "zip", pictures)
    alter(pictures / "mask" / "1.png")
    shutil.make_archive(str(tmp_path / "other" / "photos"), "zip", pictures)
    record(tmp_path, tmp_path / "zipped")
    assert compare(tmp_path, tmp_path / "zipped") is None
    assert compare(tmp_path, tmp_path / "other") == "mask/1.png has other contents"


def test_unchanged_files_are_read_once_at_most(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(photo_record, "_YOUNG_NS", 0)
    record(tmp_path, pictures)
    shutil.copytree(pictures, tmp_path / "copy")
    read = []
    real = photo_files.checksum
    monkeypatch.setattr(photo_files, "checksum", lambda *args: read.append(args) or real(*args))
    for _ in range(2):
        assert compare(tmp_path, tmp_path / "copy") is None
        assert len(read) == 13


@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"a": 1}', b"\xff\xfe"])
def test_a_damaged_record_is_one_line(pictures, tmp_path, content):
    if content is not None:
        (tmp_path / "photos.json").write_bytes(content)
    with pytest.raises(ValueError, match=f"^{tmp_path}/photos.json: missing or damaged; delete {tmp_path} to prepare"):
        compare(tmp_path, pictures)


def test_a_record_that_cannot_be_written_leaves_nothing(pictures, tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(28, "No space left on device")

    record(tmp_path, pictures)
    before = (tmp_path / "photos.json").read_bytes()
    monkeypatch.setattr(type(epath.Path(tmp_path)), "replace", refuse)
    with pytest.raises(OSError, match="No space left"):
        record(tmp_path, pictures)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "photos.json"]
    assert (tmp_path / "photos.json").read_bytes() == before
