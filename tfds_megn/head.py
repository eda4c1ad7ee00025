"""One person's head: skull, features and hair as a radial surface in the frame of `surface`."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from tfds_megn import noise
from tfds_megn.additions import ADDITIONS
from tfds_megn.surface import (
    MEAN_AXES,
    Directions,
    bell,
    box_blur,
    cells,
    directions,
    lookup,
    smooth,
    surface_normals,
)


@dataclass(frozen=True)
class Head:
    """One person's head as tables over directions.

    Attributes:
      skin: f32[G,G] radius of the bare head.
      full: f32[G,G] radius with the hair on it.
      hair: f32[G,G] depth inside the hairline, positive where hair grows.
      maps: six f32[G,G]: normal (head frame), cavity shade in [0,1], hair, share of the light that no part
        of the head keeps away; of the surface with hair.
    """

    grid: Directions
    skin: np.ndarray
    full: np.ndarray
    hair: np.ndarray
    maps: tuple[np.ndarray, ...]


def build(face: SimpleNamespace, count: int) -> Head:
    """Tabulates one person's head on `count` x `count` directions."""
    grid = directions(count)
    skin = bare(face, count)
    hair = _hair_depth(face, grid)
    full = skin + _hair_thickness(face, grid, hair)
    normals = surface_normals(full, grid.d)
    cavity = np.clip(1.0 - 6.0 * (box_blur(full, max(1, count // 24)) - full), 0.48, 1.06)
    light = pose_matrix(face).T @ light_direction(face)
    return Head(grid, skin, full, hair, (*normals, cavity, hair, cast_shadow(full, grid, light)))


def bare(face: SimpleNamespace, count: int) -> np.ndarray:
    """Radius f32[G,G] of one person's head without hair on `count` x `count` directions."""
    grid = directions(count)
    skin = _skull(face, grid)
    skin[grid.front] += _features(face, grid)
    return skin


def _skull(face: SimpleNamespace, grid: Directions) -> np.ndarray:
    """Radius of the featureless head: a blunt ellipsoid, narrower at the jaw, cut back below the ears."""
    a, b, c = MEAN_AXES
    t, q = _right(grid.t), _right(grid.q)
    a = a * face.head_width * (1.0 + face.jaw_width * smooth(0.15, 0.85, t))
    c = c * face.head_depth * np.where(q < 0, np.float32(1.06), np.float32(1.0))
    x, y, z = (np.abs(_right(d) / axis) for d, axis in zip(grid.d, (a, b, c), strict=True))
    r = (x * x * np.sqrt(np.sqrt(x)) + y * y * np.sqrt(np.sqrt(y)) + z * z * np.sqrt(np.sqrt(z))) ** (-1.0 / 2.25)
    r *= 1.0 - 0.22 * smooth(0.2, 0.8, t) * smooth(0.30, -0.35, q)
    r *= 1.0 + face.chin_length * smooth(0.5, 1.0, t) * smooth(0.0, 0.4, q)
    return _mirrored(r, grid.count)


def _right(table: np.ndarray) -> np.ndarray:
    """The right half of a table, with the middle column if there is one."""
    return table[:, table.shape[1] // 2 :]


def _mirrored(half: np.ndarray, width: int) -> np.ndarray:
    """The table f32[G,width] whose right half is given; faces are the same on both sides."""
    return np.concatenate([half[:, ::-1][:, : width // 2], half], axis=1)


def _features(face: SimpleNamespace, grid: Directions) -> np.ndarray:
    """Height of the face's features over the skull, on the front part of the grid."""
    s, t, q = (_right(part[grid.front]) for part in (grid.s, grid.t, grid.q))

    def bump(s0: float, t0: float, width: float, height: float) -> np.ndarray:
        x, y = (s - s0) * (1.0 / width), (t - t0) * (1.0 / height)
        return bell(x * x + y * y)

    eye_s, eye_t, mouth, nose = face.eye_spacing, face.eye_height, face.mouth_height, face.nose_length
    r = face.forehead * bump(0.0, -0.5, 0.45, 0.35)
    r += face.brow_ridge * bump(0.24, eye_t - 0.15, 0.22, 0.075)
    r -= face.eye_depth * bump(eye_s, eye_t, 0.19, 0.13)
    r += 0.6 * face.eye_depth * bump(eye_s, eye_t + 0.005, 0.125, 0.085)
    r += face.cheek_bone * bump(0.42, 0.20, 0.20, 0.14)
    r += face.cheek_full * bump(0.42, 0.46, 0.26, 0.26)
    r += (0.035 + 0.03 * max(face.smile, 0)) * bump(0.33, 0.36, 0.15, 0.13)
    r += 0.055 * bump(0.0, mouth, 0.30, 0.20)
    r += 0.065 * bump(0.0, 0.90, face.chin_width + 0.05, 0.10)
    r += 0.162 * face.jaw_depth * bump(0.0, 0.787, 0.245, 0.101)  # the chin comes forward; see `uv`
    r -= 0.035 * bump(0.0, mouth + 0.135, 0.18, 0.05)
    r -= 0.05 * bump(0.70, -0.22, 0.16, 0.22)
    # Nose: a ridge that rises from the bridge to the tip and drops away under it.
    climb = np.clip((t - (eye_t - 0.14)) * (1.0 / (nose - eye_t + 0.14)), 0.0, 1.0)
    ridge = face.nose_bridge * smooth(-0.1, 0.45, climb) + (face.nose_height - face.nose_bridge) * climb * climb
    ridge *= smooth(0.105 * (face.nose_under / ADDITIONS["nose_under"]), 0.0, t - nose + 0.30 * s)
    girth = 0.078 + 0.85 * (face.nose_width - 0.07) * climb * climb
    r += ridge * bell((s / girth) ** 2)
    r += face.nose_tip * bump(0.0, nose - 0.005, 0.075, 0.065)
    r += 0.060 * bump(face.nose_width, nose + 0.035, 0.052, 0.048)
    # Lips, and the groove between them; open lips move apart.
    gap = 0.035 * face.mouth_open
    bend = -0.10 * face.smile * np.minimum((s * (1.0 / face.mouth_width)) ** 2, 1.5) * face.mouth_width
    line = mouth + bend
    x = s * (1.0 / (face.mouth_width * 0.8))
    across = bell(np.square(x * x))
    r += 0.030 * across * bell(((t - line + 0.55 * face.lip_upper + gap) * (1 / 0.032)) ** 2)
    r += 0.036 * across * bell(((t - line - 0.55 * face.lip_lower - gap) * (1 / 0.038)) ** 2)
    r -= (0.022 + 0.03 * face.mouth_open) * across * bell(((t - line) * (1 / (0.014 + gap))) ** 2)
    fold = bell(((s - 0.16 - 0.30 * (t - 0.36)) * (1 / 0.03)) ** 2) * smooth(0.34, 0.42, t) * smooth(0.75, 0.6, t)
    r -= (0.006 + 0.018 * face.age + 0.008 * max(face.smile, 0)) * fold
    return _mirrored(r * smooth(-0.05, 0.18, q), grid.s[grid.front].shape[1])


def _hair_depth(face: SimpleNamespace, grid: Directions) -> np.ndarray:
    """Returns the distance of each direction inside the hairline (a cosine, positive where hair grows)."""
    if face.hair_volume <= 0.0:
        return np.full_like(grid.s, -1.0)
    s, t, q, side = grid.s, grid.t, grid.q, np.abs(grid.s)
    h = -0.75 * grid.d[1] - 0.66 * grid.d[2] + 0.075 - face.hair_line
    front = smooth(0.0, 0.35, q)
    shape = bell(np.square(np.square(s * (1 / 0.52)))) * (1.0 + 0.9 * face.hair_sweep * s)
    h += 0.44 * face.hair_fringe * front * shape
    h += 0.05 * noise.smooth_noise(grid.count, int(face.hair_seed), 18)
    h -= 0.25 * face.hair_recede * bell(((side - 0.34) / 0.16) ** 2 + ((t + 0.72) / 0.2) ** 2) * front
    burn = bell(((q - 0.20) / 0.11) ** 2 + ((t - 0.02) / 0.20) ** 2) * smooth(0.5, 0.62, side)
    h += 0.16 * face.hair_side * burn
    h -= 0.9 * face.hair_crown * smooth(0.1, -0.35, t) * smooth(0.66, 0.3, side)
    return h.astype(np.float32)


def _hair_thickness(face: SimpleNamespace, grid: Directions, hair: np.ndarray) -> np.ndarray:
    """Height of the hair over the skull."""
    if face.hair_volume <= 0.0:
        return np.zeros_like(hair)
    lumps = noise.smooth_noise(grid.count, int(face.hair_seed), 10) * (0.14 + 0.14 * face.hair_curl)
    top = 0.55 + 0.65 * smooth(0.2, -0.8, grid.t)
    top += (0.45 if face.hair_length > 0 or face.hair_curl > 0.75 else 0.0) * smooth(-0.6, 0.1, grid.t)
    loose = face.hair_length > 0 or face.hair_fringe > 0.4 or face.hair_curl > 0.75
    if not face.hair_length > 0:
        top *= 1.0 - (0.75 if face.hair_curl < 0.75 else 0.3) * smooth(-0.45, 0.05, grid.t) * smooth(-0.5, 0.0, grid.q)
    return face.hair_volume * top * smooth(-0.01, 0.20 if loose else 0.42, hair) * (1.0 + lumps)


def light_direction(face: SimpleNamespace) -> np.ndarray:
    """Unit vector f32[3] towards the light, camera frame."""
    az, el = face.light_azimuth, face.light_elevation
    return np.array([np.sin(az) * np.cos(el), -np.sin(el), np.cos(az) * np.cos(el)], dtype=np.float32)


def cast_shadow(r: np.ndarray, grid: Directions, light: np.ndarray) -> np.ndarray:
    """Share f32[G,G] of the light (a head frame direction) that reaches each point of a radial surface.

    A few points on the way to the light are compared with the surface under them; a near miss is half a
    shadow. Done on every second direction, then smoothed.
    """
    count = grid.count
    flat = r.reshape(-1)
    p = (grid.d[:, ::2, ::2] * r[::2, ::2]).reshape(3, -1)
    facing = np.flatnonzero(p[2] > -0.1)
    p = p[:, facing]
    steps = np.array([[0.05], [0.10], [0.17], [0.26], [0.38]], np.float32)
    x, y, z = (p[k] + steps * light[k] for k in range(3))
    length, at, fu, fv = cells(x, y, z, count)
    length -= lookup(flat, at, fu, fv, count)
    length += 0.006
    length *= np.float32(1.0) / (np.float32(0.16) * steps + np.float32(0.012))
    clear = length.min(0)
    lit = np.ones(((count + 1) // 2) ** 2, dtype=np.float32)
    lit[facing] = (clear + 0.5).clip(0.0, 1.0)
    lit = lit.reshape((count + 1) // 2, -1).repeat(2, 0).repeat(2, 1)[:count, :count]
    return box_blur(lit, max(1, count // 128))


def pose_matrix(face: SimpleNamespace) -> np.ndarray:
    """f32[3,3], camera = matrix @ head: yaw about y, then pitch about x, then roll about z.

    Positive yaw turns the nose to the right of the picture, positive pitch down, positive roll clockwise.
    """
    cy, sy, cp, sp = np.cos(face.yaw), np.sin(face.yaw), np.cos(face.pitch), np.sin(face.pitch)
    cr, sr = np.cos(face.roll), np.sin(face.roll)
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (roll @ pitch @ yaw).astype(np.float32)
