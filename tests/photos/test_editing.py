"""Editing photos, with a model that turns a face red."""

import copy
import csv
import types

import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from PIL import Image, ImageCms

from sdgan_jax import blending, pictures
from sdgan_jax.data import photo_files
from sdgan_jax.face3d import alignment, face_crop, finding, geometry
from sdgan_jax.photos import editing
from tests.face3d.test_finding import LAYOUT, painted
from tests.photos.test_dressing import LAYOUT as LAYOUT_32
from tests.photos.test_dressing import face_at
from tests.photos.test_wearing import FINDER


class Model:
    """Its latents are the faces; it counts those that it inverts, and fails when `allowed` of them are reached.

    A mask is red: it sets the first colour to 1. A beard that is taken off sets the last one to -1.
    """

    def __init__(self, allowed=1000, weight=1.0, encoder=False):
        self.config = types.SimpleNamespace(
            resolution=32, attributes=("none", "mask", "beard"), face_crop="megn", dataset="megn/rendered_32"
        )
        self.params, self.allowed, self.batches = {"G": {"weight": np.float32(weight)}}, allowed, []
        self.params |= {"E": {"weight": np.float32(0)}} if encoder else {}
        self.steps, self.tuned, self.worn, self.swaps = [], [], [], False

    def invert(self, faces, steps="usual", worn=None):
        self.worn.append(worn)
        self.batches.append(len(faces))
        self.steps.append(steps)
        if sum(self.batches) > self.allowed:
            raise KeyboardInterrupt
        return faces

    def encode(self, faces, worn):
        self.worn.append(worn)
        self.steps.append("encoder")
        return faces

    def tune(self, latent, faces, steps):
        """A copy that draws a mask in full green; the model records the numbers of faces and steps."""
        self.tuned.append((len(faces), steps))
        model = copy.copy(self)
        model.swaps = True
        return model

    def draw_edit(self, latent, faces, attribute, strength, remove):
        edited = latent
        if remove == ["beard"]:
            edited = edited * np.float32([1, 1, 0]) - np.float32([0, 0, 1])
        if attribute:
            edited = edited * np.array([1 - strength, 1, 1], np.float32) + np.array([strength, 0, 0], np.float32)
        plain, edited = (images[..., [1, 0, 2]] if self.swaps else images for images in (latent, edited))
        return blending.Drawn(plain, edited, blending.edited_region(plain, edited, bool(remove)))


@pytest.fixture
def folder(tmp_path):
    """Forty photos of another shape than the model's, one broken."""
    (tmp_path / "in").mkdir()
    for k in range(39):
        Image.new("RGB", (60, 50), (0, 5 * k, 90)).save(tmp_path / "in" / f"{k:02}.png")
    (tmp_path / "in" / "00a.png").write_bytes(b"no image")
    return epath.Path(tmp_path)


def edit(
    folder, model, attributes=("mask",), remove=(), strength=1.0, steps=None, pivotal=0, finder=None, form="png", most=1
):
    out = folder / "out"
    wanted = editing.Edit(attributes, remove, strength, steps, pivotal)
    return editing.edit_photos(model, photo_files.find(folder / "in", out), out, wanted, finder, form, most)


def rows(folder):
    return list(csv.DictReader((folder / "out" / "manifest.csv").open()))


def test_photos_are_edited_in_full_batches(folder):
    model = Model()
    assert edit(folder, model).startswith(f"39 images in {folder}/out; no image of 1 photo, see manifest.csv; ")
    assert model.batches == [16, 16, 8]  # few different numbers, as each is compiled
    for k in (0, 17, 38):
        image = np.asarray(Image.open(folder / "out" / f"{k:02}.png"))
        assert image.shape == (32, 32, 3) and (image == (255, 5 * k, 90)).all()
    assert len(rows(folder)) == 40 and "not an image" in rows(folder)[1]["note"]
    assert (rows(folder)[0]["out"], rows(folder)[0]["attribute"], rows(folder)[0]["strength"]) == (
        "00.png",
        "mask",
        "1.0",
    )
    with Image.open(folder / "out" / "sheet.png") as sheet:
        assert sheet.height < 13 * 100  # 24 photos, two in a row


