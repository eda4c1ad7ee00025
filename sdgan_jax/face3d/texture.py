"""Between the picture and the UV square: a face unwrapped, a texture drawn."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sdgan_jax.face3d import geometry
from sdgan_jax.face3d.raster import Raster


def unwrap(image: jax.Array, position_map: jax.Array) -> jax.Array:
    """The colour of each texel in a picture; what is hidden gets the colour of what hides it.

    Args:
        image: f32[H,W,C].
        position_map: f32[S,S,3].

    Returns:
        f32[S,S,C], differentiable in both.
    """
    return geometry.sample_pixels(image, position_map[..., :2])


def draw(texture: jax.Array, raster: Raster, samples: int) -> tuple[jax.Array, jax.Array]:
    """Draws a texture where its surface is seen, smooth at the edges. Differentiable in the texture.

    Args:
        texture: f32[S1,S2,4], RGB of any range and opacity in [0, 1], over the surface.
        raster: of the surface.
        samples: those of the raster along a pixel.

    Returns:
        Colour f32[H,W,3] times its opacity, and opacity f32[H,W].
    """
    seen = geometry.sample(texture, raster.uv) * raster.covered[..., None]
    mean = average(jnp.concatenate([seen[..., :3] * seen[..., 3:], seen[..., 3:]], -1), samples)
    return mean[..., :3], mean[..., 3]


def paste(image: jax.Array, texture: jax.Array, raster: Raster, samples: int) -> jax.Array:
    """Lays a texture over a picture f32[H,W,3]; arguments as `draw`. Differentiable in both."""
    colour, opacity = draw(texture, raster, samples)
    return image * (1 - opacity[..., None]) + colour


def average(table: jax.Array, samples: int) -> jax.Array:
    """The mean of each pixel's samples, f32[H*k,W*k,C] -> f32[H,W,C]."""
    height, width, channels = table.shape
    return table.reshape(height // samples, samples, width // samples, samples, channels).mean((1, 3))
