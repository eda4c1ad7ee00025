"""Results of photos: planned, entered, stopped, and gone on with. Pictures are plain squares."""

import csv
import errno
import os
import signal
import time

import numpy as np
import pytest
from etils import epath
from PIL import Image

from sdgan_jax import outputs, pictures
from sdgan_jax.data import photo_files
from sdgan_jax.photos import photo_results

BY = "sdgan-jax wear"
COLUMNS = ("file", "out", "attribute", "note")


@pytest.fixture
def folder(tmp_path):
    """Four photos."""
    (tmp_path / "in").mkdir()
    for name in "abcd":
        Image.new("RGB", (20, 20), "grey").save(tmp_path / "in" / f"{name}.jpg")
    return epath.Path(tmp_path)


def plan(folder, *, count=1, inputs=(), **settings):
    out = folder / "out"
    photos = photo_files.find(folder / "in", out)
    return photo_results.PhotoResults(
        out, photos, BY, COLUMNS, settings, ["photo", "mask"], count=count, settled={"no face found"}, inputs=inputs
    )


def make(results, photo, grey=200):
    for name in results.names[photo.name]:
        pictures.write_png(results.path(name), np.full((20, 20, 3), grey, np.uint8), BY)
    rows = [{"out": name, "attribute": "mask"} for name in results.names[photo.name]]
    results.add(photo, rows, np.full((2, 20, 20, 3), grey, np.uint8))


def do(results, grey=200):
    with results:
        for photo in results.work():
            make(results, photo, grey)
    return [photo.name for photo in results.todo]


def rows(folder):
    return list(csv.DictReader((folder / "out" / "manifest.csv").open()))


def test_all_photos_have_a_row_a_picture_and_a_place_on_the_sheet(folder):
    results = plan(folder)
    assert do(results) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert [(row["file"], row["out"]) for row in rows(folder)] == [
        (f"{folder}/in/{name}.jpg", f"{name}.png") for name in "abcd"
    ]
    assert sorted(os.listdir(folder / "out")) == ["a.png", "b.png", "c.png", "d.png", "manifest.csv", "sheet.png"]
    assert results.summary().startswith(f"4 images in {folder}/out; before and after on {folder}/out/sheet.png")
    with Image.open(folder / "out" / "sheet.png") as sheet:  # eight cells of five times 20 pixels in a row, and gaps
        assert sheet.size == (2 + 8 * 102, pictures.LABEL_PIXELS + 8 + 102)


def test_the_same_call_again_does_only_what_is_not_done(folder):
    do(plan(folder), 100)
    os.unlink(folder / "out" / "a.png")
    Image.new("RGB", (20, 20), "white").save(folder / "in" / "b.jpg")  # another photo, maybe of the same size
    Image.new("RGB", (20, 20), "white").save(folder / "in" / "ab.jpg")
    results = plan(folder)
    assert (do(results, 200), results.done) == (["a.jpg", "ab.jpg", "b.jpg"], 2)
    seen = {
        name: int(np.asarray(Image.open(folder / "out" / f"{name}.png"))[0, 0, 0])
        for name in ("a", "b", "c", "d", "ab")
    }
    assert seen == {"a": 200, "ab": 200, "b": 200, "c": 100, "d": 100}
    assert [row["out"] for row in rows(folder)] == ["a.png", "ab.png", "b.png", "c.png", "d.png"]
    assert "3 images" in results.summary() and "of 2 photos done before" in results.summary()
    assert do(plan(folder)) == []


def test_a_photo_put_back_with_the_same_size_is_noticed(folder):
    do(plan(folder))
    photo = folder / "in" / "a.jpg"
    photo.write_bytes(photo.read_bytes())
    os.utime(photo, ns=(1, time.time_ns() + 10**9))
    assert do(plan(folder)) == ["a.jpg"]


def test_other_settings_make_all_anew(folder):
    do(plan(folder, style="cup"), 100)
    assert len(do(plan(folder, style="cloth"), 200)) == 4
    assert np.asarray(Image.open(folder / "out" / "a.png"))[0, 0, 0] == 200
    assert len(rows(folder)) == 4