@pytest.mark.parametrize(
    ("attributes", "colour", "column", "label"),
    [((), (0, 5, 0), "", "no beard"), (("mask",), (255, 5, 0), "mask", "mask+no beard")],
)
def test_attributes_are_taken_off(folder, attributes, colour, column, label):
    edit(folder, Model(), attributes, ("beard",))
    assert editing.Edit(attributes, ("beard",)).label == label
    assert (np.asarray(Image.open(folder / "out" / "01.png")) == colour).all()
    row = next(row for row in rows(folder) if row["out"] == "01.png")
    assert (row["attribute"], row["remove"], row["strength"]) == (column, "beard", "1.0")


@pytest.mark.parametrize(
    ("encoder", "steps", "expected"),
    [(False, None, "usual"), (False, 7, 7), (True, None, "encoder"), (True, 7, 7), (True, 0, 0)],
)
def test_latents_are_found_by_encoder_or_optimisation(folder, encoder, steps, expected):
    model = Model(encoder=encoder)
    edit(folder, model, (), ("beard",), steps=steps)
    assert set(model.steps) == {expected}
    assert set(model.worn) == {("beard",)}  # the faces are known to wear what is taken off


def test_no_steps_need_an_encoder(folder):
    with pytest.raises(ValueError, match="--steps=0: this model has no encoder"):
        edit(folder, Model(), steps=0)


def test_a_stopped_call_goes_on_where_it_was(folder):
    with pytest.raises(KeyboardInterrupt, match="17 of 40 photos done; the same command goes on there"):
        edit(folder, Model(allowed=16))  # sixteen, and the broken one
    assert len(rows(folder)) == 17 and (folder / "out" / "sheet.png").exists()
    model = Model()
    assert "23 images" in edit(folder, model) and model.batches == [16, 8]
    assert len(rows(folder)) == 40
    model = Model()
    edit(folder, model)
    assert not model.batches


@pytest.mark.parametrize(
    "other",
    [
        {"strength": 0.5},
        {"attributes": ("beard",)},
        {"remove": ("beard",)},
        {"steps": 3},
        {"weight": 2.0},
        {"form": "same"},
    ],
)
def test_another_edit_or_model_makes_all_anew(folder, other):
    edit(folder, Model())
    model = Model(weight=other.pop("weight", 1.0))
    edit(folder, model, **other)
    assert sum(model.batches) == 40


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (("hat",), "unknown attribute 'hat'; the known ones are none, mask, beard"),
        ((), "no attribute is given; set --attribute or --remove to some of mask, beard"),
        (("none",), "no attribute is given; set --attribute or --remove to some of mask, beard"),
    ],
)
def test_attributes_are_checked_before_the_photos_are_read(folder, attributes, message):
    model = Model()
    with pytest.raises(ValueError, match=message):
        edit(folder, model, attributes)
    assert not model.batches and not (folder / "out").exists()


@pytest.mark.parametrize(("attributes", "remove"), [((), ()), (("mask",), ()), ((), ("mask",))])
def test_a_model_without_attributes_says_so(folder, attributes, remove):
    """A converted StyleGAN2; "the known ones are none" would name none of them."""
    model = Model()
    model.config.attributes = ("none",)
    with pytest.raises(ValueError, match="this model is a plain StyleGAN2 without attributes"):
        edit(folder, model, attributes, remove)
    assert not model.batches and not (folder / "out").exists()


def test_a_file_of_the_user_is_refused_before_the_photos_are_read(folder):
    (folder / "out").mkdir()
    (folder / "out" / "07.png").write_bytes(b"mine")
    model = Model()
    with pytest.raises(FileExistsError, match="07.png exists and was not written by sdgan-jax edit"):
        edit(folder, model)
    assert not model.batches and (folder / "out" / "07.png").read_bytes() == b"mine"


