"""Face geometry and lighting that attributes are fitted to, and the layers that attributes consist of."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from sdgan_jax.face3d import geometry, light, raster, texture
from sdgan_jax.face3d.geometry import Pose
from sdgan_jax.face3d.layout import Layout
from sdgan_jax.face3d.light import Light
from tfds_megn.surface import MEAN_AXES

_LUMINOUS = 98  # per cent of a picture's pixels that are darker than its brightest parts
_WHITES = 95  # per cent of the points within the eyelids that are darker than the whites of the eyes
_DARK_BROWN = (0.028, 0.014, 0.009)  # linear
_HAIR_TO_SKIN = 0.22  # the most that hair has of the skin's brightness


@struct.dataclass
class Wearer:
    """A face, its pose and the light on it.

    Attributes:
        layout: layout of its position map.
        pose: pose of its head.
        head: f32[S,S,3], its points in the head's frame; off the face, where no map is exact, those of a mean head.
        surface: f32[S,S,3], the same points in the picture.
        raster: the surface rasterised.
        light: the light on the face.
        hair: f32[3], linear colour of its brows in light of exposure 1.
        soft: f32[], width of a sample of the picture in the head's frame.
        half_width: f32[], half of its width at the ears, in the head's frame.
    """

    layout: Layout
    pose: Pose
    head: jax.Array
    surface: jax.Array
    raster: raster.Raster
    light: Light
    hair: jax.Array
    soft: jax.Array
    half_width: jax.Array


class Paint(NamedTuple):
    """The look of the samples of a layer.

    Attributes:
        albedo: f32[...,3], linear. opacity: f32[...] in [0, 1].
        tilt: f32[...,3], added to the unit normal, in the head's frame. gloss: f32[...], strength of the highlight.
        glow: f32[...] in [0, 1], the share of the colour that is not shaded.
        coverage: f32[...], the share that the attribute covers, clear glass included; the opacity if None.
    """

    albedo: jax.Array
    opacity: jax.Array
    tilt: jax.Array | float = 0.0
    gloss: jax.Array | float = 0.0
    glow: jax.Array | float = 0.0
    coverage: jax.Array | None = None


class Layer(NamedTuple):
    """A surface and its paint.

    Attributes:
        surface: f32[S1,S2,3], in the picture. fields: f32[S1,S2,C], arguments of `paint` at each point.
        paint: function of fields f32[...,C] at each sample.
        bias: distance behind the face up to which a sample is still seen, in the head's frame.
        where: bool[S1,S2], the points that exist.
    """

    surface: jax.Array
    fields: jax.Array
    paint: Callable[[jax.Array], Paint]
    bias: float = 0.015
    where: jax.Array | None = None


class Attire(NamedTuple):
    """An attribute on a face: its layers, and its shadow on the skin.

    Attributes:
        layers: drawn in this order, the rearmost first.
        shadow: function of (s, t) f32[...,2] and points f32[...,3] in the head's frame; returns f32[...], the share of
            its light that the skin there loses.
    """

    layers: list[Layer]
    shadow: Callable[[jax.Array, jax.Array], jax.Array]


def measure(image: jax.Array, position_map: jax.Array, layout: Layout, samples: int) -> Wearer:
    """Measures the geometry of a face and the light on it.

    Args:
        image: f32[H,W,3], linear.
        position_map: f32[S,S,3], positions in the picture.
        layout: layout of the position map.
        samples: samples of the picture along each axis of a pixel.
    """
    height, width = image.shape[:2]
    pose = geometry.pose(position_map, layout)
    # A network's map is noisy from texel to texel. The difference to the mean face is smooth, so that is smoothed.
    face = jnp.asarray(layout.face, jnp.float32)[..., None]
    near = _blurred(face)
    own = _blurred((geometry.to_head(position_map, pose) - jnp.asarray(layout.head)) * face) / jnp.maximum(near, 1e-3)
    head = jnp.asarray(layout.head) + own * jnp.clip(2.0 * near - 1.0, 0.0, 1.0)
    surface = geometry.to_picture(head, pose)
    (drawn,) = raster.rasterise([(surface, None)], height, width, samples)
    skin = texture.unwrap(image, surface)
    seen = raster.visible(surface, height, width, drawn)
    brightest = _brightest(image, position_map, layout)
    lit = light.estimate(skin, geometry.normals(surface), light.skin_weights(layout) * seen, brightest)
    hair = _brows(image, position_map, layout, lit)
    half_width = _half_width(position_map, layout, pose)
    return Wearer(layout, pose, head, surface, drawn, lit, hair, 1.0 / (samples * pose.scale), half_width)


def _half_width(position_map: jax.Array, layout: Layout, pose: Pose) -> jax.Array:
    """Half of the width f32[] of a head at the ears: that of the mean head, as its jaw is wider than the mean jaw."""
    own, mean = geometry.to_head(position_map, pose), jnp.asarray(layout.head)
    ours, theirs = (geometry.landmarks(table, layout)[:, 0] for table in (own, mean))
    ratio = (ours[15] + ours[16] - ours[0] - ours[1]) / (theirs[15] + theirs[16] - theirs[0] - theirs[1])
    return MEAN_AXES[0] * jnp.clip(ratio, 0.8, 1.2)


def _blurred(table: jax.Array) -> jax.Array:
    """The running mean of f32[S,S,C] over a twelfth of the square, twice along each axis."""
    width = 2 * (table.shape[0] // 24) + 1
    for axis in (0, 1, 0, 1):
        pads = [(width // 2, width // 2) if k == axis else (0, 0) for k in range(3)]
        window = tuple(width if k == axis else 1 for k in range(3))
        padded = jnp.pad(table, pads, mode="edge")
        table = jax.lax.reduce_window(padded, 0.0, jax.lax.add, window, (1, 1, 1), "VALID") / width
    return table


def _brightest(image: jax.Array, position_map: jax.Array, layout: Layout) -> jax.Array:
    """Linear luminance f32[] of a picture's brightest parts, or of the whites of the eyes if those are brighter."""
    eyes = geometry.landmarks(position_map, layout)[36:48, :2].reshape(2, 6, 2)
    # The centres of all triangles of an eye's landmarks lie within its lids.
    sums = eyes[:, :, None, None] + eyes[:, None, :, None] + eyes[:, None, None, :]  # [2,6,6,6,2]
    whites = geometry.sample_pixels(image, sums / 3.0) @ light.LUMINANCE
    surroundings = image[::4, ::4] @ light.LUMINANCE  # a percentile of all pixels takes 30 times as long
    return jnp.maximum(jnp.percentile(surroundings, _LUMINOUS), jnp.percentile(whites, _WHITES))


