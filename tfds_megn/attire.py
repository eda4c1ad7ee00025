"""Outlines, densities, tones and palettes of masks, spectacles and facial hair, shared by the renderer and `face3d`.

Functions take arrays of numpy or of jax.numpy and compute in the namespace of their arrays; they broadcast. Numbers of
a face or of a style may be Python floats or, under jax, scalar arrays. Lengths are in half heights of the head, colours
of palettes in sRGB in [0, 1]. (s, t, q) are the face coordinates of `surface`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from tfds_megn import noise
from tfds_megn.skin import beard_area, lip_line
from tfds_megn.surface import bell, smooth

Array = Any  # numpy.ndarray or jax.Array
Number = Any  # float or a scalar array
Colour = tuple[float, float, float]

# Palettes, and how often each colour is drawn.
MASKS: tuple[Colour, ...] = (
    (0.62, 0.80, 0.90), (0.90, 0.93, 0.95), (0.12, 0.12, 0.13), (0.70, 0.86, 0.78), (0.93, 0.74, 0.78),
)  # fmt: skip
MASK_SHARES = (0.45, 0.25, 0.1, 0.12, 0.08)
CUPS: tuple[Colour, ...] = ((0.92, 0.92, 0.91), (0.16, 0.16, 0.17))
RIMS: tuple[Colour, ...] = (
    (0.05, 0.05, 0.06), (0.25, 0.15, 0.09), (0.55, 0.45, 0.28), (0.6, 0.6, 0.62), (0.45, 0.08, 0.10),
    (0.12, 0.18, 0.38),
)  # fmt: skip
RIM_SHARES = {"eyeglasses": (0.55, 0.2, 0.06, 0.06, 0.07, 0.06), "sunglasses": (0.5, 0.15, 0.15, 0.12, 0.05, 0.03)}
TINTS: tuple[Colour, ...] = (
    (0.03, 0.03, 0.035), (0.12, 0.08, 0.05), (0.05, 0.09, 0.06), (0.07, 0.09, 0.16), (0.45, 0.16, 0.06),
)  # fmt: skip
TINT_SHARES = (0.5, 0.18, 0.12, 0.12, 0.08)
HAIRS: dict[str, Colour] = {
    "black": (0.09, 0.08, 0.08), "dark": (0.19, 0.13, 0.10), "brown": (0.34, 0.22, 0.14),
    "chestnut": (0.43, 0.24, 0.14), "auburn": (0.52, 0.24, 0.12), "ginger": (0.74, 0.40, 0.18),
    "dark_blond": (0.58, 0.45, 0.29), "blond": (0.82, 0.68, 0.44), "platinum": (0.92, 0.86, 0.72),
}  # fmt: skip
GREY_HAIR: Colour = (0.74, 0.73, 0.71)

# Kinds, in the order of their numbers in `params`: mask_kind, mustache_form, rim_shape and sun_shape.
MASK_KINDS = ("surgical", "cloth", "cup")
MUSTACHES = {  # length in mouth widths, height in rooms over the lip, height of the middle, bend
    "chevron": (1.12, 0.46, 0.85, 0.055), "pencil": (1.0, 0.27, 0.9, 0.02), "handlebar": (1.30, 0.38, 0.7, 0.05),
}  # fmt: skip
LENSES = {  # half the width and height of a lens, and the power of its superellipse
    "eyeglasses": {
        "round": (0.195, 0.180, 2.0), "oval": (0.205, 0.155, 2.3), "rectangle": (0.215, 0.145, 4.0),
        "cat-eye": (0.215, 0.150, 2.8),
    },
    "sunglasses": {
        "round": (0.205, 0.190, 2.0), "aviator": (0.225, 0.190, 2.3), "wayfarer": (0.23, 0.165, 3.4),
        "cat-eye": (0.23, 0.160, 2.6),
    },
}  # fmt: skip

SHEET_RADIUS = 1.25  # of the upright cylinder on which spectacles are cut out
LENS_ABOVE = 0.012  # from the eyes down to the middle of the lenses
LEAST_BAR = 0.020  # least width of a temple
MASK_TOP = 0.20  # usual sine of the angle below the horizon of a mask's upper edge, over the nose
_MASK_SIDE = 0.885  # sine of the azimuth where a mask ends


class Strap(NamedTuple):
    """Straps of one side of a mask: two loops to the ear, or two bands around the head.

    Attributes:
      side: sine of the azimuth where they begin.
      rows: sines of the angles below the horizon where they begin.
      ends: directions from the head's centre to where they end, on the right side of the picture.
      width: width of a strap.
    """

    side: float
    rows: tuple[float, float]
    ends: tuple[tuple[float, float, float], tuple[float, float, float]]
    width: float


def strap_colour(shade: float) -> Colour:
    """The colour of a strap of this brightness, in [0, 1]."""
    return shade, shade, shade * 0.98


_LOOPS = ((0.9, -0.10, -0.16), (0.9, 0.31, -0.16))
STRAPS = {
    "surgical": Strap(_MASK_SIDE - 0.03, (0.36, 0.64), _LOOPS, 0.016),
    "cloth": Strap(_MASK_SIDE - 0.03, (0.36, 0.64), _LOOPS, 0.022),
    "cup": Strap(0.74, (0.38, 0.62), ((0.9, -0.36, -0.6), (0.9, 0.36, -0.6)), 0.022),
}


def mask_place(kind: str, top: Number, grown: Number, w: Array, e: Array) -> tuple[Array, Array, Array]:
    """Places points on a mask.

    Args:
      kind: one of `MASK_KINDS`.
      top: sine of the angle below the horizon of the upper edge over the nose, `MASK_TOP` as a rule.
      grown: distance of the outline outside the usual one; 0 for the usual one.
      w: f32[...], sine of the azimuth of each point.
      e: f32[...], sine of its angle below the horizon.

    Returns:
      f32[...] each: how far inside the outline points lie; their place across (-1 to 1) and down (0 to 1) the mask.
    """
    xp = w.__array_namespace__()
    w2 = w * w
    if kind == "cup":
        upper = top - 0.03 - grown + 0.42 * w2
        lower = 0.90 + 0.3 * grown - 0.34 * w2
        side = 0.80 + 0.5 * grown - abs(w)
    else:
        upper = top - grown + 0.17 * w2 - 0.03 * bell(w2 / 0.02)
        lower = 0.94 + 0.3 * grown - 0.34 * w2
        side = _MASK_SIDE + 0.3 * grown - abs(w) - 0.05 * xp.square((e - 0.45) / 0.25)
    inside = xp.minimum(xp.minimum(e - upper, lower - e), side * 1.2)
    # Where the edges meet there is no mask; the height there is never used.
    return inside, w * (1 / _MASK_SIDE), (e - upper) / xp.maximum(lower - upper, 1e-3)


def mask_bulge(kind: str, puff: Number, s: Array, t: Array) -> Array:
    """Height f32[...] of a mask's middle over a sheet stretched around the face; `puff` is in [0, 1]."""
    xp = s.__array_namespace__()
    if kind == "cup":
        cup = xp.maximum(1 - xp.square(s / 0.50) - xp.square((t - 0.62) / 0.46), 0)
        return (0.10 + 0.06 * puff) * xp.sqrt(cup)
    return (0.02 + 0.05 * puff) * bell(xp.square(s / 0.35) + xp.square((t - 0.62) / 0.25))