def test_each_face_is_tuned_on_its_own(folder):
    model = Model()
    edit(folder, model, pivotal=7)
    assert model.tuned == [(1, 7)] * 39
    assert (np.asarray(Image.open(folder / "out" / "17.png")) == (85, 255, 90)).all()


@pytest.fixture
def faces(tmp_path):
    """Two photos of other sizes with a painted face, one of them a JPEG in a sub-folder; one without; one broken."""
    (tmp_path / "in" / "more").mkdir(parents=True)
    Image.fromarray(painted(240, 300, 150, 120, 120)).save(tmp_path / "in" / "a.png")
    Image.fromarray(painted(400, 320, 140, 196, 140)).save(tmp_path / "in" / "more" / "b.jpg", quality=83)
    Image.new("RGB", (90, 90)).save(tmp_path / "in" / "empty.png")
    (tmp_path / "in" / "broken.png").write_bytes(b"no image")
    return epath.Path(tmp_path)


def crop_of(image, kind="megn"):
    """The crop of the face that is found in a photo."""
    points = geometry.landmarks(jnp.asarray(FINDER.find(image)[0].position_map), LAYOUT)
    return face_crop.CROPS[kind](np.asarray(points)[:, :2])


def test_faces_are_edited_in_their_place(faces):
    model = Model()
    assert edit(faces, model, finder=FINDER).startswith(f"2 images in {faces}/out; no image of 2 photos, see manifest")
    assert model.batches == [2]
    before, after = (np.asarray(Image.open(faces / part / "a.png")) for part in ("in", "out"))
    assert before.shape == after.shape
    crop = crop_of(before)
    y, x = np.indices(before.shape[:2])
    at = np.abs(alignment.to_square(np.stack([x, y, 0 * x], -1), crop.square, 1, crop.degrees)[..., :2]).max(-1)
    np.testing.assert_array_equal(after[at > 0.5], before[at > 0.5])
    middle = after[at < 0.35]
    assert (middle[:, 0] > 250).all() and np.abs(middle[:, 1:].astype(int) - before[at < 0.35][:, 1:]).max() < 60
    row = next(row for row in rows(faces) if row["out"] == "a.png")
    assert 120 < (float(row["left"]) + float(row["right"])) / 2 < 180 and float(row["score"]) < finding.THRESHOLD
    notes = {row["file"].split("/in/")[1]: row["note"] for row in rows(faces)}
    assert notes["empty.png"] == "no face found; --align=off edits the central square" and notes["a.png"] == ""
    assert "not an image" in notes["broken.png"]
    sheet = np.asarray(Image.open(faces / "out" / "sheet.png"))
    assert sheet.shape[1] > 5 * 256 and sheet.shape[0] > 2 * 256
    row = sheet[pictures.LABEL_PIXELS + 8 + 128, pictures.GAP_PIXELS + 128 :: 256 + pictures.GAP_PIXELS, 0]
    assert (row > 250).tolist() == [False, False, False, True, True]  # photo, face, reconstruction | mask, result


def two_faces(image, *, most=None):
    """Finds a face in each half of a photo; the right one is the larger."""
    middle = image.shape[1] // 2
    (right,) = FINDER.find(image[:, middle:], most=1)
    (left,) = FINDER.find(image[:, :middle], most=1)
    shift = np.array([middle, 0])
    right = right._replace(
        position_map=right.position_map + np.float32([middle, 0, 0]), box=right.box + np.tile(shift, 2)
    )
    return [right, left][:most]


