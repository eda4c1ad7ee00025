"""Colours of a face on the UV square, and means over the samples of a pixel."""

from __future__ import annotations

import jax

from sdgan_jax.face3d import geometry


def unwrap(image: jax.Array, position_map: jax.Array) -> jax.Array:
    """Reads the colour of each texel in an image; hidden texels get the colour of the surface that hides them.

    Args:
        image: f32[H,W,C], any range.
        position_map: f32[S,S,3], in pixels of the image.

    Returns:
        f32[S,S,C], differentiable in both.
    """
    return geometry.sample_pixels(image, position_map[..., :2])


def average(table: jax.Array, samples: int) -> jax.Array:
    """Averages the samples of each pixel, f32[H*k,W*k,C] -> f32[H,W,C]."""
    height, width, channels = table.shape
    return table.reshape(height // samples, samples, width // samples, samples, channels).mean((1, 3))
