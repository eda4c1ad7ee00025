"""Drawing on photos, with a network that knows one painted square."""

import csv
import functools
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from etils import epath
from PIL import Image, ImageCms

from sdgan_jax.data import photo_files
from sdgan_jax.face3d import finding, geometry
from sdgan_jax.face3d.attire import wear
from sdgan_jax.photos import finders, looks, manifest, wearing
from sdgan_jax.photos.looks import Looks
from tests.face3d.test_finding import LAYOUT, painted, see_square
from tfds_megn import photos as photo_reader

ROOT = pathlib.Path(__file__).parents[2]
FINDER = finders.Finder(functools.partial(finding.find_all, predict=see_square, layout=LAYOUT), LAYOUT, "painted")
MASK = Looks(("mask",), ("cup",))


def draw_square(image, position_map, chosen, layout):
    """Draws a red square in the lower half of the face's box; drawing in 3D takes long to compile."""
    image, (left, top, right, bottom) = image.copy(), finding.box_of(position_map, layout).astype(int)
    image[(top + bottom) // 2 : bottom, left:right] = (200, 0, 0)
    return image


@pytest.fixture
def folder(tmp_path):
    """Two photos of other sizes, one in a sub-folder; one without a face; one broken."""
    (tmp_path / "in" / "more").mkdir(parents=True)
    Image.fromarray(painted(240, 300, 150, 120, 150)).save(tmp_path / "in" / "a.png")
    Image.fromarray(painted(200, 200, 100, 96, 140)).save(tmp_path / "in" / "more" / "b.jpg")
    Image.new("RGB", (90, 90)).save(tmp_path / "in" / "empty.png")
    (tmp_path / "in" / "broken.png").write_bytes(b"no image")
    return epath.Path(tmp_path)


def put_on(folder, looks=MASK, draw=draw_square, finder=FINDER, most=1, **options):
    out = folder / "out"
    photos = photo_files.find(folder / "in", out)
    return wearing.wear_photos(photos, out, looks, finder, draw=draw, most=most, **options)


def rows(folder):
    found = csv.DictReader((folder / "out" / "manifest.csv").open())
    return {row["file"].split("/in/")[1]: row for row in found}


@pytest.mark.slow
def test_masks_are_drawn_on_a_folder_of_photos(folder):
    put_on(folder, draw=wear.wear_photo)
    before, after = (np.asarray(Image.open(folder / part / "a.png")) for part in ("in", "out"))
    changed = np.argwhere((before != after).any(-1))
    assert 120 < changed[:, 0].mean() < 195  # the lower half of the face


def test_the_manifest_says_what_became_of_each_photo(folder, capfd):
    assert put_on(folder).startswith(f"2 images in {folder}/out; no image of 2 photos, see manifest.csv; ")
    for name, size in (("a.png", (300, 240)), ("more/b.png", (200, 200))):
        assert Image.open(folder / "out" / name).size == size
    row = rows(folder)["a.png"]
    assert row["style"] == "cup" and row["out"] == "a.png" and float(row["score"]) < 0.02
    assert abs(float(row["yaw"])) < 1 and not row["note"]
    assert rows(folder)["empty.png"]["note"] == "no face found" and "broken" in rows(folder)["broken.png"]["note"]
    header = (folder / "out" / "manifest.csv").read_text().splitlines()[0]
    assert header.startswith(",".join(wearing.COLUMNS) + ",source_bytes")
    assert (folder / "out" / "sheet.png").exists() and capfd.readouterr().err.count("skipped") == 2
    assert put_on(folder).startswith(f"0 images in {folder}/out, and those of 2 photos done before; no image")


def find_corners(image, most=None):
    """Finds a face in each corner but the last, the largest first."""
    height, width = image.shape[:2]
    faces = []
    for x, y, side in ((0.25, 0.3, 60.0), (0.75, 0.3, 50.0), (0.25, 0.7, 40.0)):
        position_map = LAYOUT.head * side / 2 + np.array([x * width, y * height, 0])
        faces.append(finding.Found(position_map, side / 1e3, finding.box_of(position_map, LAYOUT)))
    return faces[:most]


CORNERS = finders.Finder(find_corners, LAYOUT, "corners")


def test_each_face_has_a_row_and_landmarks(folder):
    random = Looks(("mask",), ("cloth",), seed=0)
    assert put_on(folder, random, finder=CORNERS, most=None, with_landmarks=True).startswith("3 images in")
    table = list(csv.DictReader((folder / "out" / "manifest.csv").open()))
    here = [row for row in table if row["out"] == "a.png"]
    assert [(row["face"], row["score"]) for row in here] == [("1", "0.06"), ("2", "0.05"), ("3", "0.04")]
    assert len({row["colour"] for row in here}) == 3
    (photo,) = {row["file"] for row in here}
    known = json.loads((folder / "out" / "landmarks.json").read_text())
    assert len(known) == 3
    faces = known[photo]
    assert [face["score"] for face in faces] == [0.06, 0.05, 0.04]
    middles = np.array([face["points"] for face in faces]).mean(1)
    head = np.asarray(geometry.landmarks(np.asarray(LAYOUT.head), LAYOUT)).mean(0)
    np.testing.assert_allclose(middles[1], head[:2] * 25 + [225, 72], atol=0.1)
    assert len(faces[0]["points"]) == 68 and len(faces[0]["box"]) == 4
    changed = np.asarray(Image.open(folder / "out" / "a.png")) != painted(240, 300, 150, 120, 150)
    assert changed[:120, :150].any() and changed[:120, 150:].any() and changed[120:, :150].any()


def test_landmarks_outlive_a_stop_and_their_loss_makes_the_photos_new(folder):
    again = functools.partial(put_on, folder, finder=CORNERS, most=None, with_landmarks=True)
    again()
    before = (folder / "out" / "landmarks.json").read_text()
    assert again().startswith("0 images") and (folder / "out" / "landmarks.json").read_text() == before
    (folder / "out" / "landmarks.json").unlink()
    assert again().startswith("3 images") and (folder / "out" / "landmarks.json").read_text() == before
    (folder / "out" / "landmarks.json").write_text("[]")
    with pytest.raises(FileExistsError, match="landmarks.json"):
        again()


def test_nothing_is_left_of_a_photo_that_is_broken_later(folder):
    again = functools.partial(put_on, folder, finder=CORNERS, most=None, with_landmarks=True)
    again()
    (folder / "in" / "a.png").write_bytes(b"no image")
    again()
    photos = json.loads((folder / "out" / "landmarks.json").read_text())
    assert [name.split("/in/")[1] for name in photos] == ["empty.png", "more/b.jpg"]
    assert not (folder / "out" / "a.png").exists() and (folder / "out" / "more" / "b.png").exists()
    assert again().startswith("0 images in")  # the others are still known


def test_the_largest_faces_only(folder):
    put_on(folder, finder=CORNERS, most=2)
    table = list(csv.DictReader((folder / "out" / "manifest.csv").open()))
    assert [row["face"] for row in table if row["out"] == "a.png"] == ["1", "2"]


def test_pixels_profile_and_exif_stay(folder):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Camera", 6  # turned by a quarter
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    upright = painted(200, 240, 120, 96, 140)
    upright[:40] = np.random.default_rng(0).integers(0, 100, (40, 240, 3))
    stored = Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90)
    stored.save(folder / "in" / "turned.png", exif=exif, icc_profile=profile)
    put_on(folder)
    image = Image.open(folder / "out" / "turned.png")
    assert image.info["icc_profile"] == profile
    assert image.getexif()[0x010F] == "Camera" and 0x0112 not in image.getexif()
    row = rows(folder)["turned.png"]
    top, left, right = (int(float(row[name])) for name in ("top", "left", "right"))
    changed = np.argwhere((np.asarray(image) != upright).any(-1))
    assert len(changed) and changed[:, 0].min() > top and left <= changed[:, 1].min() and changed[:, 1].max() <= right


