"""Colour of the bare face: skin, brows, eyes and lips, evaluated where the rays meet it, in face coordinates.

Colours are linear (sRGB squared) f32[3,N], one plane each; face coordinates s, t, q are those of
`surface.face_coordinates`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from tfds_megn import noise
from tfds_megn.additions import ADDITIONS
from tfds_megn.surface import bell, smooth


def linear(*rgb: float) -> np.ndarray:
    """Converts sRGB in [0, 1] to the linear scale that shading uses, f32[3]."""
    return np.square(np.array(rgb, dtype=np.float32))


def scatter(planes: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
    """Sets `planes[:, rows]` of f32[3,N], plane by plane: a third of the time of doing so at once."""
    for plane, value in zip(planes, values, strict=True):
        plane[rows] = value


def blend(colour: np.ndarray, other: np.ndarray, alpha: np.ndarray) -> None:
    """Moves colour f32[3,n] towards `other`, f32[3] or f32[3,n], by `alpha` f32[n], in place."""
    move = (other if other.ndim == 2 else other[:, None]) - colour
    move *= alpha
    colour += move


def paint(
    face: SimpleNamespace, s: np.ndarray, t: np.ndarray, q: np.ndarray, soft: float
) -> tuple[np.ndarray, np.ndarray]:
    """Colours the bare face.

    Args:
      face: the named parameters.
      s: f32[N],
      t: f32[N], and
      q: f32[N], face coordinates.
      soft: width of an edge in face coordinates (about a pixel), so that fine lines do not flicker.

    Returns:
      albedo f32[3,N], linear, and gloss f32[N] in [0, 1].
    """
    albedo = np.empty((3, len(s)), dtype=np.float32)
    albedo[:] = linear(face.skin_r, face.skin_g, face.skin_b)[:, None]
    gloss = np.full(len(s), 0.22, dtype=np.float32)
    front = np.flatnonzero((q > 0.0) & (t > -0.75))
    s, t = s[front], t[front]
    side = np.abs(s)
    colour, shine = albedo.take(front, 1), gloss[front]
    colour *= _complexion(face, s, side, t)

    def part(paint_on: Callable, t0: float, height: float, s0: float, width: float) -> None:
        """Paints on the points around (s0, t0)."""
        rows = np.flatnonzero((np.abs(t - t0) < height) & (np.abs(side - s0) < width))
        here, glint = colour.take(rows, 1), shine[rows]
        paint_on(face, here, glint, s[rows], t[rows], soft)
        scatter(colour, rows, here)
        shine[rows] = glint

    part(_brows, face.eye_height - 0.16, 0.16, 0.0, 0.56)
    part(_nostrils, face.nose_length + 0.05, 0.12, 0.0, 0.28)
    part(_mouth, face.mouth_height, 0.24, 0.0, 0.40)
    part(_eyes, face.eye_height, 0.16, face.eye_spacing, 0.24)
    scatter(albedo, front, colour)
    gloss[front] = shine
    return albedo, gloss


def _complexion(face: SimpleNamespace, s: np.ndarray, side: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Factor f32[3,n] of mottling, blush, freckles, age lines and the shadow of a shaved beard."""
    seed = face.skin_seed
    mottle = noise.wrapped(noise.grain(), t * 60 + seed, s * 60 + 300 + seed)
    tint = np.empty((3, len(s)), dtype=np.float32)
    tint[:] = 1.0 + (0.02 + 0.03 * face.age) * mottle
    cheek = bell(((side - 0.36) / 0.17) ** 2 + ((t - 0.32) / 0.14) ** 2)
    nose = bell((side / 0.10) ** 2 + ((t - face.nose_length) / 0.09) ** 2)
    red = (cheek + 0.7 * nose) * (0.30 * face.blush)
    tint[1] -= red
    tint[2] -= 0.85 * red
    if face.freckles > 0:
        spots = noise.wrapped(noise.grain(), t * 110 + 57, s * 110 + 300 + seed)
        where = bell(((side - 0.22) / 0.26) ** 2 + ((t - 0.24) / 0.18) ** 2)
        spots = 1.0 - 0.6 * face.freckles * where * smooth(0.22, 0.5, spots)
        tint *= spots * np.array([[1], [0.98], [0.94]], np.float32)
    lines = np.zeros_like(s)
    if face.age > 0.3:
        deep = (face.age - 0.3) * 1.2
        wave = 0.012 * np.cos(s * 14)
        for t0 in (-0.30, -0.38, -0.46):
            lines += bell(((t - t0 - wave) / 0.010) ** 2) * smooth(0.42, 0.2, side)
        bag = (side - face.eye_spacing) / 0.13
        lines += 1.3 * bell((((t - face.eye_height - 0.135 + 0.05 * bag * bag) / 0.014) ** 2) + np.square(bag * bag))
        lines *= 0.22 * deep
    ring = bell(((side - face.eye_spacing) / 0.17) ** 2 + ((t - face.eye_height - 0.02) / 0.12) ** 2)
    tint *= 1.0 - lines - (0.14 + 0.10 * face.age) * ring
    if face.stubble > 0:
        jaw = beard_area(face, side, t, 0.35) * (0.75 + 0.25 * noise.wrapped(noise.grain(), t * 170, s * 170 + 300))
        dark = linear(face.hair_r, face.hair_g, face.hair_b) * 0.5 + 0.06
        base = linear(face.skin_r, face.skin_g, face.skin_b)
        tint *= 1.0 + (dark / base - 1.0)[:, None] * (0.55 * face.stubble * jaw)
    return tint


