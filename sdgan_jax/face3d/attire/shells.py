"""Masks, beards and mustaches: surfaces over the face, cut and painted by the outlines of `tfds_megn.attire`."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp

from sdgan_jax.face3d import geometry, light
from sdgan_jax.face3d.attire import ribbons
from sdgan_jax.face3d.attire.styles import Style
from sdgan_jax.face3d.attire.wearer import Attire, Layer, Paint, Wearer, sticker
from sdgan_jax.face3d.layout import bearings
from tfds_megn import attire, noise, uv
from tfds_megn.surface import MEAN_AXES, smooth

_COARSE = 64  # texels of the square on which a mask's sheet is stretched
_STRETCHES = 60
_LENGTHS = {"full": 0.085, "short": 0.05, "goatee": 0.085}  # of a beard's hair
_DENSITIES = {"short": 0.84}
_DENSE = 0.96
_LUMPS = 8  # cells of the noise of a beard's height, along a side of the square


def mask(wearer: Wearer, style: Style) -> Attire:
    """Makes a sheet stretched from the bridge of the nose to the chin, with straps to the ears.

    Args:
        wearer: the face.
        style: a style of a mask.
    """
    bearing = jnp.stack(bearings(jnp.asarray(wearer.layout.coordinates)), -1)
    inside, _, _ = _mask_place(bearing, style)
    radius, direction = _polar(wearer.head)
    sheet = _stretched(wearer, radius[..., 0], inside, style)[..., None] * direction
    albedo = light.to_linear(jnp.asarray(style.colour))

    def paint(field: jax.Array) -> Paint:
        inside, across, down = _mask_place(field, style)
        tone, tilt, open_sky = attire.mask_cloth(style.kind, inside, across, down)
        colour = sticker(jnp.broadcast_to(albedo, (*tone.shape, 3)), style.texture, 0.5 + 0.5 * across, down)
        colour = jnp.maximum(colour * (tone * open_sky)[..., None], 0.003)
        zero = jnp.zeros_like(tilt)
        return Paint(colour, smooth(-wearer.soft, wearer.soft, inside), jnp.stack([zero, tilt, zero], -1), 0.03)

    def shadow(coordinates: jax.Array, _: jax.Array) -> jax.Array:
        return attire.mask_shadow(_mask_place(jnp.stack(bearings(coordinates), -1), style)[0])

    points = geometry.to_picture(sheet, wearer.pose)
    cloth = Layer(points, bearing, paint, 0.012, inside > -0.06)
    return Attire([_straps(wearer, sheet, bearing, style), cloth], shadow)


def _mask_place(bearing: jax.Array, style: Style) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Places bearings f32[...,2] on the mask, see `attire.mask_place`."""
    grown = (style.size - 1.0) * 0.5
    return attire.mask_place(style.kind, attire.MASK_TOP, grown, bearing[..., 0], bearing[..., 1])


def _stretched(wearer: Wearer, radius: jax.Array, inside: jax.Array, style: Style) -> jax.Array:
    """Radii f32[S,S] of a sheet over the skin: a stretched membrane where nothing lifts it, never below the skin."""
    coarse = (_COARSE, _COARSE)
    skin = jax.image.resize(radius, coarse, "linear")
    free = jax.image.resize(inside, coarse, "linear") > -0.02
    # Cloth is too stiff to follow the skin into every dip, and its edges stand off the jaw.
    low = _blur(_blur(_highest(skin, 7)))

    def stretch(_: int, sheet: jax.Array) -> jax.Array:
        return jnp.where(free, jnp.maximum(_blur(sheet), low), low)

    sheet = jax.lax.fori_loop(0, _STRETCHES, stretch, jnp.where(free, _highest(low, 7), low))
    s, t = jnp.moveaxis(jnp.asarray(wearer.layout.coordinates), -1, 0)
    sheet = jax.image.resize(_blur(_blur(sheet)), radius.shape, "cubic") + 0.012
    sheet += attire.mask_bulge(style.kind, 0.5 * jnp.asarray(style.thickness), s, t)
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


