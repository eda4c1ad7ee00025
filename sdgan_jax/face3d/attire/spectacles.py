"""Eyeglasses and sunglasses: a curved sheet before the eyes, cut by an outline of `tfds_megn.attire`; and temples.

The sheet is an upright cylinder in the frame of the head. It stands as near to the face as it can without any part of
the frame cutting into the face.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from sdgan_jax.face3d import geometry, light
from sdgan_jax.face3d.attire import ribbons
from sdgan_jax.face3d.attire.styles import Style
from sdgan_jax.face3d.attire.wearer import Attire, Layer, Paint, Wearer, sticker
from tfds_megn import attire, uv
from tfds_megn.attire import SHEET_RADIUS, Spectacles
from tfds_megn.surface import smooth

_GAP = 0.012  # between the sheet and what it would touch
_GRID = (64, 128)
_WIDE, _HIGH = 0.66, 0.36  # half of the sheet's sides
# Means of the parameters that `tfds_megn.sample_params` draws, and of the light that its lenses reflect.
_THICKNESS = {"eyeglasses": 0.030, "sunglasses": 0.024}
_GLARE, _MIRROR, _SKY = 0.4, 0.09, 0.55


def spectacles(wearer: Wearer, style: Style, attribute: str) -> Attire:
    """Makes lenses and rims on a sheet, and temples to the ears.

    Args:
        wearer: the face.
        style: a style of the attribute.
        attribute: "eyeglasses" or "sunglasses".
    """
    shape, middle = _fitted(wearer, style, attribute)
    x, y = jnp.meshgrid(jnp.linspace(-_WIDE, _WIDE, _GRID[1]), jnp.linspace(-_HIGH, _HIGH, _GRID[0]))
    sheet = geometry.to_picture(jnp.stack([middle[0] + x, middle[1] + y, _sheet_z(shape, x)], -1), wearer.pose)
    rim_colour = light.to_linear(jnp.asarray(style.colour))

    def paint(field: jax.Array) -> Paint:
        x, y = field[..., 0], field[..., 1]
        lens, rim = attire.spectacles_distances(shape, x, y)
        u, v = x / (shape.aside + shape.wide), y / shape.high
        round_off = jnp.clip(rim / shape.thick + 1.0, -1.0, 1.0)
        rim_albedo = sticker(jnp.broadcast_to(rim_colour, (*u.shape, 3)), style.texture, 0.5 + 0.5 * u, 0.5 + 0.5 * v)
        rim_albedo = rim_albedo * (1.15 - 0.3 * round_off)[..., None]
        rim_share = smooth(wearer.soft, -wearer.soft, rim)
        glass, glass_share = _glass(wearer, shape, style, field, lens)
        inner = smooth(wearer.soft, -wearer.soft, lens) * (1 - rim_share)
        opacity = rim_share + glass_share * inner
        part = (rim_share / jnp.maximum(opacity, 1e-6))[..., None]
        tilt = jnp.stack([jnp.zeros_like(u), -0.25 * round_off, jnp.zeros_like(u)], -1)
        albedo, glow = glass + (rim_albedo - glass) * part, 1 - part[..., 0]
        return Paint(albedo, opacity, tilt * part, 0.10 * part[..., 0], glow, rim_share + inner)

    front = Layer(sheet, jnp.stack([x, y], -1), paint, 0.03)
    return Attire([_temples(wearer, shape, middle, rim_colour), front], _shadow(wearer, shape, middle))


def _fitted(wearer: Wearer, style: Style, attribute: str) -> tuple[Spectacles, jax.Array]:
    """Places spectacles before the eyes, as near as they touch the face.

    Returns:
        Their outline, and f32[2], x and y of its middle in the frame of the head.
    """
    marks = geometry.sample(wearer.head, jnp.asarray(wearer.layout.landmarks))
    left, right = marks[36:42].mean(0), marks[42:48].mean(0)
    wide, high, _ = attire.LENSES[attribute][style.kind]
    # Lenses go with the face: about as wide as the eyes are apart.
    spacing = 0.5 * (right[0] - left[0])
    grown = style.size * jnp.clip(spacing / uv.MEAN_FACE["eye_spacing"], 0.85, 1.15)
    wide, high = wide * grown, high * grown
    middle = 0.5 * (left + right)[:2] + jnp.array([0.0, attire.LENS_ABOVE])
    thick = attire.half_thickness(jnp.asarray(style.thickness) * _THICKNESS[attribute])
    aside = jnp.maximum(spacing, wide + 0.045)
    shape = Spectacles(attribute, style.kind, aside, wide, high, thick, axis=0.0)
    x, y, z = jnp.moveaxis(wearer.head, -1, 0)
    x, y = x - middle[0], y - middle[1]
    lens, rim = attire.spectacles_distances(shape, x, y)
    under = (jnp.minimum(lens, rim) < 0.004) & (z > 0.0)
    axis = jnp.where(under, z - _sheet_z(shape, x), -SHEET_RADIUS).max() + _GAP
    return dataclasses.replace(shape, axis=axis), middle


def _sheet_z(shape: Spectacles, x: jax.Array) -> jax.Array:
    """Depth of the sheet, x to the right of its middle."""
    return shape.axis + jnp.sqrt(SHEET_RADIUS**2 - jnp.square(x))


def _glass(
    wearer: Wearer, shape: Spectacles, style: Style, field: jax.Array, lens: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Colour f32[...,3] and opacity f32[...] of the lenses: a tint, and streaks that lean with the light."""
    x, y = field[..., 0], field[..., 1]
    u, v = (jnp.abs(x) - shape.aside) * jnp.sign(x) / shape.wide, y / shape.high
    streak = attire.glint(u, v, 1.2 * wearer.light.direction[0])
    tint = light.to_linear(jnp.asarray(style.second))
    if not shape.dark:
        return jnp.ones((*u.shape, 3)) * tint, attire.clear_opacity(lens, streak, _GLARE)
    colour = attire.dark_colour(v[..., None], streak[..., None], tint, jnp.full(3, _SKY), _MIRROR, _GLARE)
    return colour, jnp.full_like(u, attire.DARK_OPACITY)


def _temples(wearer: Wearer, shape: Spectacles, middle: jax.Array, colour: jax.Array) -> Layer:
    """Makes bars from the hinges to the ears."""
    x, y = shape.hinge
    side, sign = jnp.array([x, y, 0.0]), jnp.array([[-1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    begin = jnp.array([*middle, _sheet_z(shape, x) - 0.01]) + side * sign
    end = jnp.stack([*map(jnp.asarray, attire.temple_end(wearer.half_width))]) * sign
    return ribbons.bars(wearer, begin, end, jnp.maximum(shape.bar_width, attire.LEAST_BAR), colour)


def _shadow(wearer: Wearer, shape: Spectacles, middle: jax.Array) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Darkens the skin from which the way to the light crosses the sheet inside the outline."""
    toward = wearer.light.direction @ wearer.pose.rotation

    def shadow(_: jax.Array, points: jax.Array) -> jax.Array:
        x, y, z = points[..., 0] - middle[0], points[..., 1] - middle[1], points[..., 2]
        k = jnp.clip(_sheet_z(shape, x) - z, 0.0, 0.5) / jnp.maximum(toward[2], 0.35)
        away = k * jnp.hypot(toward[0], toward[1])
        dark = attire.spectacles_shadow(shape, x + toward[0] * k, y + toward[1] * k, away, wearer.soft)
        return dark * (z > 0.1)

    return shadow
