"""Photos drawn on by Apache Beam, with a network that knows one painted square."""

import csv
import sys

import numpy as np
import pytest
from PIL import Image

from sdgan_jax.data import photo_files
from sdgan_jax.photos import beam_wearing, picture_files, wearing
from tests.photos.test_wearing import FINDER, MASK, draw_square, folder, put_on  # noqa: F401


def wear(folder, monkeypatch, runner="DirectRunner", read=lambda network: FINDER):  # noqa: F811
    monkeypatch.setattr(beam_wearing, "_finder", read)
    job = beam_wearing.Job(str(folder / "beam"), MASK, most=1, draw=draw_square)
    photos = photo_files.find(folder / "in", folder / "beam")
    return beam_wearing.wear_photos(photos, job, runner)


def rows(paths):
    return sorted((tuple(row.items()) for path in paths for row in csv.DictReader(path.open())), key=lambda row: row[0])


def test_a_missing_beam_is_one_line(folder, monkeypatch):  # noqa: F811
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(ImportError, match=r"^--runner needs Apache Beam; install it by pip install -e '\.\[beam\]'$"):
        wear(folder, monkeypatch)


def test_the_rows_of_a_photo(folder, monkeypatch):  # noqa: F811
    """A photo that cannot be used, or drawn on, becomes a row with the reason."""
    monkeypatch.setattr(beam_wearing, "_finder", lambda network: FINDER)
    job = beam_wearing.Job(str(folder / "beam"), MASK, most=1, draw=draw_square)

    def notes(name):
        task = beam_wearing.Task(name, str(folder / "in" / name), ("x.png",))
        return [row.get("note") for row in beam_wearing._rows(job, task)]

    assert notes("a.png") == [None] and Image.open(folder / "beam" / "x.png").size == (300, 240)
    assert notes("empty.png") == ["no face found"]
    assert "broken.png: not an image" in notes("broken.png")[0] and "cannot be read" in notes("gone.png")[0]

    def fail(*arguments):
        raise TypeError("a bug\nin two lines")

    job = job._replace(draw=fail)
    assert notes("a.png") == ["failed (TypeError: a bug in two lines)"]
    assert not (folder / "beam" / "x.png").exists()  # it was that of an earlier call
    (folder / "beam" / "x.png").write_bytes(b"mine")
    assert notes("a.png") == ["failed (TypeError: a bug in two lines)"]
    assert (folder / "beam" / "x.png").read_bytes() == b"mine"


def test_names_that_look_like_several_lines_are_one_row(folder, monkeypatch):  # noqa: F811
    monkeypatch.setattr(beam_wearing, "_finder", lambda network: FINDER)
    job = beam_wearing.Job(str(folder / "beam"), MASK, most=1, draw=draw_square)
    name = "a\u2028b\x85c\x0bd.png"
    (folder / "in" / "a.png").rename(folder / "in" / name)
    task, failures = beam_wearing.Task(name, str(folder / "in" / name), ("x.png",)), []
    (line,) = beam_wearing._lines(job, lambda: failures.append(1), task)
    assert name in line and "\n" not in line and not failures
    (folder / "in" / name).write_bytes(b"no image")
    (line,) = beam_wearing._lines(job, lambda: failures.append(1), task)
    assert name in line and len(failures) == 1


def test_full_disks_end_the_work(folder, monkeypatch):  # noqa: F811
    monkeypatch.setattr(beam_wearing, "_finder", lambda network: FINDER)
    job = beam_wearing.Job(str(folder / "beam"), MASK, most=1, draw=draw_square)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(picture_files, "write", full)
    with pytest.raises(OSError, match="No space left"):
        beam_wearing._rows(job, beam_wearing.Task("a.png", str(folder / "in" / "a.png"), ("x.png",)))


def test_images_and_rows_are_those_of_the_plain_command(folder, monkeypatch):  # noqa: F811
    pytest.importorskip("apache_beam")
    put_on(folder)
    for _ in range(2):  # the second call replaces what the first one wrote
        assert wear(folder, monkeypatch).startswith("2 of 4 photos done; images and manifest-*.csv")
    for name in ("a.png", "more/b.png"):
        plain, beam = (np.asarray(Image.open(folder / part / name)) for part in ("out", "beam"))
        np.testing.assert_array_equal(plain, beam)
    found = rows((folder / "beam").glob("manifest-*.csv"))
    assert found == rows([folder / "out" / "manifest.csv"]) and len(found) == 4
    assert found[0][0][0] == wearing.COLUMNS[0]


def test_manifests_of_others_stay(folder, monkeypatch):  # noqa: F811
    pytest.importorskip("apache_beam")
    (folder / "beam").mkdir()
    (folder / "beam" / "manifest-1.csv").write_text("mine")
    with pytest.raises(FileExistsError, match="exists and was not written by sdgan-jax wear"):
        wear(folder, monkeypatch)


def no_network(network):
    raise ValueError("no such network")


@pytest.mark.parametrize(
    ("mistake", "message"),
    [({"runner": "DirectRuner"}, "^--runner=DirectRuner: "), ({"read": no_network}, "^no such network$")],
)
def test_a_mistake_in_a_flag_does_not_cost_an_earlier_manifest(folder, monkeypatch, mistake, message):  # noqa: F811
    pytest.importorskip("apache_beam")
    wear(folder, monkeypatch)
    before = rows((folder / "beam").glob("manifest-*.csv"))
    with pytest.raises(ValueError, match=message):
        wear(folder, monkeypatch, **mistake)
    assert rows((folder / "beam").glob("manifest-*.csv")) == before and len(before) == 4


def test_a_folder_of_nothing_but_failures_is_an_error(folder, monkeypatch):  # noqa: F811
    pytest.importorskip("apache_beam")
    wear(folder, monkeypatch)
    for name in ("a.png", "more/b.jpg"):
        (folder / "in" / name).write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"^nothing could be done with 4 photos of --input; see .*/manifest-\*.csv$"):
        wear(folder, monkeypatch)
    assert len(rows((folder / "beam").glob("manifest-*.csv"))) == 4
    assert not (folder / "beam" / "a.png").exists() and not (folder / "beam" / "more" / "b.png").exists()


def test_a_call_without_a_runner_does_not_take_the_images_for_its_own(folder, monkeypatch):  # noqa: F811
    pytest.importorskip("apache_beam")
    put_on(folder)
    (folder / "out").rename(folder / "beam")
    wear(folder, monkeypatch)
    assert not (folder / "beam" / "manifest.csv").exists() and not (folder / "beam" / "sheet.png").exists()
    (folder / "beam").rename(folder / "out")
    assert put_on(folder).startswith("2 images in")
