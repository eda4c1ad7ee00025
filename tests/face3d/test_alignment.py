"""Squares of ramps, whose colours are their positions."""

import numpy as np
import pytest
from PIL import Image

from sdgan_jax.face3d import alignment

SQUARE = np.array([100.25, 50.0, 40.0])


def ramps():
    """A photo u8[100,200,3]: red is x, green is y."""
    y, x = np.indices((100, 200))
    return np.stack([x, y, 0 * x], -1).astype(np.uint8)


def test_a_square_is_cut_to_the_pixel():
    frame = alignment.cut(ramps(), SQUARE, 80)
    place = 100.25 + 0.5 - 20 + (np.arange(80) + 0.5) / 2 - 0.5
    assert np.abs(frame[40, :, 0] - place).max() < 0.76  # rounded to u8


@pytest.mark.parametrize("degrees", [0.0, 10.0, -33.0])
def test_the_colour_of_a_pixel_is_its_position_in_the_photo(degrees):
    frame = alignment.cut(ramps(), SQUARE, 80, degrees)
    y, x = np.indices((80, 80))
    found = alignment.from_square(np.stack([x, y, 0 * x], -1), SQUARE, 80, degrees)
    assert np.abs(frame[..., :2] - found[..., :2]).max() < 1.3  # two roundings to u8, and bilinear interpolation


def test_content_turns_clockwise_about_the_centre():
    """In the photo the point right of the centre was above it: y points down."""
    found = alignment.from_square(np.array([79.5, 39.5, 6.0]), SQUARE, 80, 90.0)
    np.testing.assert_allclose(found, [100.25, 50.0 - 20, 3.0], atol=1e-9)


@pytest.mark.parametrize("degrees", [0.0, 10.0, -133.0])
def test_positions_go_into_the_square_and_back(degrees):
    positions = np.random.default_rng(0).uniform(-50, 150, (9, 3))
    inside = alignment.to_square(positions, SQUARE, 80, degrees)
    np.testing.assert_allclose(alignment.from_square(inside, SQUARE, 80, degrees), positions, atol=1e-9)
    np.testing.assert_allclose(inside[:, 2], 2 * positions[:, 2])


def test_corners_and_centre_of_a_square():
    corner = np.array([100.25 - 20, 50.0 - 20, 7.0])
    np.testing.assert_allclose(alignment.to_square(corner, SQUARE, 80), [-0.5, -0.5, 14.0])
    np.testing.assert_allclose(alignment.to_square(np.append(SQUARE[:2], 0.0), SQUARE, 80), [39.5, 39.5, 0.0])
    np.testing.assert_allclose(alignment.from_square(np.array([-0.5, -0.5, 14.0]), SQUARE, 80), corner)


def test_the_outermost_pixels_repeat_beyond_the_edge():
    frame = alignment.cut(ramps(), np.array([0.0, 0.0, 20.0]), 20)
    assert (frame[:8, :8] == 0).all() and frame[19, 19, 0] > 8


@pytest.mark.parametrize("degrees", [0.0, 30.0, 90.0])
def test_around_all_of_a_long_strip_the_edges_repeat_in_little_memory(degrees):
    """With the repeated pixels around it, the photo would take 100 GB."""
    ramp = np.linspace(0, 255, 200_000)
    strip = np.broadcast_to(np.round(ramp)[None, :, None], (16, 200_000, 3)).astype(np.uint8)
    square = np.array([99_999.5, 7.5, 300_000.0])
    frame = alignment.cut(strip, square, 96, degrees)
    y, x = np.indices((96, 96))
    places = alignment.from_square(np.stack([x, y, 0 * x], -1), square, 96, degrees)[..., 0]
    expected = np.interp(places, np.arange(200_000), ramp)
    # Filters of two of these pixels, 8 levels wide, round off the ends of the ramp.
    assert np.abs(frame - expected[..., None]).max() < 2.0


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((80.0, 20.0, 120.0, 50.0), (60, -5, 80, 96)),  # 2 x 40 around (100, 35)
        ((80.0, 20.0, 190.0, 50.0), (25, -75, 220, 150)),  # 96 is less than 0.45 x 220
        ((80.0, 20.0, 480.0, 50.0), (-120, -365, 800, 150)),  # larger than the largest copy
        ((3.0, 3.0, 3.0, 3.0), (-1, -1, 8, 96)),
        ((80.0, 20.0, 120.0, 170.0), (-50, -55, 300, 150)),  # taller than wide: 2 x 150
        ((80.0, 20.0, 180.0, 50.0), (30, -65, 200, 96)),  # 96 is more than 0.45 x 200
    ],
)
def test_a_patch_lies_around_the_box(box, expected):
    assert alignment.patch_around(np.array(box), 2.0, (96, 150)) == expected