def beard_area(face: Any, side: Any, t: Any, cheek: Any) -> Any:
    """Density f32[...] in [0, 1] of a beard on cheeks and jaw; `cheek` in [0, 1] raises its upper edge.

    Args:
      face: an object with the parameter mouth_height.
      side: |s| f32[...], and
      t: f32[...], face coordinates, arrays of numpy or jax.
      cheek: a number.
    """
    xp, mouth = side.__array_namespace__(), face.mouth_height
    upper = mouth + 0.04 - 0.12 * cheek - 0.55 * xp.maximum(side - 0.22, 0.0) - 1.1 * xp.maximum(side - 0.42, 0)
    upper = xp.where(side < 0.24, mouth - 0.17 + 0.9 * xp.maximum(side - 0.12, 0.0) * (1 - 0.6 * cheek), upper)
    return smooth(-0.02, 0.05, t - upper)


def lip_line(face: Any, s: Any) -> tuple[Any, Any]:
    """The line where the lips meet, at s f32[...] of numpy or jax: x in [-1, 1] along the mouth, and t."""
    width = face.mouth_width * (1.0 + 0.14 * face.smile)
    x = s * (1.0 / width)
    return x, face.mouth_height - 0.05 * face.smile * (x * x).clip(None, 1.6) + 0.012 * bell((x / 0.25) ** 2)


