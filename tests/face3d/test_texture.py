"""Unwrapping and averaging against ramps, whose values and slopes are known."""

import jax
import numpy as np

from sdgan_jax.face3d import texture

RNG = np.random.default_rng(0)


def test_unwrapping_a_ramp_is_exact_and_so_is_its_slope():
    x, y = np.meshgrid(np.arange(20.0), np.arange(16.0))
    ramp = np.stack([2 * x + y, x - 3 * y, 0 * x + 1], -1).astype(np.float32)
    points = RNG.uniform([1, 1, 0], [18, 14, 5], (6, 6, 3)).astype(np.float32)
    values = jax.jit(texture.unwrap)(ramp, points)
    px, py = points[..., 0], points[..., 1]
    np.testing.assert_allclose(values, np.stack([2 * px + py, px - 3 * py, 0 * px + 1], -1), atol=1e-4)
    slopes = jax.jit(jax.grad(lambda image, points: texture.unwrap(image, points).sum(), (0, 1)))
    by_image, by_points = slopes(ramp, points)
    np.testing.assert_allclose(by_points, np.broadcast_to([2 + 1 + 0, 1 - 3 + 0, 0], (6, 6, 3)), atol=1e-4)
    np.testing.assert_allclose(by_image.sum((0, 1)), [36, 36, 36], rtol=1e-5)  # each texel's weights sum to 1


def test_samples_are_averaged_within_their_pixel():
    """The mean of rows 3 i to 3 i + 2 of numbers that count rows and columns is that of the middle sample."""
    row, column = np.indices((12, 9), np.float32)
    means = texture.average(np.stack([row, column], -1), 3)
    expected = np.stack(np.meshgrid(3.0 * np.arange(4) + 1, 3.0 * np.arange(3) + 1, indexing="ij"), -1)
    np.testing.assert_allclose(means, expected)