@pytest.mark.parametrize(("left", "top"), [(60, 30), (-15, 70), (180, -20)])
@pytest.mark.parametrize("size", [40, 80])
def test_what_is_cut_is_put_back_at_its_place(left, top, size):
    """Over the edges too; up and down by a factor of two, ramps stay ramps away from the rim of the patch."""
    photo = ramps()
    patch = alignment.Patch(left, top, 40, size)
    part = patch.view(photo)
    planes = alignment.cut(photo, patch.square, size).astype(np.float32)
    restored = patch.restore(planes, 0, len(part), photo.shape[1])
    assert restored.shape == part.shape and np.shares_memory(part, photo)
    edges = slice(2, -2), slice(2, -2)
    assert np.abs(restored[edges] - part[edges]).max() < 0.8  # the copy is rounded to u8


@pytest.mark.parametrize(("left", "top"), [(-90, 10), (10, -90), (-40, 10), (200, 10), (10, 100)])
def test_a_patch_outside_of_the_photo_shows_nothing_of_it(left, top):
    assert alignment.Patch(left, top, 40, 40).view(ramps()).size == 0


@pytest.mark.parametrize("size", [40, 150, 301])
def test_strips_of_a_patch_are_those_of_the_whole(size):
    """By Pillow, which resizes the whole patch here."""
    planes = np.random.default_rng(0).uniform(size=(size, size, 2)).astype(np.float32)
    patch = alignment.Patch(-20, 30, 150, size)
    whole = np.dstack(
        [np.asarray(Image.fromarray(planes[..., k]).resize((150, 150), Image.Resampling.BILINEAR)) for k in (0, 1)]
    )
    strips = [patch.restore(planes, first, min(first + 32, 90), 100) for first in range(0, 90, 32)]
    np.testing.assert_allclose(np.concatenate(strips), whole[:90, 20:120], atol=1e-4)


@pytest.mark.parametrize("degrees", [0.0, 20.0, -120.0])
@pytest.mark.parametrize(("side", "size"), [(40.0, 40), (40.0, 20), (30.0, 90)])
def test_a_turned_square_is_put_back_at_its_place(degrees, side, size):
    """Ramps stay ramps inside of the square, and there is nothing outside of it."""
    photo, square = ramps(), np.array([100.25, 50.0, side])
    planes = np.dstack([alignment.cut(photo, square, size, degrees), np.full((size, size), 255)]).astype(np.float32)
    found = alignment.put_back(planes, square, degrees, 60, 10, 90, 80)
    assert found.shape == (80, 90, 4)
    y, x = np.indices((80, 90)) + np.array([10, 60])[:, None, None]
    at = alignment.to_square(np.stack([x, y, 0 * x], -1), square, 1, degrees)[..., :2]  # -0.5 to 0.5
    inside, outside = (np.abs(at) < 0.4).all(-1), (np.abs(at) > 0.5 + 1 / 20).any(-1)
    assert np.abs(found[inside][:, :2] - np.stack([x, y], -1)[inside]).max() < 1.5  # the cut is rounded to u8
    assert (found[outside] == 0).all() and np.abs(found[inside][:, 3] - 255).max() < 1e-3


def test_a_patch_within_the_photo_maps_its_corners():
    patch = alignment.Patch(60, 30, 40, 80)
    corners = np.array([[60 - 0.5, 30 - 0.5, 0.0], [99.5, 69.5, 0.0]])
    np.testing.assert_allclose(alignment.to_square(corners, patch.square, 80), [[-0.5, -0.5, 0], [79.5, 79.5, 0]])
