"""Light on a face, estimated from its skin, and shading of other surfaces with it.

Light is modelled as the colour of skin by its normal: 1, nx, ny, nz times four coefficients per channel. These are the
first two orders of spherical harmonics, which contain most of the appearance of a matte surface (Ramamoorthi & Hanrahan
2001). Colours are linear; sRGB is approximated as their square root, as in `tfds_megn`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from sdgan_jax.face3d import geometry
from sdgan_jax.face3d.layout import REGIONS, Layout, bearings
from sdgan_jax.pictures import Array

LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
_SKIN = {"cheeks": 1.0, "nose": 1.0, "chin": 0.5, "forehead": 0.5}  # less where beards and fringes are frequent
_RIDGE = 0.02
_ROUNDS = 4
_DARK, _BRIGHT = 0.18, 1.15  # range of the irradiance, relative to the brightest direction
# Linear luminances in good light: of usual and of the darkest skin in the brightest direction; of the brightest parts
# around a face, as a rule and at least. Around all of 140 portraits' faces these are brighter than _DIM, around 137
# brighter than _GOOD.
_USUAL_SKIN, _DARKEST_SKIN = 0.30, 0.05
_WHITE, _GOOD, _DIM = 0.70, 0.40, 0.25


@struct.dataclass
class Light:
    """Light on a face.

    Attributes:
        coefficients: f32[4,3]; (1, nx, ny, nz) @ coefficients is the linear colour of skin with the normal n.
        direction: f32[3], unit vector towards the light; x to the right, y down, z towards the camera.
        exposure: f32[], linear brightness of white in this image: 0.76 to 1.05 in good light, less in dim light.
    """

    coefficients: jax.Array
    direction: jax.Array
    exposure: jax.Array


def to_linear(colour: Array) -> Array:
    """Converts sRGB in [0, 1] to linear colour, of numpy or of JAX."""
    return colour * colour


def from_linear(colour: Array) -> Array:
    """Converts linear colour to sRGB in [0, 1], of numpy or of JAX; the slope stays finite at black."""
    xp = colour.__array_namespace__()
    return xp.sqrt(xp.maximum(colour, 1e-8))


def skin_weights(layout: Layout) -> jax.Array:
    """Returns the weight f32[S,S] of each texel in `estimate`: above 0 on skin that faces forward."""
    table = jnp.array([_SKIN.get(name, 0.0) for name in REGIONS])
    around, down = bearings(layout.coordinates)
    front = (abs(around) < 0.8) & (down > -0.45)
    return jnp.asarray(layout.regions) @ table * front


def estimate(texture: jax.Array, normals: jax.Array, weights: jax.Array, brightest: jax.Array) -> Light:
    """Fits light to skin by iteratively reweighted least squares, so that outliers such as hair count little.

    For the exposure see `_exposure`.

    Args:
        texture: f32[S,S,3], linear colours.
        normals: f32[S,S,3], unit vectors in the frame of the image.
        weights: f32[S,S], 0 where there is no skin or it is hidden.
        brightest: f32[], linear luminance of the brightest parts of the picture around the face.
    """
    basis = _basis(normals).reshape(-1, 4)
    colour, weights = texture.reshape(-1, 3), weights.reshape(-1)
    bright = colour @ LUMINANCE

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
        off = jnp.abs((basis @ coefficients - colour) @ LUMINANCE)
    slope = coefficients[1:] @ LUMINANCE
    length = jnp.sqrt(jnp.maximum((slope * slope).sum(), 1e-20))  # of no slope, the gradient is 0 instead of NaN
    # Flat light has no direction; it is taken to come from above and in front.
    usual = jnp.array([0.0, -0.5, 0.87]) * 0.02 * (coefficients[0] @ LUMINANCE)
    direction = slope + jnp.where(length < 0.02 * (coefficients[0] @ LUMINANCE), usual, 0.0)
    direction = direction / jnp.sqrt((direction * direction).sum() + 1e-12)
    top = coefficients[0] @ LUMINANCE + length
    return Light(coefficients, direction, _exposure(top, brightest))


def _exposure(top: jax.Array, brightest: jax.Array) -> jax.Array:
    """Estimates the linear brightness f32[] of white.

    The skin's brightness alone does not tell it: the darkest skin reflects a tenth of what the lightest does, so dark
    skin in good light is as bright as light skin in dim light. What is brightest around the face, the whites of the
    eyes included, is bright in good light whatever the skin. If that is dark, the light is dim, and white in
    proportion to it. Relative to that light, the brightness of white hardly follows the skin's; only skin that would
    be darker than the darkest there is gets less light than its surroundings, in proportion. Light skin in shade
    before something bright is not told from dark skin.

    Args:
        top: f32[], linear luminance of the skin in the brightest direction.
        brightest: f32[], linear luminance of the brightest parts of the picture around the face.
    """
    top = jnp.maximum(top, 1e-4)
    brightest = jnp.maximum(brightest, top)  # of a picture in which the face is small, its own skin
    good = jnp.clip((brightest - _DIM) / (_GOOD - _DIM), 0.0, 1.0)
    amount = good + (1.0 - good) * brightest / _WHITE
    skin = top / amount
    shaded = jnp.minimum(skin / _DARKEST_SKIN, 1.0)
    return amount * shaded * jnp.minimum((jnp.maximum(skin, _DARKEST_SKIN) / _USUAL_SKIN) ** 0.15, 1.05)


def irradiance(normals: jax.Array, light: Light) -> jax.Array:
    """Computes the irradiance f32[...,3] of surfaces with `normals` f32[...,3]; 1 in the brightest direction."""
    brightest = light.coefficients[0] + light.direction @ light.coefficients[1:]
    arriving = light.coefficients[0] + geometry.times(normals, light.coefficients[1:])
    return jnp.clip(arriving / jnp.maximum(brightest, 1e-4), _DARK, _BRIGHT)


def shade(albedo: jax.Array, normals: jax.Array, light: Light, gloss: jax.Array | float = 0.0) -> jax.Array:
    """Computes the colours of surfaces in a light.

    Args:
        albedo: f32[...,3], linear, in [0, 1]; the colour in the brightest light.
        normals: f32[...,3], unit vectors.
        light: light, see `estimate`.
        gloss: f32[...], strength of the highlight.

    Returns:
        f32[...,3], linear.
    """
    half = light.direction + jnp.array([0.0, 0.0, 1.0])
    half = half / jnp.sqrt((half * half).sum() + 1e-12)
    shine = jnp.clip(geometry.times(normals, half[:, None]), 0.0, 1.0) ** 16 * jnp.asarray(gloss)[..., None]
    return (albedo * irradiance(normals, light) + shine) * light.exposure


def _basis(normals: jax.Array) -> jax.Array:
    return jnp.concatenate([jnp.ones_like(normals[..., :1]), normals], -1)