def test_photos_without_a_face_are_not_tried_again_but_broken_ones_are(folder):
    results = plan(folder)
    with results:
        results.skip(results.todo[0], {"attribute": "mask"}, "no face found")
        results.skip(results.todo[1], {"attribute": "mask"}, "cannot be written (Permission denied)")
        for photo in results.todo[2:]:
            make(results, photo)
    assert "no image of 2 photos, see manifest.csv" in results.summary()
    results = plan(folder)
    assert do(results) == ["b.jpg"]
    assert [row["note"] for row in rows(folder)] == ["no face found", "", "", ""]
    assert "no image of 1 photo" in results.summary()


@pytest.mark.parametrize(
    ("stop", "raised_as"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (None, KeyboardInterrupt),  # a signal, which is asked for after the photo
        (ZeroDivisionError(), ZeroDivisionError),
        (OSError(errno.ENOSPC, "full", "file"), OSError),
    ],
)
def test_what_was_done_is_kept_however_it_ends(folder, stop, raised_as):
    results = plan(folder)
    former = signal.getsignal(signal.SIGTERM)
    with pytest.raises(raised_as) as raised:
        with results:
            for photo in results.work():
                make(results, photo)
                if stop is not None:
                    raise stop
                signal.raise_signal(signal.SIGTERM)
    if raised_as is not ZeroDivisionError:
        assert "1 of 4 photos done; the same command goes on there" in str(raised.value)
    assert signal.getsignal(signal.SIGTERM) is former
    assert [row["out"] for row in rows(folder)] == ["a.png"] and (folder / "out" / "sheet.png").exists()
    results = plan(folder)
    results.show(lambda photo, paths: np.zeros((2, 20, 20, 3), np.uint8))
    assert do(results) == ["b.jpg", "c.jpg", "d.jpg"]
    assert np.asarray(Image.open(folder / "out" / "sheet.png")).min() == 0  # the former one is on it


def test_a_stop_does_not_wait_for_what_was_read_ahead(folder):
    results, closed = plan(folder), []

    def read_ahead():
        try:
            yield from list(results.work())
        finally:
            closed.append(True)

    with pytest.raises(KeyboardInterrupt, match="2 of 4 photos done"), results:
        for number, photo in enumerate(results.until_stopped(read_ahead())):
            make(results, photo)
            if number == 1:
                signal.raise_signal(signal.SIGTERM)
    assert closed == [True]


def test_a_stop_during_the_last_photo_stops_nothing(folder):
    results = plan(folder)
    with results:
        for number, photo in enumerate(results.until_stopped(photo for photo in list(results.work()))):
            make(results, photo)
            if number == 3:
                signal.raise_signal(signal.SIGTERM)
    assert len(rows(folder)) == 4


def test_pictures_of_a_killed_call_are_taken_for_its_own(folder):
    results = plan(folder)
    results._write()  # as at the start; there was no end
    pictures.write_png(results.path("a.png"), np.zeros((20, 20, 3), np.uint8), BY)
    assert len(do(plan(folder))) == 4


def test_the_manifest_is_written_while_the_work_goes_on(folder, monkeypatch):
    monkeypatch.setattr(photo_results, "_PAUSE", 0)  # a pause of time would be too short on a busy machine
    results = plan(folder)
    with results:
        for photo in results.todo:
            make(results, photo)
            assert photo.label in [row["file"] for row in rows(folder)]


def test_writing_the_manifest_takes_linear_time(folder, monkeypatch):
    """Written after each of n photos it would take n²; the pause grows with it."""
    written = []
    results = plan(folder)
    true = outputs.in_one_piece
    monkeypatch.setattr(outputs, "in_one_piece", lambda path: (written.append(path), time.sleep(0.02), true(path))[2])
    began = time.monotonic()
    with results:
        while time.monotonic() < began + 1.0:
            results.add(results.todo[0], [{"out": "a.png"}])
    assert len(written) <= 7  # 1 s / (10 * 20 ms), the first and the last