def mask_cloth(kind: str, inside: Array, across: Array, down: Array) -> tuple[Array, Array, Array]:
    """Cloth of a mask at the places that `mask_place` returns.

    Returns:
      f32[...] each: its brightness, about 1; how far its normal leans down; the share of sky light that reaches it.
    """
    xp = across.__array_namespace__()
    tone, tilt = xp.ones_like(across), xp.zeros_like(across)
    if kind == "surgical":  # three pleats, a stiff upper and lower border
        for k in (0.34, 0.54, 0.74):
            fold = (down - k + 0.05 * across * across * (k - 0.5)) * (1 / 0.028)
            tone -= 0.30 * bell(xp.square(fold)) * smooth(1.0, 0.8, abs(across))
            tilt += 0.55 * fold * bell(xp.square(fold * 0.6))
        tone -= 0.10 * bell(xp.square((inside - 0.05) / 0.010))
        tone += 0.04 * noise.wrapped(noise.grain(), down * 130, across * 130 + 256)
    elif kind == "cloth":  # a seam down the middle, a hem
        tone -= 0.35 * bell(xp.square(across / 0.018))
        tone -= 0.22 * bell(xp.square((inside - 0.03) / 0.008))
        soft = noise.wrapped(noise.smooth_noise(noise.SIDE, 21, 12).reshape(-1), down * 200, across * 120 + 128)
        tone += 0.05 * soft
        tilt += 0.25 * soft
    else:  # a pressed rim and embossed lines
        tone -= 0.28 * bell(xp.square((inside - 0.045) / 0.012))
        tone -= 0.16 * bell(xp.square((down - 0.42) / 0.02)) + 0.12 * bell(xp.square((down - 0.66) / 0.02))
        tone += 0.04 * noise.wrapped(noise.grain(), down * 90, across * 90 + 256)
    return tone, tilt, 0.92 + 0.08 * smooth(0, 0.08, inside)