def _straps(wearer: Wearer, sheet: jax.Array, bearing: jax.Array, style: Style) -> Layer:
    """Makes loops from the mask's corners to the ears, or bands around the head."""
    strap, begin, end = attire.STRAPS[style.kind], [], []
    for sign in (-1.0, 1.0):
        for row, direction in zip(strap.rows, strap.ends, strict=True):
            off = jnp.square(bearing[..., 0] - sign * strap.side) + jnp.square(bearing[..., 1] - row)
            begin.append(sheet.reshape(-1, 3)[jnp.argmin(off)])
            # Heads differ more in width than in depth.
            usual, wide = (attire.temple_end(half)[0] for half in (MEAN_AXES[0], wearer.half_width))
            end.append(jnp.array([sign * wide / usual, 1.0, 1.0]) * jnp.array(direction) * (usual / direction[0]))
    colour = light.to_linear(jnp.asarray(style.second))
    return ribbons.bars(wearer, jnp.stack(begin), jnp.stack(end), strap.width, colour)


def _polar(head: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Radius f32[...,1] and direction f32[...,3] of points seen from the head's centre."""
    radius = jnp.sqrt((head * head).sum(-1, keepdims=True))
    return radius, head / radius


def hair(wearer: Wearer, style: Style, beard: bool) -> Attire:
    """Makes a layer of hair, as high as it is long, over a beard's or a mustache's area.

    Args:
        wearer: the face.
        style: a style of a beard or a mustache.
        beard: True for a beard.
    """
    density = _beard if beard else _mustache
    coordinates = jnp.asarray(wearer.layout.coordinates)
    s, t = coordinates[..., 0], coordinates[..., 1]
    area = density(s, t, style)
    if beard:
        height = attire.beard_height(_LENGTHS[style.kind] * style.thickness, s, t)
        height *= 1.0 + 0.25 * noise.smooth_noise(len(s), 0, _LUMPS)
    else:
        height = attire.MUSTACHE_HEIGHT * style.thickness
    radius, direction = _polar(wearer.head)
    layer = (radius + (height * smooth(0.1, 0.9, area))[..., None]) * direction
    colour = wearer.hair if style.colour is None else light.to_linear(jnp.asarray(style.colour))

    def paint(field: jax.Array) -> Paint:
        s, t = field[..., 0], field[..., 1]
        fine = attire.hair_strands(beard, 0.2, 0, s, t)
        tone, opacity, open_sky = attire.hair_look(density(s, t, style), fine, _DENSITIES.get(style.kind, _DENSE))
        albedo = sticker(colour * tone[..., None] + 0.004, style.texture, 0.5 + s / 1.2, (t - 0.3) / 0.75)
        zero = jnp.zeros_like(fine)
        return Paint(
            jnp.maximum(albedo * open_sky[..., None], 0.003), opacity, jnp.stack([0.3 * fine, zero, zero], -1), 0.04
        )

    def shadow(coordinates: jax.Array, _: jax.Array) -> jax.Array:
        return 0.22 * smooth(0.0, 0.5, density(coordinates[..., 0], coordinates[..., 1], style))

    points = geometry.to_picture(layer, wearer.pose)
    return Attire([Layer(points, coordinates, paint, 0.012, area > -0.5)], shadow)


def _mean_face(**style: float | jax.Array) -> SimpleNamespace:
    """The mean face, whose lips and nose lie where registered maps have everybody's, with parameters of a style."""
    return SimpleNamespace(**uv.MEAN_FACE, **style)


def _depth(s: jax.Array, t: jax.Array) -> jax.Array:
    """The third face coordinate of points (s, t)."""
    a, b, c = MEAN_AXES
    return c * jnp.sqrt(jnp.maximum(1.0 - (s / a) ** 2 - (t / b) ** 2, 1e-4))


def _beard(s: jax.Array, t: jax.Array, style: Style) -> jax.Array:
    """Density f32[...] of a beard in [0, 1]; it fades out where the position map ends."""
    face = _mean_face(beard_cheek=0.35 + 2.0 * (style.size - 1.0))
    around, _ = bearings(jnp.stack([s, t], -1))
    area = attire.beard_density(face, s, t, _depth(s, t)) * smooth(0.985, 0.90, jnp.abs(around))
    if style.kind == "goatee":
        wide = 0.31 * style.size - 0.10 * smooth(0.75, 1.0, t)
        area *= smooth(wide + 0.03, wide - 0.05, jnp.abs(s))
    return area


def _mustache(s: jax.Array, t: jax.Array, style: Style) -> jax.Array:
    """Density f32[...] of a mustache in [0, 1]."""
    face = _mean_face(mustache_length=style.size, mustache_thick=0.5 + 0.5 * style.thickness)
    return attire.mustache_density(face, style.kind, s, t, _depth(s, t))