@pytest.mark.parametrize("name", ["a.png", "sheet.png", "manifest.csv"])
def test_files_of_the_user_are_refused_before_anything_is_done(folder, name):
    (folder / "out").mkdir()
    (folder / "out" / name).write_text("mine")
    with pytest.raises(FileExistsError, match=f"out/{name} exists and was not written by sdgan-jax wear"):
        plan(folder)
    assert os.listdir(folder / "out") == [name] and (folder / "out" / name).read_text() == "mine"


@pytest.mark.parametrize("change", [lambda row: row + ",more", lambda row: row.rpartition(",")[0]])
def test_a_manifest_with_other_cells_than_columns_is_refused(folder, change):
    do(plan(folder))
    header, row, *others = (folder / "out" / "manifest.csv").read_text().splitlines()
    (folder / "out" / "manifest.csv").write_text("\n".join([header, change(row), *others]))
    with pytest.raises(ValueError, match="manifest.csv is no manifest that can be read; move it away"):
        plan(folder)


def test_results_of_another_command_are_not_replaced(folder):
    pictures.write_png(folder / "out" / "a.png", np.zeros((20, 20, 3), np.uint8), "sdgan-jax edit")
    with pytest.raises(FileExistsError, match="a.png exists and was not written by sdgan-jax wear"):
        plan(folder)


def test_an_own_result_that_is_read_is_not_replaced(folder):
    do(plan(folder))
    os.link(folder / "out" / "a.png", folder / "in" / "z.png")  # one file, two names
    Image.new("RGB", (20, 20)).save(folder / "in" / "a.jpg")  # to be made anew
    with pytest.raises(ValueError, match="a.png is read and would be replaced; give another --out"):
        plan(folder)
    os.unlink(folder / "in" / "z.png")
    with pytest.raises(ValueError, match="a.png is read and would be replaced"):
        plan(folder, inputs=[folder / "out" / "a.png"])


def test_rows_of_other_photos_stay_as_long_as_their_pictures(folder):
    do(plan(folder))
    for name in "abc":
        os.unlink(folder / "in" / f"{name}.jpg")
    (folder / "in" / "new").mkdir()
    Image.new("RGB", (20, 20)).save(folder / "in" / "b.bmp")
    do(plan(folder))
    assert [os.path.basename(row["file"]) for row in rows(folder)] == ["b.bmp", "d.jpg", "a.jpg", "c.jpg"]


def test_a_folder_of_nothing_but_failures_is_an_error(folder):
    results = plan(folder)
    with pytest.raises(ValueError, match="nothing could be done with 4 photos of --input; see .*manifest.csv"):
        with results:
            for photo in results.todo:
                results.skip(photo, {}, "no face found")
    assert len(rows(folder)) == 4 and not (folder / "out" / "sheet.png").exists()


def test_several_results_of_a_photo_are_done_together(folder):
    do(plan(folder, count=2))
    assert len(rows(folder)) == 8
    os.unlink(folder / "out" / "b.1.png")
    assert do(plan(folder, count=2)) == ["b.jpg"]


def test_names_and_notes_that_are_not_utf8(folder, capfd):
    os.rename(folder / "in" / "a.jpg", os.fsencode(folder / "in") + b"/\xe9\n.jpg")
    results = plan(folder)
    with results:
        for photo in results.todo[:-1]:
            make(results, photo)
        results.skip(results.todo[-1], {}, "broken")
    print(results.summary())
    assert rows(folder)[-1]["file"] == f"{folder}/in/\\xe9\\n.jpg"
    assert f"skipped {folder}/in/\\xe9\\n.jpg: broken\n" in capfd.readouterr().err


def test_two_calls_do_not_write_into_one_folder(folder):
    first, second = plan(folder), plan(folder)
    with first:
        with pytest.raises(RuntimeError, match="another call is writing into .*out; wait for its end, or give another"):
            second.__enter__()
        make(first, first.todo[0])
    assert len(do(plan(folder))) == 3


def files(folder):
    return sorted(name for name in os.listdir(folder / "out") if name not in ("manifest.csv", "sheet.png"))


