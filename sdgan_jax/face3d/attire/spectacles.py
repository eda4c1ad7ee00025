"""Eyeglasses and sunglasses: a curved sheet before the eyes, cut into lenses, rims, bridge; and temples.

The sheet is an upright cylinder in the frame of the head. It stands as near as no part of the frame cuts the face.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from sdgan_jax.face3d import geometry, light
from sdgan_jax.face3d.attire import ribbons
from sdgan_jax.face3d.attire.styles import Style
from sdgan_jax.face3d.attire.wearer import Layer, Paint, Wearer, Worn, smooth, sticker

_BEND = 1.25  # radius of the sheet in half heights of the head
_GAP = 0.012  # between the sheet and what it would touch
_GRID = (64, 128)
_WIDE, _HIGH = 0.66, 0.36  # half of the sheet's sides
# Half the width and height of a lens, and the power of its superellipse.
_LENSES = {
    ("eyeglasses", "round"): (0.195, 0.180, 2.0), ("eyeglasses", "oval"): (0.205, 0.155, 2.3),
    ("eyeglasses", "rectangle"): (0.215, 0.145, 4.0), ("eyeglasses", "cat-eye"): (0.215, 0.150, 2.8),
    ("sunglasses", "round"): (0.205, 0.190, 2.0), ("sunglasses", "aviator"): (0.225, 0.190, 2.3),
    ("sunglasses", "wayfarer"): (0.23, 0.165, 3.4), ("sunglasses", "cat-eye"): (0.23, 0.160, 2.6),
}  # fmt: skip


@struct.dataclass
class Fit:
    """Where spectacles sit, in the frame of the head.

    Attributes:
        kind: of the style.
        middle: f32[2], x and y between the lenses.
        aside: f32[], from there to a lens's centre.
        wide: f32[], half of a lens. high: f32[], half of a lens. power: of its outline.
        thick: f32[], half a rim.
        axis: f32[], z of the cylinder's axis.
    """

    kind: str = struct.field(pytree_node=False)
    power: float = struct.field(pytree_node=False)
    middle: jax.Array
    aside: jax.Array
    wide: jax.Array
    high: jax.Array
    thick: jax.Array
    axis: jax.Array


def spectacles(wearer: Wearer, style: Style, attribute: str) -> Worn:
    """Lenses and rims on a sheet, and temples to the ears.

    Args:
        wearer: the face.
        style: of `KINDS[attribute]`.
        attribute: "eyeglasses" or "sunglasses".
    """
    fit = _fitted(wearer, style, attribute)
    x = fit.middle[0] + jnp.linspace(-_WIDE, _WIDE, _GRID[1])
    y = fit.middle[1] + jnp.linspace(-_HIGH, _HIGH, _GRID[0])
    x, y = jnp.meshgrid(x, y)
    sheet = geometry.to_picture(jnp.stack([x, y, _sheet_z(fit, x)], -1), wearer.pose)
    rim_colour = light.to_linear(jnp.asarray(style.colour))
    dark = attribute == "sunglasses"

    def paint(field: jax.Array) -> Paint:
        lens, rim = _distances(fit, field[..., 0], field[..., 1])
        u = (field[..., 0] - fit.middle[0]) / (fit.aside + fit.wide)
        v = (field[..., 1] - fit.middle[1]) / fit.high
        round_off = jnp.clip(rim / fit.thick + 1.0, -1.0, 1.0)
        rim_albedo = sticker(jnp.broadcast_to(rim_colour, (*u.shape, 3)), style.texture, 0.5 + 0.5 * u, 0.5 + 0.5 * v)
        rim_albedo = rim_albedo * (1.15 - 0.3 * round_off)[..., None]
        rim_share = smooth(wearer.soft, -wearer.soft, rim)
        glass, glass_share = _glass(wearer, fit, style, dark, field, lens)
        inner = smooth(wearer.soft, -wearer.soft, lens) * (1 - rim_share)
        opacity = rim_share + glass_share * inner
        part = (rim_share / jnp.maximum(opacity, 1e-6))[..., None]
        tilt = jnp.stack([jnp.zeros_like(u), -0.25 * round_off, jnp.zeros_like(u)], -1)
        albedo, glow = glass + (rim_albedo - glass) * part, 1 - part[..., 0]
        return Paint(albedo, opacity, tilt * part, 0.10 * part[..., 0], glow, rim_share + inner)

    reach = max(wearer.raster.depth.shape) // 60 + 2
    bars = _temples(wearer, fit, rim_colour)
    return Worn([bars, Layer(sheet, jnp.stack([x, y], -1), paint, 0.03, None, reach)], _shadow(wearer, fit, dark))


def _fitted(wearer: Wearer, style: Style, attribute: str) -> Fit:
    """Places the spectacles by the eyes, then moves them on until they touch the face."""
    marks = geometry.sample(wearer.head, jnp.asarray(wearer.layout.landmarks))
    left, right = marks[36:42].mean(0), marks[42:48].mean(0)
    wide, high, power = _LENSES[attribute, style.kind]
    # Lenses go with the face: about as wide as the eyes are apart.
    grown = style.size * jnp.clip(0.5 * (right[0] - left[0]) / 0.272, 0.85, 1.15)
    wide, high = wide * grown, high * grown
    middle = 0.5 * (left + right)[:2] + jnp.array([0.0, 0.012])
    aside = jnp.maximum(0.5 * (right[0] - left[0]), wide + 0.045)
    thick = 0.5 * jnp.asarray(style.thickness) * (0.024 if attribute == "sunglasses" else 0.028) + 0.004
    fit = Fit(style.kind, power, middle, aside, wide, high, thick, jnp.zeros(()))
    x, y, z = jnp.moveaxis(wearer.head, -1, 0)
    lens, rim = _distances(fit, x, y)
    under = (jnp.minimum(lens, rim) < 0.004) & (z > 0.0)
    return dataclasses.replace(fit, axis=jnp.where(under, z - _sheet_z(fit, x), -_BEND).max() + _GAP)


def _sheet_z(fit: Fit, x: jax.Array) -> jax.Array:
    return fit.axis + jnp.sqrt(_BEND**2 - jnp.square(x - fit.middle[0]))


def _distances(fit: Fit, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """About the signed distances to the lenses and to the frame (rims, bridge, hinges)."""
    side, y = jnp.abs(x - fit.middle[0]), y - fit.middle[1]
    u, v = (side - fit.aside) / fit.wide, y / fit.high
    if fit.kind == "aviator":  # a drop that falls outwards
        v = v - 0.10 - 0.12 * u
        u = u * (1.0 + 0.22 * jnp.clip(v, -1, 1)) - 0.04
    elif fit.kind == "wayfarer":  # wider above
        u = u * (1.0 + 0.14 * jnp.clip(v, -1, 1))
    elif fit.kind == "cat-eye":  # the outer corner is raised
        v = v + 0.30 * jnp.clip(u + 0.2, 0, 2) * smooth(0.6, -0.6, v)
        u = u * (1.0 + 0.10 * jnp.clip(v, -1, 1))
    n = fit.power
    power = (jnp.abs(u) ** n + jnp.abs(v) ** n + 1e-9) ** (1.0 / n)
    lens = (power - 1.0) * jnp.minimum(fit.wide, fit.high)
    rim = jnp.abs(lens) - fit.thick
    gap = jnp.maximum(fit.aside - fit.wide, 0.03)
    bridge = jnp.abs(y + 0.30 * fit.high - 0.35 * side * side / gap) - fit.thick * 0.9
    bridge = jnp.maximum(bridge, side - (fit.aside - 0.93 * fit.wide))
    if fit.kind == "aviator":
        bar = jnp.abs(y + 0.72 * fit.high) - fit.thick * 0.8
        bridge = jnp.minimum(bridge, jnp.maximum(bar, side - (fit.aside - 0.55 * fit.wide)))
    hinge = jnp.abs(y + 0.40 * fit.high) - fit.thick * 1.2
    hinge = jnp.maximum(hinge, jnp.abs(side - fit.aside - fit.wide) - 0.035)
    return lens, jnp.minimum(rim, jnp.minimum(bridge, hinge))


def _glass(
    wearer: Wearer, fit: Fit, style: Style, dark: bool, field: jax.Array, lens: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Colour and opacity of the lenses: a tint, and glints that lean with the light."""
    x = field[..., 0] - fit.middle[0]
    u = (jnp.abs(x) - fit.aside) * jnp.sign(x) / fit.wide
    v = (field[..., 1] - fit.middle[1]) / fit.high
    lean = u + 0.6 * v + 0.9 * wearer.light.direction[0]
    streak = smooth(0.28, 0.16, jnp.abs(lean + 0.25)) + 0.6 * smooth(0.10, 0.04, jnp.abs(lean - 0.25))
    tint = light.to_linear(jnp.asarray(style.second))
    if not dark:
        return jnp.ones((*u.shape, 3)) * tint, 0.04 + 0.13 * streak * smooth(0.0, -0.06, lens)
    lit = smooth(0.9, -1.0, v)
    colour = tint * (0.8 + 0.7 * smooth(-0.6, 1.0, v))[..., None] + (0.05 * lit * lit + 0.05 * streak)[..., None]
    return colour, jnp.full_like(u, 0.95)


