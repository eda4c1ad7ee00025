"""The light on a face, read off its skin, and other things shown in it.

Light is the colour that skin takes with the direction it faces: 1, nx, ny, nz times four coefficients a channel, the
first two orders of spherical harmonics, which hold most of what a matte surface shows (Ramamoorthi & Hanrahan 2001).
Colours are linear; sRGB is taken to be their square root, as in `tfds_megn`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from sdgan_jax.face3d.layout import REGIONS, Layout, bearings

_LUMINANCE = jnp.array([0.2126, 0.7152, 0.0722])
_SKIN = {"cheeks": 1.0, "nose": 1.0, "chin": 0.5, "forehead": 0.5}  # a beard and a fringe are frequent
_RIDGE = 0.02
_ROUNDS = 4
_DARK, _BRIGHT = 0.18, 1.15  # of the brightest direction's light, what the darkest has at least, the brightest at most
_USUAL_SKIN = 0.30  # linear


@struct.dataclass
class Light:
    """Light on a face.

    Attributes:
        coefficients: f32[4,3], linear colour of the skin that faces n: (1, nx, ny, nz) @ coefficients.
        direction: f32[3], unit vector towards the light; x to the right, y down, z to the camera.
        exposure: f32[], how bright white is in this picture, about 1.
    """

    coefficients: jax.Array
    direction: jax.Array
    exposure: jax.Array


def to_linear(colour: jax.Array) -> jax.Array:
    """SRGB in [0, 1] to linear."""
    return colour * colour


def from_linear(colour: jax.Array) -> jax.Array:
    """Linear to sRGB in [0, 1]; its slope stays finite at black."""
    return jnp.sqrt(jnp.maximum(colour, 1e-8))


def skin_weights(layout: Layout) -> jax.Array:
    """How much each texel's colour says about the light, f32[S,S]: skin that faces forward."""
    table = jnp.array([_SKIN.get(name, 0.0) for name in REGIONS])
    around, down = bearings(layout.coordinates)
    front = (abs(around) < 0.8) & (down > -0.45)
    return jnp.asarray(layout.regions) @ table * front


def estimate(texture: jax.Array, normals: jax.Array, weights: jax.Array) -> Light:
    """Fits light to skin by least squares, again and again with less trust in what does not fit.

    Args:
        texture: f32[S,S,3], linear colours.
        normals: f32[S,S,3], unit, in the picture's frame.
        weights: f32[S,S], 0 where there is no skin or it is not seen.
    """
    basis = _basis(normals).reshape(-1, 4)
    colour, weights = texture.reshape(-1, 3), weights.reshape(-1)
    bright = colour @ _LUMINANCE

    def fit(w: jax.Array) -> jax.Array:
        mass = w.sum() + 1e-6
        ridge = _RIDGE * jnp.diag(jnp.array([0.0, 1.0, 1.0, 1.0])) + 1e-6 * jnp.eye(4)
        return jnp.linalg.solve((basis.T * w) @ basis / mass + ridge, (basis.T * w) @ colour / mass)

    mean = (weights * bright).sum() / (weights.sum() + 1e-6)
    off = jnp.abs(bright - mean)
    coefficients = jnp.zeros((4, 3))
    for _ in range(_ROUNDS):
        spread = (weights * off).sum() / (weights.sum() + 1e-6) + 1e-4
        coefficients = fit(weights / (1.0 + jnp.square(off / spread)))
        off = jnp.abs((basis @ coefficients - colour) @ _LUMINANCE)
    slope = coefficients[1:] @ _LUMINANCE
    length = jnp.sqrt((slope * slope).sum())
    # Nothing says where flat light comes from: from above and before.
    usual = jnp.array([0.0, -0.5, 0.87]) * 0.02 * (coefficients[0] @ _LUMINANCE)
    direction = slope + jnp.where(length < 0.02 * (coefficients[0] @ _LUMINANCE), usual, 0.0)
    direction = direction / jnp.sqrt((direction * direction).sum() + 1e-12)
    top = coefficients[0] @ _LUMINANCE + length
    exposure = jnp.clip((jnp.maximum(top, 1e-4) / _USUAL_SKIN) ** 0.15, 0.75, 1.05)
    return Light(coefficients, direction, exposure)


def irradiance(normals: jax.Array, light: Light) -> jax.Array:
    """Light f32[...,3] that arrives on surfaces facing `normals` f32[...,3]; 1 in the brightest direction."""
    brightest = light.coefficients[0] + light.direction @ light.coefficients[1:]
    arriving = _basis(normals) @ light.coefficients / jnp.maximum(brightest, 1e-4)
    return jnp.clip(arriving, _DARK, _BRIGHT)


def shade(albedo: jax.Array, normals: jax.Array, light: Light, gloss: jax.Array | float = 0.0) -> jax.Array:
    """Colours as they look in a light.

    Args:
        albedo: f32[...,3], linear, in [0, 1]; it looks just so where the light is brightest.
        normals: f32[...,3], unit.
        light: from `estimate`.
        gloss: f32[...], of a highlight.

    Returns:
        f32[...,3], linear.
    """
    half = light.direction + jnp.array([0.0, 0.0, 1.0])
    half = half / jnp.sqrt((half * half).sum() + 1e-12)
    shine = jnp.clip(normals @ half, 0.0, 1.0) ** 16 * gloss
    return (albedo * irradiance(normals, light) + shine[..., None]) * light.exposure


def _basis(normals: jax.Array) -> jax.Array:
    return jnp.concatenate([jnp.ones_like(normals[..., :1]), normals], -1)
