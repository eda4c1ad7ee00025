"""Masks, beards and mustaches: surfaces over the face, cut and painted by face coordinates."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sdgan_jax.face3d import geometry, light
from sdgan_jax.face3d.attire import noise, ribbons
from sdgan_jax.face3d.attire.styles import Style
from sdgan_jax.face3d.attire.wearer import Layer, Paint, Wearer, Worn, bell, smooth, sticker
from sdgan_jax.face3d.layout import bearings

_SIDE, _CUP_SIDE = 0.885, 0.80  # sine of the azimuth where a mask ends
_TOP = 0.20  # sine of the angle below the horizon of its upper edge, over the nose
_COARSE = 64  # texels of the square on which a mask's sheet is stretched
_STRETCHES = 60
# The mean face of `tfds_megn`; registered maps have everybody's lips there.
_MOUTH, _MOUTH_WIDTH, _SMILE, _MOUTH_OPEN, _UPPER, _LOWER = 0.605, 0.225, 0.35, 0.3, 0.056, 0.076
_NOSE, _NOSE_WIDTH = 0.325, 0.10


def mask(wearer: Wearer, style: Style) -> Worn:
    """A sheet stretched from the bridge of the nose to the chin, with straps to the ears.

    Args:
        wearer: the face.
        style: of `KINDS["mask"]`.
    """
    bearing = jnp.stack(bearings(jnp.asarray(wearer.layout.coordinates)), -1)
    inside, _, _ = _mask_place(bearing, style)
    radius, direction = _polar(wearer.head)
    sheet = _stretched(wearer, radius[..., 0], inside, style)[..., None] * direction
    albedo = light.to_linear(jnp.asarray(style.colour))

    def paint(field: jax.Array) -> Paint:
        inside, across, down = _mask_place(field, style)
        tone, tilt = _cloth(style.kind, inside, across, down)
        colour = sticker(jnp.broadcast_to(albedo, (*tone.shape, 3)), style.texture, 0.5 + 0.5 * across, down)
        colour = jnp.maximum(colour * (tone * (0.88 + 0.12 * smooth(0.0, 0.08, inside)))[..., None], 0.003)
        zero = jnp.zeros_like(tilt)
        return Paint(colour, smooth(-wearer.soft, wearer.soft, inside), jnp.stack([zero, tilt, zero], -1), 0.03)

    def shadow(coordinates: jax.Array, _: jax.Array) -> jax.Array:
        return 0.42 * smooth(-0.06, 0.02, _mask_place(jnp.stack(bearings(coordinates), -1), style)[0])

    points = geometry.to_picture(sheet, wearer.pose)
    cloth = Layer(points, bearing, paint, 0.012, inside > -0.06)
    return Worn([_straps(wearer, sheet, bearing, style), cloth], shadow)


def _mask_place(bearing: jax.Array, style: Style) -> tuple[jax.Array, jax.Array, jax.Array]:
    """How far inside the mask's outline points lie; their place across (-1 to 1) and down (0 to 1) it."""
    w, e = bearing[..., 0], bearing[..., 1]
    w2 = w * w
    grown = (style.size - 1.0) * 0.5
    if style.kind == "cup":
        top = _TOP - 0.03 - grown + 0.42 * w2
        bottom = 0.91 - 0.30 * w2
        side = _CUP_SIDE + 0.5 * grown - jnp.abs(w)
    else:
        top = _TOP - grown + 0.17 * w2 - 0.03 * bell(w / 0.14)
        bottom = 0.94 + 0.3 * grown - 0.25 * w2
        side = _SIDE + 0.3 * grown - jnp.abs(w) - 0.05 * jnp.square((e - 0.45) / 0.25)
    # Corners are rounded: the three edges meet in a soft minimum.
    edges = jnp.stack([e - top, bottom - e, side * 1.2])
    inside = -0.015 * jax.nn.logsumexp(-edges / 0.015, axis=0)
    return inside, w / _SIDE, (e - top) / jnp.maximum(bottom - top, 1e-3)


def _stretched(wearer: Wearer, radius: jax.Array, inside: jax.Array, style: Style) -> jax.Array:
    """Radii f32[S,S] of a sheet over skin: a stretched membrane where nothing lifts it, never below the skin."""
    coarse = (_COARSE, _COARSE)
    skin = jax.image.resize(radius, coarse, "linear")
    free = jax.image.resize(inside, coarse, "linear") > -0.02
    # Cloth is too stiff to follow the skin into every dip, and its edges stand off the jaw.
    low = _blur(_blur(_highest(skin, 7)))

    def stretch(_: int, sheet: jax.Array) -> jax.Array:
        return jnp.where(free, jnp.maximum(_blur(sheet), low), low)

    sheet = jax.lax.fori_loop(0, _STRETCHES, stretch, jnp.where(free, _highest(low, 7), low))
    s, t = jnp.moveaxis(jnp.asarray(wearer.layout.coordinates), -1, 0)
    puff = style.thickness
    sheet = jax.image.resize(_blur(_blur(sheet)), radius.shape, "cubic") + 0.012
    if style.kind == "cup":
        sheet += (0.05 + 0.08 * puff) * jnp.sqrt(jnp.maximum(1 - (s / 0.50) ** 2 - ((t - 0.62) / 0.46) ** 2, 0.0))
    else:
        sheet += 0.035 * puff * bell(s / 0.35) * bell((t - 0.62) / 0.25)
    for gap in (0.006, 0.003):
        sheet = _blur(jnp.maximum(sheet, radius + gap))
    return jnp.maximum(sheet, radius + 0.003)