def mask_shadow(inside: Array) -> Array:
    """Share f32[...] of its light that the skin around a mask loses."""
    return 0.42 * smooth(-0.06, 0.02, inside)


@dataclass(frozen=True)
class Spectacles:
    """Outline of spectacles on their sheet, about the middle between the lenses.

    Attributes:
      attribute: "eyeglasses" or "sunglasses".
      kind: one of `LENSES[attribute]`.
      aside: distance from the middle to the centre of a lens.
      wide: half the width of a lens.
      high: half the height of a lens.
      thick: half the thickness of a rim.
      axis: depth of the sheet's axis, in the frame of the head.
    """

    attribute: str
    kind: str
    aside: Number
    wide: Number
    high: Number
    thick: Number
    axis: Number

    @property
    def dark(self) -> bool:
        """True for sunglasses."""
        return self.attribute == "sunglasses"

    @property
    def bar_width(self) -> Number:
        """Width of a temple; drawn no narrower than `LEAST_BAR`."""
        return self.thick * 1.7

    @property
    def hinge(self) -> tuple[Number, Number]:
        """The place (x, y) where the right temple begins, from the middle between the lenses."""
        return self.aside + self.wide + 0.02, -0.40 * self.high


def temple_end(half_width: Number) -> tuple[Number, float, float]:
    """The point at which the right temple reaches the ear of a head of this half width, in the frame of the head."""
    return half_width + 0.035, 0.0, -0.10


def half_thickness(thickness: Number) -> Number:
    """Half the thickness of a rim, of the number for it in `params` (rim_thick, sun_thick)."""
    return thickness * 0.5 + 0.004


def spectacles_distances(spectacles: Spectacles, x: Array, y: Array) -> tuple[Array, Array]:
    """Approximate signed distances f32[...] to the lenses and to the frame (rims, bridge, hinges), negative inside.

    Args:
      spectacles: the outline.
      x: f32[...], from the middle between the lenses to the right.
      y: f32[...], from there down.
    """
    xp = x.__array_namespace__()
    kind, aside, wide, high, thick = (getattr(spectacles, k) for k in ("kind", "aside", "wide", "high", "thick"))
    n = LENSES[spectacles.attribute][kind][2]
    side = abs(x)
    u = (side - aside) * (1 / wide)
    v = y * (1 / high)
    if kind == "aviator":  # a drop that falls outwards
        v = v - 0.10 - 0.12 * u
        u = u * (1.0 + 0.22 * xp.clip(v, -1, 1)) - 0.04
    elif kind == "wayfarer":  # wider above
        u = u * (1.0 + 0.14 * xp.clip(v, -1, 1))
    elif kind == "cat-eye":  # the outer corner is raised
        v = v + 0.30 * xp.clip(u + 0.2, 0, 2) * smooth(0.6, -0.6, v)
        u = u * (1.0 + 0.10 * xp.clip(v, -1, 1))
    # Above 0, where the slope of the root has no limit.
    length = xp.maximum(abs(u) ** n + abs(v) ** n, 1e-9) ** (1.0 / n)
    lens = (length - 1.0) * xp.float32(xp.minimum(wide, high))
    bridge = abs(y + 0.30 * high - 0.35 * side * side / xp.float32(xp.maximum(aside - wide, 0.03))) - thick * 0.9
    bridge = xp.maximum(bridge, side - (aside - 0.93 * wide))
    if kind == "aviator":
        bar = xp.maximum(abs(y + 0.72 * high) - thick * 0.8, side - (aside - 0.55 * wide))
        bridge = xp.minimum(bridge, bar)
    hinges = xp.maximum(abs(y + 0.40 * high) - thick * 1.2, abs(side - aside - wide) - 0.035)
    return lens, xp.minimum(abs(lens) - thick, xp.minimum(bridge, hinges))


