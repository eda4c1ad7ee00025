"""Photos of a folder, and what is left out of it."""

import os

import numpy as np
import pytest
from etils import epath
from PIL import Image

from sdgan_jax import pictures
from sdgan_jax.data import photo_files


@pytest.fixture
def folder(tmp_path):
    for name in ("in/a.jpg", "in/more/B.PNG", "in/notes.txt", "in/phone.xyz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return epath.Path(tmp_path)


def names(source, out):
    return [photo.name for photo in photo_files.find(source, out)]


def test_a_folder_and_a_file(folder, capsys):
    assert names(folder / "in", folder / "out") == ["a.jpg", "more/B.PNG"]
    assert ".txt (1), .xyz (1)" in capsys.readouterr().err
    assert names(folder / "in" / "a.jpg", folder / "out") == ["a.jpg"]


def test_results_inside_the_folder_are_left_out(folder, capsys):
    out = folder / "in" / "masked"
    (out / "more").mkdir(parents=True)
    for name in ("a.png", "more/b.png"):
        (out / name).touch()
    assert names(folder / "in", out) == ["a.jpg", "more/B.PNG"]
    os.symlink(out, folder / "in" / "link")
    assert names(folder / "in", folder / "in" / "link") == ["a.jpg", "more/B.PNG"]
    # Results of an earlier call, in another folder than this time's.
    (out / "manifest.csv").write_text("file,out,attribute,style\n")
    (folder / "in" / "link").unlink()
    assert names(folder / "in", folder / "in" / "glasses") == ["a.jpg", "more/B.PNG"]
    assert f"left out {out}: results of an earlier call" in capsys.readouterr().err
    pictures.write_png(out / "sheet.png", np.zeros((20, 20, 3), np.uint8), "sdgan-jax wear")
    assert names(out, folder / "again") == ["a.png", "more/b.png"]  # asked for by name
    (out / "manifest.csv").write_text("id;photo\n")
    assert "masked/a.png" in names(folder / "in", folder / "out")


@pytest.mark.parametrize("source", ["in", "in/a.jpg", "link", "link/a.jpg", "alone.jpg"])
def test_results_beside_the_photos_are_refused(folder, source):
    os.symlink(folder / "in", folder / "link")
    os.symlink(folder / "in" / "a.jpg", folder / "alone.jpg")
    for out in ("in", "in/", "in/.", "in/../in", "link", "in/more/.."):
        with pytest.raises(ValueError, match="is the folder of the photos; give another one, such as .*/results"):
            photo_files.find(folder / source, folder / out)


def test_results_that_would_lie_among_the_photos_are_refused(folder):
    (folder / "in" / "more" / "more").mkdir()
    (folder / "in" / "more" / "more" / "c.jpg").touch()
    with pytest.raises(ValueError, match="the result of more/c.jpg would lie in the folder of the photos"):
        photo_files.find(folder / "in" / "more", folder / "in")
    assert names(folder / "in", folder) == ["a.jpg", "more/B.PNG", "more/more/c.jpg"]


def test_what_cannot_be_read_is_one_line(folder):
    (folder / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="--input=.*nowhere: there is no such file or folder"):
        photo_files.find(folder / "nowhere", folder / "out")
    with pytest.raises(ValueError, match="--input=.*empty: there is no photo$"):
        photo_files.find(folder / "empty", folder / "out")
    with pytest.raises(ValueError, match="is not a folder; give a folder"):
        photo_files.find(folder / "in", folder / "in" / "a.jpg")


def test_photos_are_read_one_at_a_time_and_those_that_cannot_be_are_named(folder):
    Image.new("RGB", (20, 30), "red").save(folder / "in" / "more" / "B.PNG")
    asked, notes = [], []

    def files():
        for file in photo_files.find(folder / "in", folder / "out"):
            asked.append(file.name)
            yield file

    read = photo_files.read(files(), lambda file, line: notes.append((file.name, line)))
    assert not asked
    file, picture = next(read)
    assert (file.name, picture.pixels.shape) == ("more/B.PNG", (30, 20, 3)) and (
        picture.pixels[0, 0] == (255, 0, 0)
    ).all()
    assert notes == [("a.jpg", f"{folder}/in/a.jpg: empty file")]
    assert next(read, None) is None


def test_a_pipe_is_refused_not_read(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="a.jpg is a pipe or device; give an image file or a folder"):
        photo_files.find(epath.Path(tmp_path / "a.jpg"), epath.Path(tmp_path / "out"))


def test_of_an_animation_the_first_frame_is_read_and_a_note_says_so(tmp_path, capsys):
    red, blue = (Image.new("RGB", (20, 20), colour) for colour in ("red", "blue"))
    for name in ("a.gif", "b.webp", "c.png"):
        red.save(tmp_path / name, save_all=True, append_images=[blue])
    red.save(tmp_path / "d.tiff", save_all=True, append_images=[blue])  # a document of two pages
    red.save(tmp_path / "e.gif")
    found = photo_files.find(epath.Path(tmp_path), epath.Path(tmp_path / "out"))
    pictures_read = [picture for _, picture in photo_files.read(found, lambda *_: pytest.fail("not read"))]
    assert [picture.animated for picture in pictures_read] == [True, True, True, False, False]
    assert all(picture.pixels[0, 0, 0] > 200 for picture in pictures_read)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": an animation; only its first frame")[0] for line in lines] == [
        f"note: {tmp_path}/{name}" for name in ("a.gif", "b.webp", "c.png")
    ]


def test_names_that_are_not_utf8(folder):
    path = os.fsencode(folder / "in") + b"/caf\xe9.jpg"
    Image.new("RGB", (20, 20)).save(os.fsdecode(path))
    label = [photo.label for photo in photo_files.find(folder / "in", folder / "out")][1]
    assert label == f"{folder}/in/caf\\xe9.jpg"