def _highest(table: jax.Array, side: int) -> jax.Array:
    """The largest value in a window around each cell."""
    return jax.lax.reduce_window(table, -jnp.inf, jax.lax.max, (side, side), (1, 1), "SAME")


def _blur(table: jax.Array) -> jax.Array:
    """The mean of each cell and its eight neighbours; the rim repeats."""
    padded = jnp.pad(table, 1, mode="edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9.0


def _cloth(kind: str, inside: jax.Array, across: jax.Array, down: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Brightness of the cloth, and how far its folds lean down."""
    tone, tilt = jnp.ones_like(across), jnp.zeros_like(across)
    if kind == "surgical":  # three pleats, a stiff border
        for k in (0.34, 0.54, 0.74):
            fold = (down - k + 0.05 * across * across * (k - 0.5)) / 0.028
            tone -= 0.22 * bell(fold) * smooth(1.0, 0.8, jnp.abs(across))
            tilt += 0.5 * fold * bell(fold * 0.6) * smooth(1.02, 0.85, jnp.abs(across))
        tone -= 0.10 * bell((inside - 0.05) / 0.010)
        tone += 0.02 * noise.grain(across * 130, down * 130)
    elif kind == "cloth":  # a seam down the middle, a hem
        tone -= 0.30 * bell(across / 0.014)
        tone -= 0.18 * bell((inside - 0.03) / 0.008)
        soft = noise.grain(across * 7, down * 9)
        tone += 0.03 * soft + 0.02 * noise.grain(across * 140, down * 140)
        tilt += 0.10 * soft
    else:  # a pressed rim and embossed lines
        tone -= 0.22 * bell((inside - 0.045) / 0.012)
        tone -= 0.12 * bell((down - 0.42) / 0.02) + 0.09 * bell((down - 0.66) / 0.02)
        tone += 0.02 * noise.grain(across * 90, down * 90)
    return tone, tilt


def _straps(wearer: Wearer, sheet: jax.Array, bearing: jax.Array, style: Style) -> Layer:
    """Loops from the mask's corners to the ears, or bands around the head."""
    cup = style.kind == "cup"
    side, rows = (0.76, (0.42, 0.60)) if cup else (0.845, (0.36, 0.55))
    begin, end = [], []
    x, _, z = ribbons.EAR
    for sign in (-1.0, 1.0):
        for e, y in zip(rows, (-0.30, 0.34) if cup else (-0.06, 0.24)):
            off = jnp.square(bearing[..., 0] - sign * side) + jnp.square(bearing[..., 1] - e)
            begin.append(sheet.reshape(-1, 3)[jnp.argmin(off)])
            end.append(jnp.array([sign * x, y, z - 0.08]))
    colour = light.to_linear(jnp.asarray(style.second))
    return ribbons.bars(wearer, jnp.stack(begin), jnp.stack(end), 0.020 if cup else 0.015, colour)


def _polar(head: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Radius f32[...,1] and direction f32[...,3] of points seen from the head's centre."""
    radius = jnp.sqrt((head * head).sum(-1, keepdims=True))
    return radius, head / radius


def hair(wearer: Wearer, style: Style, beard: bool) -> Worn:
    """A layer of hair, as high as it is long, over a beard's or a mustache's area.

    Args:
        wearer: the face.
        style: of `KINDS["beard"]` or `KINDS["mustache"]`.
        beard: which of them.
    """
    grow = _beard if beard else _mustache
    coordinates = jnp.asarray(wearer.layout.coordinates)
    s, t = coordinates[..., 0], coordinates[..., 1]
    area = grow(s, t, style)
    length = 0.035 * style.thickness
    if beard:
        chin = bell(s / 0.38) * smooth(0.45, 0.95, t)
        length = (0.05 if style.kind == "short" else 0.085) * style.thickness
        length = length * (0.30 + 0.70 * chin + 0.25 * chin * smooth(0.8, 1.0, t))
        length *= 1.0 + 0.12 * noise.grain(s * 8, t * 8)
    radius, direction = _polar(wearer.head)
    layer = (radius + (length * smooth(0.1, 0.9, area))[..., None]) * direction
    colour = wearer.hair if style.colour is None else light.to_linear(jnp.asarray(style.colour))

    def paint(field: jax.Array) -> Paint:
        s, t = field[..., 0], field[..., 1]
        area = grow(s, t, style)
        flow = s * (1.0 + 0.5 * t) if beard else t * 1.4 + 0.4 * jnp.abs(s)
        along = t if beard else s
        wave = 0.006 * jnp.sin(along * 42.0 + 9.0 * s)
        fine = noise.strands((flow + wave) * 110.0, along * 55.0 + 77.0)
        fine = 0.30 * fine + 0.22 * noise.grain(s * 120.0, t * 120.0)
        albedo = colour * (0.95 + 0.55 * fine)[..., None] + 0.004
        albedo = sticker(albedo, style.texture, 0.5 + s / 1.2, (t - 0.3) / 0.75)
        thin = (0.16 if style.kind == "short" else 0.04) * (1.0 + 1.2 * fine)
        opacity = smooth(0.10, 0.62, area + 0.30 * fine * (1 - area) - thin)
        opacity *= 0.9 if style.kind == "short" else 1.0
        deep = 0.62 + 0.38 * smooth(0.2, 1.0, area)
        zero = jnp.zeros_like(fine)
        tilt = jnp.stack([0.45 * fine, zero, zero], -1) if beard else jnp.stack([zero, 0.45 * fine, zero], -1)
        return Paint(jnp.maximum(albedo * deep[..., None], 0.003), opacity, tilt, 0.04)

    def shadow(coordinates: jax.Array, _: jax.Array) -> jax.Array:
        return 0.22 * smooth(0.0, 0.5, grow(coordinates[..., 0], coordinates[..., 1], style))

    points = geometry.to_picture(layer, wearer.pose)
    return Worn([Layer(points, coordinates, paint, 0.012, area > -0.5)], shadow)


def _lip_line(s: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Where the lips meet: the place along the mouth, x in [-1, 1], and the line's t."""
    x = s / (_MOUTH_WIDTH * (1.0 + 0.14 * _SMILE))
    return x, _MOUTH - 0.05 * _SMILE * jnp.minimum(x * x, 1.6) + 0.012 * bell(x / 0.25)


def _beard(s: jax.Array, t: jax.Array, style: Style) -> jax.Array:
    """Density of a beard without the lips, f32 in [0, 1]."""
    side, mouth = jnp.abs(s), _MOUTH
    cheek = 0.35 + 2.0 * (style.size - 1.0)
    upper = mouth + 0.04 - 0.12 * cheek - 0.55 * jnp.maximum(side - 0.22, 0.0) - 1.1 * jnp.maximum(side - 0.42, 0.0)
    middle = mouth - 0.17 + 0.9 * jnp.maximum(side - 0.12, 0.0) * (1 - 0.6 * cheek)
    area = smooth(-0.03, 0.06, t - jnp.where(side < 0.24, middle, upper))
    around, _ = bearings(jnp.stack([s, t], -1))
    area *= smooth(0.985, 0.90, jnp.abs(around)) * smooth(-0.02, 0.16, t)
    if style.kind == "goatee":
        wide = 0.31 * style.size - 0.10 * smooth(0.75, 1.0, t)
        area *= smooth(wide + 0.03, wide - 0.05, side)
    x, line = _lip_line(s)
    above, below = _UPPER + 0.012, _LOWER * 1.15 + 0.05 * _MOUTH_OPEN + 0.012
    y = (t - line) / jnp.where(t < line, above, below)
    lips = smooth(0.85, 1.25, x * x * 0.9 + y * y)
    nose = smooth(_NOSE + 0.085, _NOSE + 0.115, t + 0.25 * jnp.maximum(side - 0.1, 0.0))
    nose = jnp.maximum(nose, smooth(_NOSE_WIDTH + 0.06, _NOSE_WIDTH + 0.11, side))
    return area * lips * nose


def _mustache(s: jax.Array, t: jax.Array, style: Style) -> jax.Array:
    """Density of a mustache, f32 in [0, 1]."""
    _, line = _lip_line(s)
    reach, high, raised, bend = {
        "chevron": (1.12, 0.46, 0.85, 0.055), "pencil": (1.0, 0.27, 0.9, 0.02), "handlebar": (1.30, 0.38, 0.7, 0.05),
    }[style.kind]  # fmt: skip
    x = jnp.abs(s) / (_MOUTH_WIDTH * reach * style.size)
    lip = line - _UPPER * jnp.sqrt(jnp.maximum(1 - x * x, 0.1))
    thick = (_MOUTH - _UPPER - _NOSE - 0.09) * high * (0.5 + 0.5 * style.thickness)
    middle = lip - raised * thick + bend * x * x
    if style.kind == "handlebar":
        middle -= 0.24 * jnp.maximum(x - 0.72, 0.0)
        thick *= 1.05 - 0.72 * x
    else:
        thick *= 1.0 - 0.45 * x * x
    y = jnp.abs(t - middle) / jnp.maximum(thick, 0.008)
    return smooth(1.15, 0.55, y) * smooth(1.06, 0.92, x)
