"""Pasting: colours and places by hand."""

import numpy as np
import pytest

from sdgan_jax import blending, pictures
from sdgan_jax.face3d import alignment
from sdgan_jax.face3d.face_crop import Crop
from sdgan_jax.photos import pasting

SIZE = 64
RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (150, 200, 3)).astype(np.uint8)
CROPS = [
    Crop(np.array([100.0, 70.0, 90.0]), 0.0),
    Crop(np.array([90.5, 80.25, 120.0]), 25.0),
    Crop(np.array([120.0, 70.0, 40.0]), -100.0),  # smaller than the model's pictures
    Crop(np.array([10.0, 140.0, 100.0]), 10.0),  # over the photo's edge
]


def flat(colour=0.0):
    return np.full((SIZE, SIZE, 3), colour, np.float32)


def paste(photo, crop, before, plain, edited):
    """Pastes a face that is edited where its pictures differ."""
    region = np.asarray(blending.edited_region(plain[None], edited[None], False))[0]
    return pasting.paste(photo, crop, before, plain, edited, region)


def with_spot(colour, rows=slice(24, 40), columns=slice(16, 48)):
    """A picture of -0.5 with a spot of another colour."""
    picture = flat(-0.5)
    picture[rows, columns] = colour
    return picture


def places_in_crop(crop, shape):
    """Position of each pixel of a photo in the crop, in its pixels."""
    y, x = np.indices(shape[:2])
    return alignment.to_square(np.stack([x, y, 0 * x], -1), crop.square, SIZE, crop.degrees)[..., :2]


@pytest.mark.parametrize("crop", CROPS)
def test_all_but_the_edit_stays_bit_for_bit(crop):
    image = PHOTO.copy()
    out = paste(image, crop, flat(-0.5), flat(-0.5), with_spot(0.75))
    np.testing.assert_array_equal(image, PHOTO)
    x, y = np.moveaxis(places_in_crop(crop, PHOTO.shape), -1, 0)
    # The mask reaches four pixels beyond the spot: it is averaged, dilated, and blurred. Then it is interpolated.
    beyond = (x < 16 - 8) | (x > 47 + 8) | (y < 24 - 8) | (y > 39 + 8)
    within = (x > 18) & (x < 45) & (y > 26) & (y < 37)
    np.testing.assert_array_equal(out[beyond], PHOTO[beyond])
    assert within.any() and np.abs(out[within].astype(int) - pictures.to_uint8(np.float32(0.75))).max() <= 3


@pytest.mark.parametrize("crop", CROPS)
def test_the_mask_never_reaches_the_crops_edge(crop):
    """Pixels outside of the crop keep their values even where the edit changes the whole picture."""
    out = paste(PHOTO, crop, flat(-0.5), flat(-0.5), flat(0.9))
    at = places_in_crop(crop, PHOTO.shape)
    outside = ((at < -0.5) | (at > SIZE - 0.5)).any(-1)
    np.testing.assert_array_equal(out[outside], PHOTO[outside])
    middle = (np.abs(at - 31.5) < 20).all(-1)
    assert np.abs(out[middle].astype(int) - pictures.to_uint8(np.float32(0.9))).max() <= 2
    share = pasting.mask(np.ones((SIZE, SIZE), np.float32))
    assert share[0].max() == share[:, -1].max() == 0 and share[32, 32] == 1
    assert (np.diff(share[32, :32]) >= 0).all() and (0.2 < share[32, 3]) and (share[32, 3] < 0.8)


def test_no_edit_is_the_photo():
    picture = RNG.uniform(-1, 1, (SIZE, SIZE, 3)).astype(np.float32)
    out = paste(PHOTO, CROPS[1], picture[::-1], picture, picture + 0.01)
    np.testing.assert_array_equal(out, PHOTO)
    assert out is not PHOTO


def test_a_crop_beside_the_photo_changes_nothing():
    out = paste(PHOTO, Crop(np.array([-200.0, 50.0, 90.0]), 5.0), flat(), flat(), flat(0.9))
    np.testing.assert_array_equal(out, PHOTO)


@pytest.mark.parametrize("crop", CROPS[:3])
def test_strips_have_no_seams(crop, monkeypatch):
    whole = paste(PHOTO, crop, flat(-0.5), flat(-0.5), with_spot(0.75))
    monkeypatch.setattr(alignment, "STRIP", 7)
    parts = paste(PHOTO, crop, flat(-0.5), flat(-0.5), with_spot(0.75))
    assert np.abs(whole.astype(int) - parts).max() <= 1


def test_the_colours_of_the_photo_are_met():
    """G draws all skin 0.3 too dark; the skin that it draws for the spot is brightened as well."""
    before, plain = flat(0.2), flat(-0.1)
    edited = plain.copy()
    edited[24:40, 16:48] = (0.5, 0.3, 0.3)
    photo = np.full((SIZE, SIZE, 3), pictures.to_uint8(np.float32(0.2)))
    out = paste(photo, Crop(np.array([31.5, 31.5, 64.0]), 0.0), before, plain, edited)
    np.testing.assert_allclose(pictures.to_float(out[32, 32]), [0.8, 0.6, 0.6], atol=0.02)
    np.testing.assert_array_equal(out[5], photo[5])


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_a_part_of_the_edited_face_is_laid_over_the_photo(share):
    """The edited face is brightened by 0.4 to 1, not beyond, before its share is taken."""
    photo = np.full((SIZE, SIZE, 3), pictures.to_uint8(np.float32(0.2)))
    crop, region = Crop(np.array([31.5, 31.5, 64.0]), 0.0), np.full((SIZE, SIZE), share, np.float32)
    out = pasting.paste(photo, crop, flat(0.2), flat(-0.2), flat(0.9), region)
    np.testing.assert_allclose(pictures.to_float(out[32, 32]), (1 - share) * 0.2 + share, atol=0.01)