def glint(u: Array, v: Array, lean: Number) -> Array:
    """Strength f32[...] of the two bright streaks across a lens.

    Args:
      u: f32[...], from the middle of a lens to the right, 1 at its rim.
      v: f32[...], from the middle down, 1 at the rim.
      lean: shift of the streaks by the direction of the light.
    """
    place = u + 0.6 * v + lean
    return smooth(0.28, 0.16, abs(place + 0.25)) + 0.6 * smooth(0.10, 0.04, abs(place - 0.25))


def clear_opacity(lens: Array, streak: Array, glare: Number) -> Array:
    """Opacity f32[...] of the white reflection in the lenses of eyeglasses.

    Args:
      lens: f32[...], signed distance to the lens.
      streak: f32[...], see `glint`.
      glare: strength of the streaks, in [0, 1].
    """
    return 0.05 + 0.32 * glare * streak * smooth(0.0, -0.06, lens)


DARK_OPACITY = 0.96  # of the lenses of sunglasses


def dark_colour(v: Array, streak: Array, tint: Array, sky: Array, mirror: Number, glare: Number) -> Array:
    """Linear colour of the lenses of sunglasses; all arrays broadcast together.

    Args:
      v: from the middle of a lens down, 1 at its rim.
      streak: see `glint`.
      tint: linear colour of the lens.
      sky: linear colour of what it reflects.
      mirror: strength of the reflected sky, in [0, 1].
      glare: strength of the streaks, in [0, 1].
    """
    lit = smooth(0.9, -1.0, v)
    colour = tint * (0.8 + 0.7 * smooth(-0.6, 1.0, v)) + sky * (mirror * 0.6) * lit * lit
    return colour + (0.06 + 0.10 * glare) * streak * sky


def spectacles_shadow(spectacles: Spectacles, x: Array, y: Array, away: Array, soft: Number) -> Array:
    """Share f32[...] of its light that skin loses to spectacles.

    Args:
      spectacles: the outline.
      x: f32[...], where the way to the light crosses the sheet, from the middle between the lenses to the right.
      y: f32[...], the same, down.
      away: f32[...], how far that is sideways of the skin.
      soft: width of a sample of the picture.
    """
    lens, rim = spectacles_distances(spectacles, x, y)
    blur = 0.035 + soft
    far = smooth(0.30, 0.10, away)
    dark = 0.26 * far * smooth(blur, -blur, rim)
    if spectacles.dark:
        dark = dark.__array_namespace__().maximum(dark, 0.24 * far * smooth(blur, -blur, lens))
    return dark


