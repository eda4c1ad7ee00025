"""Attributes drawn onto a face in a picture, in three dimensions, by the position map of the face."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

import tfds_megn
from sdgan_jax import pictures
from sdgan_jax.face3d import alignment, finding, geometry, light, raster, texture
from sdgan_jax.face3d import layout as layouts
from sdgan_jax.face3d.attire import shells, spectacles, styles
from sdgan_jax.face3d.attire.styles import Style
from sdgan_jax.face3d.attire.wearer import Attire, Layer, Wearer, measure
from sdgan_jax.face3d.layout import Layout
from sdgan_jax.face3d.raster import Raster
from sdgan_jax.pictures import Array

SAMPLES = 2  # along each axis of a pixel
ORDER = ("beard", "mustache", "mask", "eyeglasses", "sunglasses")  # from the skin outwards
_BANDS = 16  # of rows of a picture, at most
_FINE = 256  # texels to which smaller position maps are brought, so that attributes have no facets
_SIDES = (128, 256, 384, 512)  # of the squares in which photos are worked on
_AROUND = 1.7  # side of that square in sides of the landmarks' box: with the ears


@struct.dataclass
class Overlay:
    """An attribute as an overlay on a picture: `image * keep + colour`, in linear colours.

    Attributes:
        colour: f32[H,W,3], linear, times its opacity.
        keep: f32[H,W], the share of the picture's light that stays; 1 away from the attribute and its shadow.
        coverage: f32[H,W], the share of each pixel that the attribute covers, clear lenses included.
    """

    colour: jax.Array
    keep: jax.Array
    coverage: jax.Array


def wear(
    image: jax.Array, position_map: jax.Array, attribute: str, style: Style | None = None, layout: Layout | None = None
) -> tuple[jax.Array, jax.Array]:
    """Draws an attribute onto a face, hidden by the face where it is behind it, in the light that falls on the face.

    Pure and compiled once for each shape, attribute and kind of style; for a batch, `jax.vmap` over the first two
    arguments, and over the style if the faces differ in it. Gradients reach the image and the colours and
    textures of the style, not the shapes.

    Args:
        image: f32[H,W,3] in [-1, 1].
        position_map: f32[S,S,3] of the face in this picture, S at most 257; in MEGN's layout it may be as small as 16.
        attribute: static; one of `tfds_megn.ATTRIBUTES`. "none" gives back the image.
        style: the look of the attribute, `styles.default_style(attribute)` by default.
        layout: layout of the position map, that of `tfds_megn` by default.

    Returns:
        The picture f32[H,W,3] in [-1, 1], with the very same numbers away from the attribute and its shadow, and
        f32[H,W] in [0, 1], the share of each pixel that the attribute covers, clear lenses included.

    Raises:
        ValueError: unknown attribute or kind of style, or shapes that are not as above.
    """
    if attribute == "none":
        return image, jnp.zeros(image.shape[:2], jnp.float32)
    style = _checked(attribute, style)
    drawn = _overlay(observe(image, position_map, layout), style, attribute)
    return apply(image, drawn), drawn.coverage


def observe(image: jax.Array, position_map: jax.Array, layout: Layout | None = None) -> Wearer:
    """Measures a face and the light on it: once for all that it wears. For the arguments and errors see `wear`."""
    shape = position_map.shape
    if image.ndim != 3 or image.shape[-1] != 3 or len(shape) != 3 or shape[0] != shape[1] or shape[2] != 3:
        raise ValueError(f"wear takes f32[H,W,3] and f32[S,S,3], got {list(image.shape)} and {list(shape)}")
    if layout is None or (shape[0] < _FINE and layout is layouts.megn(shape[0])):
        layout = layouts.megn(max(shape[0], _FINE))
    elif layout.face.shape != shape[:2]:
        raise ValueError(f"the layout has {layout.face.shape[0]} texels a side, the position map {shape[0]}")
    return _observe(image, position_map, layout)


def overlay(face: Wearer, attribute: str, style: Style | None = None) -> Overlay:
    """Computes the overlay that `wear` applies; it can be applied to the same picture at another size.

    Args:
        face: the face, see `observe`.
        attribute: static; not "none".
        style: see `wear`.

    Raises:
        ValueError: see `wear`.
    """
    return _overlay(face, _checked(attribute, style), attribute)


def _checked(attribute: str, style: Style | None) -> Style:
    """Returns the style, or the usual one. Raises `ValueError` if the attribute or the kind of style is unknown."""
    if attribute not in styles.KINDS:
        raise ValueError(f"unknown attribute {attribute!r}; the known ones are {', '.join(tfds_megn.ATTRIBUTES)}")
    style = styles.default_style(attribute) if style is None else style
    if style.kind not in styles.KINDS[attribute]:
        raise ValueError(f"{attribute} has no style {style.kind!r}; it has {', '.join(styles.KINDS[attribute])}")
    return style


def apply(image: jax.Array, drawn: Overlay) -> jax.Array:
    """Lays an overlay f32[H,W,...] over an image f32[H,W,3] in [-1, 1]."""
    return _lay_over(image, drawn.colour, drawn.keep, (drawn.keep < 1.0) | (drawn.coverage > 0.0))


def _lay_over(image: Array, colour: Array, keep: Array, touched: Array) -> Array:
    """Lays a colour over an image, of numpy or of JAX, where it is touched, see `Overlay`."""
    xp = image.__array_namespace__()
    below = light.to_linear(xp.clip(0.5 + 0.5 * image, 0.0, 1.0))
    out = 2.0 * light.from_linear(below * keep[..., None] + colour) - 1.0
    return xp.where(touched[..., None], xp.clip(out, -1.0, 1.0), image)


def wear_photo(
    image: np.ndarray, position_map: np.ndarray, chosen: Mapping[str, Style], layout: Layout | None = None
) -> np.ndarray:
    """Draws attributes onto a face in a photo of any size, each lit as the bare face is.

    The square around the face is worked on at one of a few sizes, so that little is compiled; the overlay is applied
    to the photo's own pixels.

    Args:
        image: u8[H,W,3].
        position_map: f32[S,S,3] of the face, in pixels of the photo.
        chosen: the style of each attribute to wear.
        layout: layout of the position map, that of `tfds_megn` by default.

    Returns:
        u8[H,W,3], unchanged away from the attributes and their shadows.

    Raises:
        ValueError: see `wear`.
    """
    known = layouts.megn(position_map.shape[0]) if layout is None else layout
    patch = alignment.patch_around(finding.box_of(position_map, known), _AROUND, _SIDES)
    bare = pictures.to_float(alignment.cut(image, patch.square, patch.size))
    inside = alignment.to_square(position_map, patch.square, patch.size)
    face = observe(jnp.asarray(bare), jnp.asarray(inside, jnp.float32), layout)
    worn = [overlay(face, attribute, chosen[attribute]) for attribute in sorted(chosen, key=ORDER.index)]
    # [S,S,5] each
    overlays = [np.dstack([np.asarray(p) for p in (drawn.colour, drawn.keep, drawn.coverage)]) for drawn in worn]
    out = image.copy()
    part = patch.view(out)
    for first in range(0, len(part) if part.size else 0, alignment.STRIP):
        strip = part[first : first + alignment.STRIP]
        rows = first, first + len(strip)
        _lay_over_photo(strip, [patch.restore(planes, *rows, image.shape[1]) for planes in overlays])
    return out


def _lay_over_photo(part: np.ndarray, overlays: Sequence[np.ndarray]) -> None:
    """Lays overlays f32[h,w,5] over a part u8[h,w,3] of a photo, in place: their colour, keep and coverage."""
    colour = pictures.to_float(part)
    touched = np.zeros(part.shape[:2], bool)
    for planes in overlays:
        keep = np.where(planes[..., 3] > 0.999, 1.0, planes[..., 3])
        here = (keep < 1.0) | (planes[..., 4] > 0.0)
        # By numpy: JAX would compile this for the size of every face.
        colour = _lay_over(colour, planes[..., :3], keep, here)
        touched |= here
    part[touched] = pictures.to_uint8(colour[touched])


@jax.jit
def _observe(image: jax.Array, position_map: jax.Array, layout: Layout) -> Wearer:
    """Measures a face; its position map is brought to the size of the layout."""
    layout = jax.lax.optimization_barrier(layout)  # within another program it is constant, and XLA would work on that
    linear = light.to_linear(jnp.clip(0.5 + 0.5 * image, 0.0, 1.0))
    position_map = jax.lax.stop_gradient(position_map)  # the rasteriser has no gradient
    position_map = jax.image.resize(position_map, (*layout.face.shape, 3), "cubic")
    return measure(linear, position_map, layout, SAMPLES)


@functools.partial(jax.jit, static_argnames="attribute")
def _overlay(face: Wearer, style: Style, attribute: str) -> Overlay:
    if attribute == "mask":
        made = shells.mask(face, style)
    elif attribute in ("beard", "mustache"):
        made = shells.hair(face, style, attribute == "beard")
    else:
        made = spectacles.spectacles(face, style, attribute)
    return _compose(face, made)


def _compose(wearer: Wearer, made: Attire) -> Overlay:
    """Draws the layers over the face's shadow, and averages the samples; bands of rows without either are left out."""
    height, width = (length // SAMPLES for length in wearer.raster.depth.shape)
    drawn = raster.rasterise([(one.surface, one.where) for one in made.layers], height, width, SAMPLES)
    tables = [_table(layer) for layer in made.layers]
    bands = max(number for number in range(1, _BANDS + 1) if height % number == 0)
    face, *layers = jax.tree.map(lambda x: x.reshape(bands, -1, *x.shape[1:]), (wearer.raster, *drawn))
    touched = functools.reduce(jnp.logical_or, [one.covered.any((1, 2)) for one in layers])
    touched |= _shaded_bands(wearer, made, bands, height)

    def draw(face: Raster, layers: list[Raster]) -> jax.Array:
        return texture.average(_compose_samples(wearer, made, tables, face, layers), SAMPLES)

    def leave(*_: Any) -> jax.Array:
        return jnp.broadcast_to(jnp.array([0.0, 0.0, 0.0, 1.0, 1.0]), (height // bands, width, 5))

    mean = jax.lax.map(lambda band: jax.lax.cond(band[0], draw, leave, *band[1:]), (touched, face, layers))
    mean = mean.reshape(height, width, 5)
    return Overlay(mean[..., :3], mean[..., 3], 1 - mean[..., 4])


def _shaded_bands(wearer: Wearer, made: Attire, bands: int, height: int) -> jax.Array:
    """Returns bool[bands]: the bands of rows in which the attribute may cast a shadow on the face."""
    dark = made.shadow(jnp.asarray(wearer.layout.coordinates), wearer.head) > 0.0
    near = jax.lax.reduce_window(dark, False, jnp.logical_or, (5, 5), (1, 1), "SAME")  # between texels, too
    rows = jnp.where(near, wearer.surface[..., 1], jnp.nan)
    edges = jnp.arange(bands + 1) * (height / bands) - 0.5
    return (jnp.nanmax(rows) >= edges[:-1] - 1.0) & (jnp.nanmin(rows) <= edges[1:] + 1.0)


def _table(layer: Layer) -> jax.Array:
    """Returns the fields and the unit normal of each point of a layer, f32[S1,S2,C+3]."""
    known = jnp.where(jnp.isfinite(layer.surface), layer.surface, 0.0)
    return jnp.concatenate([layer.fields, geometry.normals(known)], -1)


def _compose_samples(
    wearer: Wearer, made: Attire, tables: Sequence[jax.Array], face: Raster, drawn: Sequence[Raster]
) -> jax.Array:
    """Returns colour, remaining light and free share f32[...,5] of samples, from the rasters of face and layers."""
    coordinates = geometry.sample(jnp.asarray(wearer.layout.coordinates), face.uv)
    dark = made.shadow(coordinates, geometry.sample(wearer.head, face.uv)) * face.covered
    colour, clear = jnp.zeros((*face.depth.shape, 3)), jnp.ones(face.depth.shape)
    free = clear
    for layer, table, here in zip(made.layers, tables, drawn, strict=True):
        near = here.depth > face.depth - layer.bias * wearer.pose.scale
        over, opacity, share = _look(wearer, layer, geometry.sample(table, here.uv))
        opacity, share = (jnp.where(here.covered & near, shares, 0.0) for shares in (opacity, share))
        colour = colour * (1 - opacity[..., None]) + over * opacity[..., None]
        clear, free = clear * (1 - opacity), free * (1 - share)
    keep = clear * (1 - dark)
    return jnp.concatenate([colour, keep[..., None], free[..., None]], -1)


def _look(wearer: Wearer, layer: Layer, field: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns lit colour, opacity and coverage of samples of a layer, from its `_table` there."""
    paint = layer.paint(field[..., :-3])
    normal = field[..., -3:]
    normal = normal * jnp.where(normal[..., 2:] < 0, -1.0, 1.0)  # the back of a sheet, where it is seen
    normal = normal + geometry.times(jnp.broadcast_to(paint.tilt, normal.shape), wearer.pose.rotation.T)
    normal = normal * jax.lax.rsqrt((normal * normal).sum(-1, keepdims=True) + 1e-12)
    lit = light.shade(paint.albedo, normal, wearer.light, paint.gloss)
    glow = jnp.asarray(paint.glow)[..., None]
    colour = lit + (paint.albedo * wearer.light.exposure - lit) * glow
    return colour, paint.opacity, paint.opacity if paint.coverage is None else paint.coverage