@pytest.mark.parametrize(("quality", "subsampling"), [(71, 2), (92, 0)])
def test_a_jpeg_stays_a_jpeg_on_request(folder, quality, subsampling):
    image = painted(400, 400, 200, 240, 240)
    image[:64] = np.random.default_rng(0).integers(60, 90, (64, 1, 3))
    source = folder / "in" / "c.JPG"
    Image.fromarray(image).save(source, "jpeg", quality=quality, subsampling=subsampling)
    put_on(folder, form="same")
    assert rows(folder)["c.JPG"]["out"] == "c.JPG" and rows(folder)["a.png"]["out"] == "a.png"
    first, second = (photo_reader.read_picture(path) for path in (source, folder / "out" / "c.JPG"))
    assert Image.open(folder / "out" / "c.JPG").format == "JPEG" and second.jpeg == first.jpeg
    away = np.abs(first.pixels[:64].astype(int) - second.pixels[:64])
    assert away.max() <= 2 and (first.pixels != second.pixels).any()
    assert put_on(folder, form="same").startswith("0 images")  # known again as its own


def test_a_photo_that_cannot_be_written_does_not_stop_the_others(folder, a_png_denied):
    assert put_on(folder).startswith("1 image in")
    assert rows(folder)["a.png"]["note"] == "cannot be written (Permission denied)"
    assert rows(folder)["more/b.jpg"]["out"] == "more/b.png"