@pytest.mark.parametrize("most", [None, 1])
def test_several_faces_are_edited(faces, most):
    for name in ("a.png", "more/b.jpg", "empty.png", "broken.png"):
        (faces / "in" / name).unlink()
    photo = np.concatenate([painted(240, 200, 100, 110, 90), painted(240, 240, 100, 120, 130)], 1)
    Image.fromarray(photo).save(faces / "in" / "two.png")
    model = Model()
    finder = FINDER._replace(find=two_faces)
    assert edit(faces, model, finder=finder, most=most).startswith("1 image in") and model.batches == [most or 2]
    changed = np.argwhere((np.asarray(Image.open(faces / "out" / "two.png")) != photo).any(-1))[:, 1]
    assert (changed > 300).any() and (changed < 180).any() == (most is None)
    found = rows(faces)
    assert [row["face"] for row in found] == ["1", "2"][:most] and {row["out"] for row in found} == {"two.png"}
    assert float(found[0]["left"]) > 200 and all(not row["note"] for row in found)
    assert "and those of 1 photo done before" in edit(faces, Model(), finder=finder, most=most)
    assert edit(faces, Model(), finder=finder, most=None if most else 1).startswith("1 image in")  # made anew


def test_the_edit_of_a_face_stays_behind_larger_faces():
    """The smaller of two overlapping faces becomes black, the larger one stays as it is."""
    near, far = (face_at(x, 90, side) for x, side in ((70, 90), (125, 70)))
    photo = np.full((180, 220, 3), 200, np.uint8)
    crops, squares = editing.cut_faces(photo, [near, far], LAYOUT_32, "megn", 32)
    plain = np.full((2, 32, 32, 3), 0.5, np.float32)
    edited, region = np.stack([plain[0], plain[1] - 1.4]), np.stack([np.zeros((32, 32)), np.ones((32, 32))])
    both = blending.Drawn(plain, edited, region)
    out = editing.paste_faces(photo, [near, far], [0, 1], crops, squares, both, LAYOUT_32)
    one = crops[1:], squares[1:], blending.Drawn(*(images[1:] for images in both))
    alone = editing.paste_faces(photo, [far], [0], *one, LAYOUT_32)
    np.testing.assert_array_equal(editing.paste_faces(photo, [near, far], [1], *one, LAYOUT_32), out)
    changed, before = ((image != photo).any(-1) for image in (out, alone))
    places = near.position_map[np.asarray(LAYOUT_32.face)][:, :2]
    middle, half = (places.max(0) + places.min(0)) / 2, np.ptp(places, axis=0) / 2
    y, x = np.indices(changed.shape)
    away = np.square((np.stack([x, y], -1) - middle) / half).sum(-1)  # the outline of a face is about an ellipse
    assert before[away < 0.7].any() and not changed[away < 0.7].any()
    np.testing.assert_array_equal(out[away > 1.6], alone[away > 1.6])


def test_photos_without_a_face_are_not_searched_again(faces):
    edit(faces, Model(), finder=FINDER)
    model = Model()
    found = FINDER._replace(find=lambda image, most: pytest.fail("searched again"))
    assert "0 images" in edit(faces, model, finder=found) and not model.batches


def test_faces_are_pasted_where_the_edit_changes_them(faces, monkeypatch):
    """The region is that of `Model.draw_edit`, also of a removal."""
    paste, seen = editing.pasting.paste, []
    monkeypatch.setattr(editing.pasting, "paste", lambda *given: seen.append(given[-3:]) or paste(*given))
    edit(faces, Model(), (), ("beard",), finder=FINDER)
    assert len(seen) == 2
    for plain, edited, region in seen:
        np.testing.assert_array_equal(region, blending.edited_region(plain[None], edited[None], True)[0])


def test_of_overlapping_faces_the_largest_is_on_top():
    """A bright face before a dark one, which keeps the part of its own beside it."""
    crops = [face_crop.Crop(np.array([x, 50.0, side]), 0.0) for x, side in ((50.0, 60.0), (80.0, 40.0))]
    plain, whole = np.zeros((2, 32, 32, 3), np.float32), np.ones((2, 32, 32), np.float32)
    drawn = blending.Drawn(plain, plain + np.float32([0.9, -0.9])[:, None, None, None], whole)
    grey = np.full((100, 120, 3), 128, np.uint8)
    squares = np.full((2, 32, 32, 3), 128, np.uint8)
    image = editing.paste_faces(grey, [], [0, 1], crops, squares, drawn, LAYOUT_32)
    np.testing.assert_allclose(image[50, [66, 90], 0], [127.5 * 1.9, 127.5 * 0.1], atol=2)