def _temples(wearer: Wearer, fit: Fit, colour: jax.Array) -> Layer:
    """Bars from the hinges to the ears."""
    begin, end = [], []
    x, y, z = ribbons.EAR
    for sign in (-1.0, 1.0):
        hinge = fit.middle[0] + sign * (fit.aside + fit.wide + 0.02)
        at = jnp.stack([hinge, fit.middle[1] - 0.40 * fit.high, _sheet_z(fit, hinge) - 0.01])
        begin.append(at)
        end.append(jnp.stack([jnp.asarray(sign * x), jnp.asarray(y), jnp.asarray(z)]))
    return ribbons.bars(wearer, jnp.stack(begin), jnp.stack(end), jnp.maximum(fit.thick * 1.7, 0.020), colour)


def _shadow(wearer: Wearer, fit: Fit, dark: bool) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Where the way from the skin to the light crosses the sheet inside the frame."""
    toward = wearer.light.direction @ wearer.pose.rotation
    blur = 0.035 + wearer.soft

    def shadow(_: jax.Array, points: jax.Array) -> jax.Array:
        x, y, z = (points[..., k] for k in range(3))
        k = jnp.clip(_sheet_z(fit, x) - z, 0.0, 0.5) / jnp.maximum(toward[2], 0.35)
        lens, rim = _distances(fit, x + toward[0] * k, y + toward[1] * k)
        far = smooth(0.30, 0.10, k * jnp.hypot(toward[0], toward[1])) * (z > 0.1)
        shade = 0.26 * smooth(blur, -blur, rim)
        if dark:
            shade = jnp.maximum(shade, 0.24 * smooth(blur, -blur, lens))
        return far * shade

    return shadow