def test_a_photo_that_fails_later_loses_its_earlier_results(folder):
    do(plan(folder, count=2))
    Image.new("RGB", (20, 20)).save(folder / "in" / "b.jpg")
    Image.new("RGB", (20, 20)).save(folder / "in" / "c.jpg")
    results = plan(folder, count=2)
    with results:
        (folder / "out" / "c.1.png").write_bytes(b"mine")  # by the user, while the call goes on
        pictures.write_png(results.path("b.0.png"), np.zeros((20, 20, 3), np.uint8), BY)  # the next one fails
        for photo in results.work():
            results.skip(photo, {}, "broken")
    assert files(folder) == ["a.0.png", "a.1.png", "c.1.png", "d.0.png", "d.1.png"]
    assert [(row["out"], row["note"]) for row in rows(folder)[2:4]] == [("", "broken")] * 2


def test_results_that_other_settings_do_not_make_are_removed(folder):
    do(plan(folder, count=4))
    os.unlink(folder / "in" / "d.jpg")
    do(plan(folder, count=2))
    others = [f"d.{k}.png" for k in range(4)]  # of a photo that was not given
    assert files(folder) == ["a.0.png", "a.1.png", "b.0.png", "b.1.png", "c.0.png", "c.1.png", *others]
    assert [row["out"] for row in rows(folder)] == files(folder)
    do(plan(folder))
    assert files(folder) == ["a.png", "b.png", "c.png", *others]


def test_earlier_results_stay_and_are_listed_until_they_are_done_again(folder):
    do(plan(folder, count=3))
    results = plan(folder, count=2)
    with pytest.raises(ZeroDivisionError), results:
        make(results, results.todo[0])
        raise ZeroDivisionError
    assert [row["out"] for row in rows(folder)] == files(folder) and len(files(folder)) == 2 + 3 * 3
    notes = {row["file"][-5]: row["note"] for row in rows(folder)}
    assert notes == {"a": ""} | dict.fromkeys("bcd", "of an earlier call; not done again yet")
    assert len(do(plan(folder, count=3))) == 4  # also those that this call made before
    assert len(files(folder)) == 12 and not any(row["note"] for row in rows(folder))
    results = plan(folder, count=2)
    with pytest.raises(ZeroDivisionError), results:
        raise ZeroDivisionError
    do(plan(folder))
    assert files(folder) == ["a.png", "b.png", "c.png", "d.png"]


def test_a_result_whose_name_another_photo_gets_is_not_removed(folder):
    do(plan(folder, style="cup"))
    Image.new("RGB", (20, 20)).save(folder / "in" / "a.bmp")  # sorted before a.jpg, whose name a.png it gets
    results = plan(folder, style="cloth")
    assert results.names["a.bmp"] == ("a.png",)
    with results:
        make(results, results.todo[0])
        for photo in results.todo[1:]:
            results.skip(photo, {}, "broken")
    assert files(folder) == ["a.png"] and [row["out"] for row in rows(folder)] == ["a.png", "", "", "", ""]


def test_an_earlier_result_that_is_read_is_not_removed(folder):
    do(plan(folder, count=2))
    do(plan(folder, inputs=[folder / "out" / "a.1.png"]))
    assert files(folder) == ["a.1.png", "a.png", "b.png", "c.png", "d.png"]


def test_no_sheet_is_left_of_results_that_are_gone(folder):
    do(plan(folder))
    for name in "abcd":
        Image.new("RGB", (20, 20)).save(folder / "in" / f"{name}.jpg")
    results = plan(folder)
    with pytest.raises(ValueError, match="nothing could be done"), results:
        for photo in results.todo:
            results.skip(photo, {}, "broken")
    assert os.listdir(folder / "out") == ["manifest.csv"]


def test_what_another_call_wrote_since_the_plan_is_not_lost(folder):
    first, second = plan(folder), plan(folder)
    do(first)
    before = (folder / "out" / "manifest.csv").read_bytes()
    with pytest.raises(RuntimeError, match="another call wrote .*/out/manifest.csv since .*; run the command again"):
        second.__enter__()
    assert (folder / "out" / "manifest.csv").read_bytes() == before
    assert do(plan(folder)) == []