def test_a_strength_of_zero_gives_the_photo_back(faces):
    edit(faces, Model(), finder=FINDER, strength=0.0)
    before, after = (np.asarray(Image.open(faces / part / "a.png")) for part in ("in", "out"))
    np.testing.assert_array_equal(before, after)


def test_the_crop_is_that_of_the_model(faces):
    model = Model()
    model.config.face_crop = "ffhq"
    edit(faces, model, finder=FINDER)
    before, after = (np.asarray(Image.open(faces / part / "a.png")).astype(int) for part in ("in", "out"))
    crop = crop_of(before.astype(np.uint8), "ffhq")
    changed = np.argwhere((before != after).any(-1))[:, ::-1]
    low, high = crop.corners().min(0), crop.corners().max(0)
    assert (changed >= low).all() and (changed <= high).all()
    assert np.abs((changed.max(0) - changed.min(0)) / crop.square[2] - 0.95).max() < 0.06


def test_orientation_profile_exif_and_format_stay(faces):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Camera", 6  # turned by a quarter
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    upright = painted(200, 240, 120, 96, 100)
    upright[:20] = np.random.default_rng(0).integers(0, 100, (20, 240, 3))
    stored = Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90)
    stored.save(faces / "in" / "turned.png", exif=exif, icc_profile=profile)
    edit(faces, Model(), finder=FINDER, form="same")
    image = Image.open(faces / "out" / "turned.png")
    assert image.info["icc_profile"] == profile
    assert image.getexif()[0x010F] == "Camera" and 0x0112 not in image.getexif()
    changed = (np.asarray(image) != upright).any(-1)
    low, high = crop_of(upright).corners().min(0), crop_of(upright).corners().max(0)
    assert changed.any() and not changed[: int(low[1])].any() and not changed[:, : int(low[0])].any()
    assert not changed[:, int(high[0]) + 2 :].any()
    assert Image.open(faces / "out" / "more" / "b.jpg").format == "JPEG"


def test_large_photos_are_edited_few_at_a_time(faces, monkeypatch):
    monkeypatch.setattr(editing, "_MOST_PIXELS", 100)
    model = Model()
    edit(faces, model, finder=FINDER)
    assert model.batches == [1, 1]


def test_a_file_that_cannot_be_written_does_not_stop_the_others(faces, a_png_denied):
    assert edit(faces, Model(), finder=FINDER).startswith("1 image in")
    assert {row["note"] for row in rows(faces) if "/a.png" in row["file"]} == {"cannot be written (Permission denied)"}


@pytest.mark.parametrize(
    ("dataset", "crop", "expected"),
    [
        ("megn/rendered_64", "megn", True),
        ("megn/photos_64", "megn", False),
        ("megn/rendered_256", "ffhq", False),
        ("celeb", "megn", False),
    ],
)
def test_a_model_of_rendered_faces_says_so(dataset, crop, expected):
    model = Model()
    model.config.dataset, model.config.face_crop = dataset, crop
    line = editing.describe_domain(model)
    assert (line is not None) == expected and (not expected or "experiments.wear" in line)


@pytest.mark.parametrize(("finder", "name", "others"), [(None, "empty.png", 2), (FINDER, "more/b.png", 1)])
def test_a_face_whose_search_diverges_does_not_stop_the_others(faces, finder, name, others):
    model = Model()
    true = model.draw_edit

    def diverge(*arguments):
        """Draws NaN for the second face."""
        drawn = true(*arguments)
        edited = np.array(drawn.edited)
        edited[1, 3, 4, 0] = np.nan
        return drawn._replace(edited=edited)

    model.draw_edit = diverge
    assert edit(faces, model, finder=finder).startswith(f"{others} image")
    assert [row["note"] for row in rows(faces)].count(editing.NOT_A_NUMBER) == 1
    assert (faces / "out" / "a.png").exists() and not (faces / "out" / name).exists()
