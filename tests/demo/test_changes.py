"""Edits and attire on opened photos, with a model that turns faces red and a drawing of squares."""

import numpy as np
import pytest

from sdgan_jax.demo import changes, opened_photo
from sdgan_jax.demo.changes import Look
from sdgan_jax.demo.worker import Deadline
from sdgan_jax.face3d import finding
from sdgan_jax.face3d.attire import styles, wear
from sdgan_jax.photos.editing import Edit
from tests.face3d.test_finding import LAYOUT, painted
from tests.photos.test_dressing import LAYOUT as LAYOUT_32
from tests.photos.test_dressing import face_at
from tests.photos.test_editing import Model
from tests.photos.test_wearing import FINDER, draw_square


@pytest.fixture
def photo():
    image = np.concatenate([painted(240, 300, 150, 120, 150), painted(240, 300, 150, 120, 130)], 1)
    faces = [finding.find_all(image[:, x : x + 300], FINDER.find.keywords["predict"], LAYOUT)[0] for x in (0, 300)]
    moved = faces[1]._replace(
        position_map=faces[1].position_map + np.float32([300, 0, 0]), box=faces[1].box + [300, 0, 300, 0]
    )
    opened = opened_photo.from_pixels(image, "a.png")
    return opened_photo.OpenedPhoto("a.png", opened.picture, [faces[0], moved])


def changed_columns(photo, image):
    return np.flatnonzero((image != photo.picture.pixels).any((0, 2)))


def test_only_chosen_faces_are_edited_and_their_latents_are_kept(photo):
    model = Model(encoder=False)
    image = changes.edit(model, photo, [1], Edit(["mask"], [], 1.0, 7), LAYOUT, Deadline(10))
    where = changed_columns(photo, image)
    assert len(where) and where.min() > 320 and image.shape == photo.picture.pixels.shape
    weak = changes.edit(model, photo, [1], Edit(["mask"], [], 0.5, 7), LAYOUT, Deadline(10))
    assert model.steps == [7] and list(photo.latents) == [(1,)]  # the search was made once
    red, half = (np.abs(one.astype(int) - photo.picture.pixels)[..., 0].sum() for one in (image, weak))
    assert 0 < half < red
    both = changes.edit(model, photo, [0, 1], Edit(["mask"], [], 1.0, 7), LAYOUT, Deadline(10))
    assert changed_columns(photo, both).min() < 280 and (both[:, 320:] == image[:, 320:]).all()


def test_what_is_taken_off_is_searched_for_anew(photo):
    """The latents of a face depend on what it is known to wear."""
    model = Model()
    for remove in ([], ["beard"], ["beard"]):
        changes.edit(model, photo, [1], Edit(["mask"], remove, 1.0, 7), LAYOUT, Deadline(10))
    assert model.worn == [[], ["beard"]] and list(photo.latents) == [(1,), (1, "beard")]


def test_an_unknown_attribute_is_one_line(photo):
    with pytest.raises(ValueError, match="unknown attribute 'hat'"):
        changes.edit(Model(), photo, [0], Edit(["hat"]), LAYOUT, Deadline(10))


def test_only_chosen_faces_are_dressed(photo):
    image = changes.dress(photo, [0], {"mask": Look("cup")}, LAYOUT, Deadline(10), draw_square)
    where = changed_columns(photo, image)
    assert len(where) and where.max() < 280
    assert (
        changes.dress(photo, [0, 1], {}, LAYOUT, Deadline(10), lambda image, *_: image) == photo.picture.pixels
    ).all()


def test_a_face_that_is_not_chosen_is_in_front_of_smaller_ones():
    near, far = face_at(60, 60, 80), face_at(95, 60, 60)
    opened = opened_photo.from_pixels(np.full((120, 140, 3), 9, np.uint8), "a.png")
    two = opened_photo.OpenedPhoto("a.png", opened.picture, [near, far])
    dressed = changes.dress(two, [1], {"mask": Look("cup")}, LAYOUT_32, Deadline(10), draw_square)
    edited = changes.edit(Model(), two, [1], Edit(["mask"], [], 1.0, 7), LAYOUT_32, Deadline(10))
    for image in (dressed, edited):
        row = image[85, :, 0]
        assert (row[70:80] == 9).all() and (row[100:110] > 150).all()


def test_work_stops_at_its_deadline(photo):
    for work in (
        lambda: changes.edit(Model(), photo, [0], Edit(["mask"]), LAYOUT, Deadline(-1)),
        lambda: changes.dress(photo, [0], {"mask": Look("cup")}, LAYOUT, Deadline(-1), draw_square),
    ):
        with pytest.raises(TimeoutError):
            work()


def test_colours_are_those_of_the_picker():
    for colour in ("#7fb2d9", "rgb(127, 178, 217)", "rgba(127.2, 178, 216.9, 1)"):
        np.testing.assert_allclose(
            changes.make_style("mask", Look("cloth", colour)).colour * 255, [127, 178, 217], atol=1e-3
        )
    usual = styles.default_style("mask", "cloth").colour
    for colour in (None, ""):
        np.testing.assert_array_equal(changes.make_style("mask", Look("cloth", colour)).colour, usual)
    with pytest.raises(ValueError, match="colour 'red' is not #rrggbb"):
        changes.make_style("mask", Look("cloth", "red"))
    with pytest.raises(ValueError, match="mask has no style 'round'"):
        changes.make_style("mask", Look("round"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mask", "beard"])
def test_a_clear_texture_shows_nothing(photo, name):
    face = photo.faces[0]
    style = changes.make_style(name, Look(styles.KINDS[name][0]))
    assert style.texture is not None
    plain, clear = (
        wear.wear_photo(photo.picture.pixels, face.position_map, {name: one}, LAYOUT)
        for one in (styles.default_style(name), style)
    )
    assert np.abs(plain.astype(int) - clear).max() <= 1