def test_a_full_disk_stops_and_names_the_file(folder, monkeypatch):
    write_bytes = type(folder).write_bytes

    def full(path, content):
        if len(content) > 1000:
            raise OSError(28, "No space left on device", str(path))
        write_bytes(path, content)

    monkeypatch.setattr(type(folder), "write_bytes", full)
    image = painted(240, 300, 150, 120, 150)
    image[..., 2] += np.random.default_rng(0).integers(0, 40, (240, 300), np.uint8)  # of more than 1000 bytes
    Image.fromarray(image).save(folder / "in" / "aa.png")
    with pytest.raises(OSError, match=r"no space left on the disk; .*iB free; \d of 5 photos done") as raised:
        put_on(folder)
    assert raised.value.filename.endswith(".png")
    assert not [name for name in os.listdir(folder / "out") if name.startswith(".")]


def test_several_images_of_a_photo_have_their_own_styles(folder, monkeypatch):
    cell, kept = wearing._cell, []
    monkeypatch.setattr(wearing, "_cell", lambda images: kept.append(len(images)) or cell(images))
    assert put_on(folder, Looks(("mask",), ("cloth",), seed=0, per_image=4)).startswith("8 images in")
    table = list(csv.DictReader((folder / "out" / "manifest.csv").open()))
    made = [row for row in table if row["out"]]
    assert [row["out"] for row in made] == [f"{name}.{k}.png" for name in ("a", "more/b") for k in range(4)]
    assert len({row["colour"] for row in made}) == 8  # cloth has any colour
    with Image.open(folder / "out" / "sheet.png") as sheet:
        assert sheet.width < 9 * 258  # two photos side by side, with three results each
    assert kept == [4, 4]  # of a thousand images, no more than the sheet shows are kept in memory


def test_a_texture_is_named_and_never_replaced(folder):
    Image.new("RGBA", (4, 4), "red").save(folder / "t.png")
    put_on(folder, looks.read(["mask"], textures=[str(folder / "t.png")]))
    assert rows(folder)["a.png"]["texture"] == str(folder / "t.png")
    with pytest.raises(ValueError, match="out/a.png is read and would be replaced; give another --out"):
        put_on(folder, looks.read(["mask"], textures=[str(folder / "out" / "a.png")]))


def run(*arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "experiments.wear", *map(os.fspath, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flag", "line"),
    [
        ("--style=round", "--style=round: no such style; mask: surgical, cloth, cup"),
        ("--seed=3", "--seed chooses among random styles; give --random_styles too, or leave it out"),
    ],
)
def test_a_mistake_is_one_line(folder, flag, line):
    result = run(f"--input={folder / 'in'}", f"--out={folder / 'out'}", "--attribute=mask", flag)
    assert (result.returncode, result.stderr) == (1, f"error: {line}\n")
    assert not (folder / "out").exists()


@pytest.mark.slow
def test_the_folder_of_the_photos_is_no_place_for_results(folder):
    result = run("--attribute=mask", f"--input={folder / 'in' / 'a.png'}", f"--out={folder / 'in'}")
    assert result.returncode == 1 and "is the folder of the photos; give another one, such as" in result.stderr
    assert (np.asarray(Image.open(folder / "in" / "a.png")) == painted(240, 300, 150, 120, 150)).all()


def test_the_settings_differ_where_the_results_do():
    """Results of other settings are made anew, see `PhotoResults`."""
    other = FINDER._replace(name="another")
    texture = looks.Texture("t.png", np.zeros((2, 2, 4), np.uint8))
    different = [
        (MASK, FINDER, "png", None, False),
        (Looks(("beard",)), FINDER, "png", None, False),
        (MASK, other, "png", None, False),
        (MASK, FINDER, "same", None, False),
        (MASK, FINDER, "png", 1, False),
        (MASK, FINDER, "png", 2, False),
        (MASK, FINDER, "png", None, True),
        (Looks(("mask",), ("cup",), textures=(texture,)), FINDER, "png", None, False),
    ]
    described = {manifest.describe_settings(wearing.settings_of(*some)) for some in different}
    assert len(described) == len(different)


def test_the_manifest_has_the_colours_that_were_given():
    picture = photo_reader.Picture(painted(240, 300, 150, 120, 150), None, None, None)
    faces = FINDER.find(picture.pixels, most=1)
    for level in range(256):
        colour = f"#{level:02x}{255 - level:02x}{level:02x}"
        chosen = Looks(("mask",), colours=(colour,))
        (made,) = wearing.make_images("a.png", picture, faces, ["a.png"], chosen, LAYOUT, lambda image, *_: image)
        assert made.rows[0]["colour"] == colour
