"""Input images: refused, resized as ramps, and shrunk to means that are known."""

import jax
import numpy as np
import pytest

from sdgan_jax.pretrained import inputs


@pytest.mark.parametrize("shape", [(8, 8, 3), (1, 8, 9, 3), (1, 8, 8, 4)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"faces must be \[N,R,R,3\], got \[.*" + f"{shape[-1]}]"):
        inputs.check_squares(np.zeros(shape, np.float32), "faces")
    inputs.check_squares(np.zeros((2, 8, 8, 3), np.float32))


@pytest.mark.parametrize("size", [16, 32, 128])
def test_a_resized_ramp_is_the_same_ramp(size):
    """The value is the distance from the left edge in sides of the image; the edges themselves are rounded."""
    ramp = np.broadcast_to((np.arange(64, dtype=np.float32) + 0.5) / 64, (1, 64, 64))[..., None].repeat(3, -1)
    resized = jax.jit(inputs.resize, static_argnums=1)(ramp, size)
    assert resized.shape == (1, size, size, 3)
    inside = slice(size // 16, -size // 16)
    expected = np.broadcast_to((np.arange(size) + 0.5)[inside, None] / size, (size, size - size // 8, 3))
    np.testing.assert_allclose(resized[0, :, inside], expected, atol=1e-6)


def test_shrinking_by_four_weighs_pixels_by_a_triangle_of_four():
    """Column 8 of 64 lies 2.5 and 1.5 columns from the centres of columns 1 and 2 of 16, which are 5.5 and 9.5."""
    image = np.zeros((1, 64, 64, 3), np.float32)
    image[:, :, 8] = 1.0
    expected = np.zeros(16)
    expected[1:3] = (1 - np.array([2.5, 1.5]) / 4) / 4
    np.testing.assert_allclose(inputs.resize(image, 16)[0, 7, :, 0], expected, atol=1e-6)


def test_images_of_the_right_size_stay():
    images = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3)).astype(np.float32)
    assert inputs.resize(images, 8) is images


def test_shrinking_takes_the_mean_of_all_pixels_that_are_touched():
    """Pixel i of 4 touches those from floor(10 i / 4) to ceil(10 (i + 1) / 4) of 10; the shorter axis stays."""
    images = np.random.default_rng(0).uniform(-1, 1, (2, 10, 3, 3)).astype(np.float32)
    touched = [(0, 3), (2, 5), (5, 8), (7, 10)]
    expected = np.stack([images[:, first:last].mean(1, dtype=np.float64) for first, last in touched], 1)
    shrunk = jax.jit(inputs.shrink, static_argnums=1)(images, 4)
    np.testing.assert_allclose(shrunk, expected, atol=1e-6)
