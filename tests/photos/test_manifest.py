"""manifest.csv: written and parsed again, or refused in one line."""

import os

import pytest
from etils import epath

from sdgan_jax.data.photo_files import PhotoFile
from sdgan_jax.photos import manifest

COLUMNS = manifest.columns_of(("file", "out", "note"))
BY = "sdgan-jax wear"


def test_rows_are_parsed_as_they_were_written(tmp_path):
    path = epath.Path(tmp_path) / "manifest.csv"
    assert manifest.load(path) is None and manifest.parse(None, path, COLUMNS, BY) == {}
    state = {"source_bytes": "1", "source_mtime_ns": "2", "settings": "x"}
    rows = [
        {"file": name, "out": f"{name}.{k}.png", "note": 'a, "b"\nc'} | state for name in ("a, b", "b") for k in (0, 1)
    ]
    path.write_bytes(",".join(COLUMNS).encode() + b"\n" + manifest.encode(rows, COLUMNS))
    assert manifest.parse(manifest.load(path), path, COLUMNS, BY) == {"a, b": rows[:2], "b": rows[2:]}


def test_other_files_are_refused(tmp_path):
    path = epath.Path(tmp_path) / "manifest.csv"
    for content in (b"", b"mine", b"\xff\xfe", b"file,out\n"):
        with pytest.raises(FileExistsError, match="manifest.csv exists and was not written by sdgan-jax wear"):
            manifest.parse(content, path, COLUMNS, BY)
    for row in (b"a,b\n", b"a,b,c,d,e,f,g\n", b"a,b,c,d,e,\xff\n"):
        with pytest.raises(ValueError, match="manifest.csv is no manifest that can be read; move it away"):
            manifest.parse(",".join(COLUMNS).encode() + b"\n" + row, path, COLUMNS, BY)
    path.mkdir()
    with pytest.raises(ValueError, match="manifest.csv is no manifest that can be read; move it away"):
        manifest.load(path)


def test_the_state_of_a_photo_is_its_size_its_time_and_the_settings(tmp_path):
    (tmp_path / "a.png").write_bytes(b"12345")
    os.utime(tmp_path / "a.png", ns=(1, 678))
    photos = [PhotoFile(name, epath.Path(tmp_path / name)) for name in ("a.png", "gone.png")]
    states = manifest.describe_states(photos, {"b": 1, "a": 2})
    assert (states["a.png"]["source_bytes"], states["a.png"]["source_mtime_ns"]) == ("5", "678")
    assert (states["gone.png"]["source_bytes"], states["gone.png"]["source_mtime_ns"]) == ("", "")
    same, other = (manifest.describe_states(photos, found)["a.png"] for found in ({"a": 2, "b": 1}, {"a": 2, "b": 2}))
    assert same == states["a.png"] and other["settings"] != same["settings"]