def _brows(image: jax.Array, position_map: jax.Array, layout: Layout, lit: Light) -> jax.Array:
    """Linear colour f32[3] of hair like the brows: that of their darkest quarter, clearly darker than the skin.

    It is the colour in light of exposure 1, like the albedo of other materials.
    """
    points = jnp.asarray(layout.landmarks[17:27])
    steps = jnp.linspace(-0.02, 0.02, 7)
    near = points[:, None] + jnp.stack([jnp.zeros_like(steps), steps], -1)  # [10,7,2]
    at = geometry.sample(position_map, near)[..., :2]
    seen = geometry.sample_pixels(image, at).reshape(-1, 3) / lit.exposure
    order = jnp.argsort(seen.sum(-1))[: seen.shape[0] // 4]
    skin = (lit.coefficients[0] + lit.direction @ lit.coefficients[1:]) / lit.exposure
    brow = 0.8 * seen[order].mean(0) + 0.2 * jnp.array(_DARK_BROWN)
    # Thin brows let the skin shine through.
    return jnp.clip(brow * jnp.minimum(_HAIR_TO_SKIN * skin.mean() / brow.mean(), 1.0), 0.004, 0.6)


def sticker(albedo: jax.Array, picture: jax.Array | np.ndarray | None, across: jax.Array, down: jax.Array) -> jax.Array:
    """Albedo f32[...,3] with a style's texture on it; across and down f32[...] in [0, 1]."""
    if picture is None:
        return albedo
    picture = jnp.asarray(picture)
    if picture.dtype == jnp.uint8:
        picture = picture.astype(jnp.float32) / 255.0
    rgba = geometry.sample(picture, jnp.stack([across, down], -1))
    share = rgba[..., 3:] * ((across >= 0) & (across <= 1) & (down >= 0) & (down <= 1))[..., None]
    return albedo * (1 - share) + light.to_linear(rgba[..., :3]) * share
