"""Squares of ramps, whose colours are their positions."""

import numpy as np
import pytest

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


def test_corners_and_centre_of_a_square():
    corner = np.array([100.25 - 20, 50.0 - 20, 7.0])
    np.testing.assert_allclose(alignment.to_square(corner, SQUARE, 80), [-0.5, -0.5, 14.0])
    np.testing.assert_allclose(alignment.to_square(np.append(SQUARE[:2], 0.0), SQUARE, 80), [39.5, 39.5, 0.0])
    np.testing.assert_allclose(alignment.from_square(np.array([-0.5, -0.5, 14.0]), SQUARE, 80), corner)


def test_the_outermost_pixels_repeat_beyond_the_edge():
    frame = alignment.cut(ramps(), np.array([0.0, 0.0, 20.0]), 20)
    assert (frame[:8, :8] == 0).all() and frame[19, 19, 0] > 8