def beard_density(face: Any, s: Array, t: Array, q: Array) -> Array:
    """Density f32[...] in [0, 1] of a full beard, none on the lips.

    Args:
      face: an object with the parameters beard_cheek, of the mouth and of the nose.
      s: f32[...],
      t: f32[...], and
      q: f32[...], face coordinates.
    """
    xp = s.__array_namespace__()
    side = abs(s)
    area = beard_area(face, side, t, face.beard_cheek)
    burn = smooth(0.47, 0.54, side) * smooth(0.02, 0.2, t) * smooth(-0.02, 0.08, q) * smooth(0.40, 0.22, q - 0.5 * t)
    area = xp.maximum(area, burn) * smooth(-0.40, -0.22, q)
    x, line = lip_line(face, s)
    above = xp.float32(face.lip_upper + 0.012)
    below = xp.float32(face.lip_lower * 1.15 + 0.05 * face.mouth_open + 0.012)
    y = (t - line) / xp.where(t < line, above, below)
    lips = smooth(0.85, 1.25, x * x * 0.9 + y * y)
    nose = smooth(face.nose_length + 0.085, face.nose_length + 0.115, t + 0.25 * xp.maximum(side - 0.1, 0))
    nose = xp.maximum(nose, smooth(face.nose_width + 0.06, face.nose_width + 0.11, side))
    return area * lips * nose * smooth(-0.1, 0.1, t)


def beard_height(length: Number, s: Array, t: Array) -> Array:
    """Height f32[...] of a full beard over the skin; `length` is that of its hair."""
    chin = bell((s / 0.38) ** 2) * smooth(0.45, 0.95, t)
    return length * (0.35 + 0.65 * chin) + 0.25 * length * chin * smooth(0.8, 1, t)


def mustache_density(face: Any, kind: str, s: Array, t: Array, q: Array) -> Array:
    """Density f32[...] in [0, 1] of a mustache.

    Args:
      face: an object with the parameters mustache_thick and mustache_length, of the mouth and of the nose.
      kind: one of `MUSTACHES`.
      s: f32[...],
      t: f32[...], and
      q: f32[...], face coordinates.
    """
    xp = s.__array_namespace__()
    reach, high, raised, bend = MUSTACHES[kind]
    _, line = lip_line(face, s)
    half = face.mouth_width * face.mustache_length * reach
    x = abs(s) * (1.0 / half)
    lip = line - face.lip_upper * xp.sqrt(xp.maximum(1 - x * x, 0.1))
    room = face.mouth_height - face.lip_upper - face.nose_length - 0.09
    thick = max(room, 0.05) * (high * face.mustache_thick)
    middle = lip - raised * thick + bend * x * x
    if kind == "handlebar":
        middle = middle - 0.20 * xp.maximum(x - 0.72, 0) * 1.2
        thick = thick * (1.05 - 0.72 * x)
    else:
        thick = thick * (1.0 - 0.45 * x * x)
    y = abs(t - middle) / xp.maximum(thick, 0.008)
    return smooth(1.15, 0.55, y) * smooth(1.06, 0.92, x) * smooth(0.1, 0.25, q)


MUSTACHE_HEIGHT = 0.035  # over the skin, of usual thickness


def hair_strands(beard: bool, curl: Number, seed: Number, s: Array, t: Array) -> Array:
    """Noise f32[...] of facial hair, about -1 to 1.

    Args:
      beard: strands run down, as in a beard; else sideways, as in a mustache.
      curl: in [0, 1].
      seed: number of a pattern, 0 or more.
      s: f32[...], and
      t: f32[...], face coordinates.
    """
    flow = s * (1.0 + 0.5 * t) if beard else t * 1.4 + 0.4 * abs(s)
    along = t if beard else s
    wave = 0.03 * curl * along.__array_namespace__().sin(along * 60)
    fine = noise.wrapped(noise.strands(), (flow + wave) * 110 + 512 + seed, along * 55 + 512)
    return 0.7 * fine + 0.6 * noise.wrapped(noise.grain(), s * 120 + 300, t * 120 + 300)


def hair_look(area: Array, fine: Array, density: Number) -> tuple[Array, Array, Array]:
    """Look of facial hair.

    Args:
      area: f32[...], its density at each point, in [0, 1].
      fine: f32[...], see `hair_strands`.
      density: number of hairs, in [0, 1]; 1 is dense.

    Returns:
      f32[...] each: its brightness, about 1; its opacity; the share of sky light that reaches it.
    """
    thin = (1.0 - density) * (0.8 + 1.2 * fine)
    opacity = smooth(0.12, 0.62, area + 0.16 * fine * (1 - area) - thin)
    return 0.95 + 0.45 * fine, opacity, 0.62 + 0.38 * smooth(0.2, 1.0, area)
