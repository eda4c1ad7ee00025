"""Unwrapping and drawing against ramps and counted samples; gradients against finite differences."""

import jax
import numpy as np
import pytest

from sdgan_jax.face3d import raster, texture
from tests.face3d.surfaces import plane

RNG = np.random.default_rng(0)
PASTE = jax.jit(lambda image, sheet, drawn: texture.paste(image, sheet, drawn, 2))
DRAW = jax.jit(lambda surface: raster.rasterise(surface, 8, 10, 2))


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


def test_a_drawn_texture_is_as_opaque_as_its_samples_are_many():
    """A red sheet, half transparent, over 4.5 columns of pixels: the samples of the last are half covered."""
    drawn = DRAW(plane(9, 9, 1.5, -1.0, 6.0, 9.0))
    red = np.broadcast_to(np.float32([0.8, 0.1, 0.0, 0.5]), (9, 9, 4))
    colour, opacity = jax.jit(texture.draw, static_argnums=2)(red, drawn, 2)
    expected = np.broadcast_to([0, 0, 0.5, 0.5, 0.5, 0.5, 0.25, 0, 0, 0], (8, 10))
    np.testing.assert_allclose(opacity, expected, atol=1e-6)
    np.testing.assert_allclose(colour, expected[..., None] * [0.8, 0.1, 0.0], atol=1e-6)
    image = np.full((8, 10, 3), 0.4, np.float32)
    pasted = PASTE(image, red, drawn)
    mixed = 0.4 * (1 - expected[..., None]) + expected[..., None] * [0.8, 0.1, 0.0]
    np.testing.assert_allclose(pasted, mixed, atol=1e-6)


def test_gradients_of_drawing_are_those_of_finite_differences():
    drawn = DRAW(plane(9, 9, 0.7, 0.4, 6.1, 5.3))
    sheet = RNG.uniform(0.1, 0.9, (9, 9, 4)).astype(np.float32)
    image, weights = RNG.uniform(size=(8, 10, 3)).astype(np.float32), RNG.normal(size=(8, 10, 3)).astype(np.float32)

    def loss(sheet, image):
        return (texture.paste(image, sheet, drawn, 2) * weights).sum()

    loss = jax.jit(loss)
    by_sheet, by_image = jax.jit(jax.grad(loss, (0, 1)))(sheet, image)
    toward, step = RNG.normal(size=sheet.shape).astype(np.float32), 1e-2
    slope = (loss(sheet + step * toward, image) - loss(sheet - step * toward, image)) / (2 * step)
    assert float((by_sheet * toward).sum()) == pytest.approx(float(slope), rel=1e-3)
    toward = RNG.normal(size=image.shape).astype(np.float32)
    slope = (loss(sheet, image + step * toward) - loss(sheet, image - step * toward)) / (2 * step)
    assert float((by_image * toward).sum()) == pytest.approx(float(slope), rel=1e-3)
