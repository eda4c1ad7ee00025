"""Files of folders and zips: listed, read and found by name."""

import os
import unicodedata
import zipfile
import zlib

import pytest
from etils import epath

from tfds_megn import photo_files, photos

CONTENTS = {"mask/a.png": b"first", "mask/deep/b.png": b"second", ".hidden/c.png": b"third", "mask/Thumbs.db": b"4"}
SHOWN = {"mask/a.png": b"first", "mask/deep/b.png": b"second"}


@pytest.fixture(params=["folder", "zip"])
def place(request, tmp_path):
    if request.param == "zip":
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            for name, data in CONTENTS.items():
                archive.writestr(name, data)
        yield epath.Path(tmp_path / "x.zip")
        photo_files.close_zips()
        return
    for name, data in CONTENTS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    yield epath.Path(tmp_path)


def test_files_are_listed_and_read(place):
    files, notes = photo_files.list_files(place)
    assert set(files) == set(SHOWN) and notes == ()
    for name, file in files.items():
        assert file.size == len(SHOWN[name])
        assert photo_files.read_bytes(os.fspath(place), file.member) == SHOWN[name]
        assert photo_files.checksum(os.fspath(place), file) == zlib.crc32(SHOWN[name])


def test_a_stamp_changes_with_the_contents(tmp_path):
    (tmp_path / "a.png").write_bytes(b"1")
    stamps = []
    for time in (10**18, 10**18 + 1):
        os.utime(tmp_path / "a.png", ns=(time, time))
        (file,) = photo_files.list_files(epath.Path(tmp_path))[0].values()
        stamps.append(file.stamp)
    assert [stamp[0] for stamp in stamps] == [10**18, 10**18 + 1] and stamps[0][1] < stamps[1][1]


def test_a_file_that_is_gone_is_one_line(place):
    with pytest.raises(photos.PhotoError, match=f"^{place}/nothing.png: cannot be read") as raised:
        photo_files.read_bytes(os.fspath(place), "nothing.png")
    assert "\n" not in str(raised.value)
    assert photo_files.checksum(os.fspath(place), photo_files.File("nothing.png", -1)) is None


def test_enormous_files_are_refused(place, monkeypatch):
    monkeypatch.setattr(photos, "MAX_BYTES", 5)
    assert photo_files.read_bytes(os.fspath(place), "mask/a.png") == b"first"
    with pytest.raises(photos.PhotoError, match="b.png: enormous file"):
        photo_files.read_bytes(os.fspath(place), "mask/deep/b.png")


def test_a_broken_zip_is_one_line(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 and nothing")
    with pytest.raises(ValueError, match=f"^{tmp_path}/x.zip: not a readable zip file"):
        photo_files.list_files(epath.Path(tmp_path / "x.zip"))


def test_a_zip_is_opened_once_and_anew_when_it_changed(tmp_path, monkeypatch):
    opened, real = [], zipfile.ZipFile
    for content in (b"1", b"22"):
        with real(tmp_path / "x.zip", "w") as archive:
            archive.writestr("a", content)
            archive.writestr("b", content)
        monkeypatch.setattr(zipfile, "ZipFile", lambda *args: opened.append(args) or real(*args))
        for name in "abab":
            assert photo_files.read_bytes(str(tmp_path / "x.zip"), name) == content
    assert len(opened) == 2
    photo_files.close_zips()


def test_names_in_zips_of_windows_and_of_programs_that_do_not_mark_utf8(tmp_path):
    name = "\u00e9t\u00e9.png"
    placeholder = "x" * len(name.encode())
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("mask\\a.png", b"1")
        archive.writestr("mask\\", b"")
        archive.writestr(placeholder, b"22")
    data = (tmp_path / "x.zip").read_bytes()
    (tmp_path / "x.zip").write_bytes(data.replace(placeholder.encode(), name.encode()))
    files, _ = photo_files.list_files(epath.Path(tmp_path / "x.zip"))
    assert {path: file.size for path, file in files.items()} == {"mask/a.png": 1, name: 2}
    assert photo_files.read_bytes(str(tmp_path / "x.zip"), files[name].member) == b"22"
    photo_files.close_zips()


def test_names_are_found_in_another_form_or_encoding():
    composed, decomposed = (unicodedata.normalize(form, "\u00e9.png") for form in ("NFC", "NFD"))
    raw = os.fsdecode(b"caf\xe9.png")
    names = photo_files.Names(dict.fromkeys([decomposed, raw, "a.png"], photo_files.File("x", 1)))
    assert names.find(composed) == names.find(decomposed) == decomposed
    assert names.find("caf\u00e9.png") == names.find("caf\\xe9.png".replace("\\", "/")) == raw
    assert (names.find("a.png"), names.find("b.png")) == ("a.png", None)
    both = photo_files.Names(dict.fromkeys([composed, decomposed], photo_files.File("x", 1)))
    assert (both.find(composed), both.find(decomposed)) == (composed, decomposed)