def lip_reach(face: SimpleNamespace, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Heights of the upper and the lower lip, and the distance of open lips from their line, along the mouth."""
    root = np.sqrt((1.0 - x * x).clip(0.0, 1.0))
    upper = face.lip_upper * root * (1.0 - 0.16 * bell((x / 0.14) ** 2))
    return upper, face.lip_lower * 1.1 * root, 0.055 * face.mouth_open * root


def _mouth(
    face: SimpleNamespace, colour: np.ndarray, gloss: np.ndarray, s: np.ndarray, t: np.ndarray, soft: float
) -> None:
    x, line = lip_line(face, s)
    upper, lower, gap = lip_reach(face, x)
    y = t - line
    on = smooth(-soft, soft, y + upper + gap) * smooth(soft, -soft, y - lower - gap) * (np.abs(x) < 1)
    lip = linear(face.lip_r, face.lip_g, face.lip_b)
    tone = (1.05 - np.float32(0.23) * (y < 0)) * lip[:, None]
    blend(colour, tone, 0.92 * on)
    gloss += 0.3 * on * (y > 0)
    thin = 0.010 + 0.4 * soft
    seam = bell((np.maximum(np.abs(y) - gap, 0.0) / thin) ** 2) * smooth(1.08, 0.9, np.abs(x))
    blend(colour, lip * 0.12, (0.85 * seam).clip(0.0, 1.0))
    if face.mouth_open > 0.05:
        hole = smooth(0.0, -0.008, np.abs(y) - gap)
        blend(colour, linear(0.22, 0.07, 0.07), hole)
        teeth = (
            hole * smooth(face.teeth, face.teeth - 0.2, (y + gap) / (2 * gap + 1e-4)) * smooth(0.95, 0.75, np.abs(x))
        )
        blend(
            colour,
            linear(0.86, 0.83, 0.78),
            teeth * smooth(0.15, 0.35, np.full_like(x, face.mouth_open)),
        )
    gloss *= 1.0 - seam.clip(0.0, 1.0)


def _nostrils(
    face: SimpleNamespace, colour: np.ndarray, gloss: np.ndarray, s: np.ndarray, t: np.ndarray, soft: float
) -> None:
    side = np.abs(s)
    x = (side - 0.56 * face.nose_width) / (0.34 * face.nose_width)
    y = (t - face.nose_length - (face.nose_under - 0.015) + 0.010 * x) / 0.017
    skin = linear(face.skin_r, face.skin_g, face.skin_b)
    blend(colour, skin * 0.14, 0.80 * bell((x * x + y * y) ** 2))
    x = (side - face.nose_width - 0.055) / 0.018  # the crease around the wing
    y = (t - face.nose_length - 0.03) / 0.05
    blend(colour, skin * 0.4, 0.45 * bell(x * x + y * y))


def brow_line(face: SimpleNamespace, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The middle of a brow, |s| and t, at x from -1 (inner end) to 1."""
    mid = face.eye_height - 0.155 - 0.03 * face.brow_raise - face.brow_arch * (1.0 - (x - 0.2) ** 2) + 0.012 * x
    return face.eye_spacing + 0.01 + brow_shift(face) + face.brow_half * x, mid


def brow_shift(face: SimpleNamespace) -> float:
    """Distance by which the middle of a long brow lies further out; brows grow outwards more than inwards."""
    return 0.6 * (face.brow_half - ADDITIONS["brow_half"])


def lid_lines(face: SimpleNamespace, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """|s| of an eye, and t of its upper and its lower lid, at x from -1 (inner corner) to 1."""
    level = face.eye_height - face.eye_size * face.eye_tilt * x
    top, bottom = (level + face.eye_size * y for y in _lids(face, x))
    return face.eye_spacing + face.eye_size * x, top, bottom


def _lids(face: SimpleNamespace, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower lid over the line between the corners, in half widths of the eye."""
    root = np.sqrt((1.0 - x * x).clip(0.0, 1.0))
    arch = root * np.sqrt(root)
    return -0.43 * face.eye_open * arch, 0.26 * arch


def _brows(
    face: SimpleNamespace, colour: np.ndarray, gloss: np.ndarray, s: np.ndarray, t: np.ndarray, soft: float
) -> None:
    side = np.abs(s)
    x = (side - face.eye_spacing - 0.01 - brow_shift(face)) * (1.0 / face.brow_half)
    _, mid = brow_line(face, x)
    thick = face.brow_thick * (1.05 - 0.45 * x.clip(-1, 1)) * np.sqrt((1.02 - x * x).clip(0.0, 1.0))
    y = np.abs(t - mid)
    hairs = noise.wrapped(noise.strands(), (side * 0.8 + t * 1.2) * 190, t * 60 + 128)
    on = smooth(soft * 0.8 + 0.008, -soft * 0.8 - 0.008, y - thick) * (0.82 + 0.25 * hairs) * (np.abs(x) < 1.02)
    hair = linear(face.hair_r, face.hair_g, face.hair_b) * 0.55 + 0.35 * linear(0.16, 0.11, 0.09)
    blend(colour, hair, (face.brow_density * on).clip(0.0, 1.0))


def _eyes(
    face: SimpleNamespace, colour: np.ndarray, gloss: np.ndarray, s: np.ndarray, t: np.ndarray, soft: float
) -> None:
    """Paints eyelids, white, iris, pupil, highlight and lashes."""
    sign = np.sign(s)
    size = face.eye_size
    x = (np.abs(s) - face.eye_spacing) * (1.0 / size)  # -1 at the inner, 1 at the outer corner
    y = (t - face.eye_height) * (1.0 / size) + face.eye_tilt * x
    top, bottom = _lids(face, x)
    edge = soft / size
    inside = smooth(-edge, edge, y - top) * smooth(edge, -edge, y - bottom) * (np.abs(x) < 1)
    skin = linear(face.skin_r, face.skin_g, face.skin_b)
    # The crease of the upper lid, and the lid between crease and lashes.
    crease = top - 0.20 - 0.04 * x
    reach = smooth(1.25, 0.9, np.abs(x))
    blend(colour, skin * 0.35, 0.5 * bell(((y - crease) / (0.055 + 0.5 * edge)) ** 2) * reach)
    blend(
        colour,
        skin * 0.55,
        (0.25 + 0.3 * face.lash) * smooth(crease, crease + 0.15, y) * (y < top) * reach,
    )
    # The eyeball.
    white = linear(0.90, 0.88, 0.86)[:, None] * (0.62 + 0.38 * smooth(0.0, 0.3, y - top) * smooth(1.0, 0.55, np.abs(x)))
    px = x - sign * 0.45 * face.gaze_x + 0.04
    py = y + 0.06 - 0.25 * face.gaze_y
    rho = np.sqrt(px * px + py * py)
    iris_size, pupil = 0.405, 0.165
    ring = linear(face.iris_r, face.iris_g, face.iris_b)[:, None] * (
        0.65 + 0.6 * smooth(0.12, 0.36, rho) + 0.35 * smooth(-0.1, 0.3, py)
    )
    ring *= 1.0 - 0.7 * smooth(0.31, 0.40, rho)
    ball = white + (ring - white) * smooth(iris_size + edge, iris_size - edge, rho)
    ball *= (1.0 - smooth(pupil + edge, pupil - edge, rho)) * np.float32(0.97) + np.float32(0.02)
    hx = px * sign - (0.13 if face.light_azimuth > 0 else -0.13)
    spark = bell(((hx * hx + (py + 0.14) ** 2) / (0.085 + 0.3 * edge) ** 2) ** 2)
    ball += (np.float32(1.1) - ball) * (0.9 * spark)
    shade = 0.55 + 0.45 * smooth(0.0, 0.22, y - top)
    blend(colour, ball * shade, inside)
    gloss *= 1.0 - inside
    # Lashes: a dark line along the upper lid, thicker outwards; a faint one below; the tear corner.
    line = 0.05 + 0.05 * face.lash + 0.03 * x
    dark = bell((np.maximum(np.abs(y - top + 0.02) - 0.4 * line, 0) / (line + 0.35 * edge)) ** 2) * smooth(
        1.12, 0.95, np.abs(x)
    )
    blend(colour, linear(0.10, 0.06, 0.05), (0.55 + 0.4 * face.lash) * dark)
    low = bell(((y - bottom - 0.02) / (0.05 + 0.4 * edge)) ** 2) * smooth(1.1, 0.9, np.abs(x))
    blend(colour, skin * 0.3, (0.3 + 0.25 * face.lash) * low)
    corner = bell(((x + 0.95) / 0.10) ** 2 + (y / 0.10) ** 2)
    blend(colour, skin * np.array([0.9, 0.5, 0.5], np.float32), 0.7 * corner)
