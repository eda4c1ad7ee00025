"""The renderer's eyeglasses and sunglasses: a curved sheet before the eyes, cut by an outline, and temples."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from tfds_megn import attire
from tfds_megn.attire import SHEET_RADIUS, Spectacles
from tfds_megn.head import Head
from tfds_megn.scene import Frame
from tfds_megn.skin import linear
from tfds_megn.surface import MEAN_AXES, radius, smooth


def put_on(frame: Frame, head: Head, name: str, touched: np.ndarray) -> None:
    """Draws eyeglasses or sunglasses, with their shadow.

    Args:
      frame: the picture of the bare face; it is changed.
      head: the head in it.
      name: "eyeglasses" or "sunglasses".
      touched: bool[N], set on the rays that are changed.
    """
    shape, height = _fit(frame.face, head, name)
    colour = _rim_colour(frame.face, shape)
    _cast_shadow(frame, shape, height, touched)
    _draw_temples(frame, shape, height, colour, touched)
    m = frame.turn
    box = frame.window(-1.0, -0.75, 1.0, 0.75)
    ox, oy, oz = (frame.start[k].reshape(frame.side, -1)[box] for k in range(3))
    oz = oz - shape.axis
    dx, dy, dz = (float(m[2, k]) for k in range(3))
    a, b, c = dx * dx + dz * dz, ox * dx + oz * dz, ox * ox + oz * oz - SHEET_RADIUS * SHEET_RADIUS
    root = np.sqrt(np.maximum(b * b - a * c, 0.0))
    z = (root - b) * (1 / a)
    px, py, pz = ox + z * dx, oy + z * dy, oz + z * dz
    on = (pz > 0) & (np.abs(px) < 0.75) & (np.abs(py - height) < 0.4)
    on &= z > frame.z.reshape(frame.side, -1)[box] - 0.03
    rows, i, j = frame.within(box, on)
    at = i * px.shape[1] + j
    px, py, pz = px.take(at), py.take(at) - height, pz.take(at)
    lens, rim = attire.spectacles_distances(shape, px, py)
    soft = frame.soft
    nx, ny, nz = frame.to_camera(px * (1 / SHEET_RADIUS), np.zeros_like(px), pz * (1 / SHEET_RADIUS))
    _draw_lenses(frame, shape, rows, lens, px, py, touched)
    alpha = smooth(soft, -soft, rim)
    round_off = np.clip(rim * (1 / shape.thick) + 1.0, -1, 1)  # the rim is a rounded bar
    lit = frame.shade(colour[:, None] * (1.15 - 0.3 * round_off), (nx, ny - 0.2, nz), 1.0, 0.12, sharp=5)
    frame.over(rows, lit, alpha, touched)


def _fit(face: SimpleNamespace, head: Head, name: str) -> tuple[Spectacles, float]:
    """The outline of the spectacles on this face, and the height y of its middle in the frame of the head."""
    a, b, c = MEAN_AXES
    s, t = face.eye_spacing, face.eye_height
    points = np.array([[s, t], [0.0, t + 0.02], [0.22, t - 0.15], [0.45, t + 0.16]], np.float32)
    d = np.stack([points[:, 0], points[:, 1], c * np.sqrt(1 - (points[:, 0] / a) ** 2 - (points[:, 1] / b) ** 2)])
    d = (d / np.sqrt((d * d).sum(0))).astype(np.float32)
    p = d * radius(head.skin, d)
    sheet = p[2] - np.sqrt(SHEET_RADIUS**2 - p[0] ** 2)  # where the cylinder's axis must lie to touch each point
    dark = name == "sunglasses"
    size, thick = (face.sun_size, face.sun_thick) if dark else (face.rim_size, face.rim_thick)
    kind = list(attire.LENSES[name])[int(face.sun_shape if dark else face.rim_shape)]
    wide, high, _ = attire.LENSES[name][kind]
    shape = Spectacles(
        name, kind, aside=max(float(p[0, 0]), wide * size + 0.045), wide=wide * size, high=high * size,
        thick=attire.half_thickness(thick), axis=float(sheet.max()) + 0.035,
    )  # fmt: skip
    return shape, float(p[1, 0]) + attire.LENS_ABOVE


def _rim_colour(face: SimpleNamespace, shape: Spectacles) -> np.ndarray:
    """Linear colour f32[3] of rims and temples."""
    return linear(*((face.sun_r, face.sun_g, face.sun_b) if shape.dark else (face.rim_r, face.rim_g, face.rim_b)))


def _draw_lenses(
    frame: Frame, shape: Spectacles, rows: np.ndarray, lens: np.ndarray, px: np.ndarray, py: np.ndarray,
    touched: np.ndarray,
) -> None:  # fmt: skip
    f = frame.face
    on = np.flatnonzero(lens < frame.soft)
    rows, lens = rows[on], lens[on]
    u = (np.abs(px[on]) - shape.aside) * np.sign(px[on]) * (1 / shape.wide)
    v = py[on] * (1 / shape.high)
    inside = smooth(frame.soft, -frame.soft, lens)
    streak = attire.glint(u, v, 1.2 * float(np.sin(f.light_azimuth + f.yaw)))
    if shape.dark:
        tint = linear(f.lens_r, f.lens_g, f.lens_b)[:, None]
        sky = ((frame.sky + 0.35 * frame.key) * np.float32(0.8))[:, None]
        colour = attire.dark_colour(v, streak, tint, sky, f.lens_mirror, f.glare)
        frame.over(rows, colour.astype(np.float32), attire.DARK_OPACITY * inside, touched)
    else:
        white = ((frame.sky + 0.5 * frame.key) * np.float32(0.9))[:, None]
        frame.over(rows, white, inside * attire.clear_opacity(lens, streak, f.glare), touched)


def _draw_temples(frame: Frame, shape: Spectacles, height: float, colour: np.ndarray, touched: np.ndarray) -> None:
    for sign in (-1.0, 1.0):
        x, y = shape.hinge
        z = shape.axis + np.sqrt(max(SHEET_RADIUS**2 - x * x, 0.0))
        ear, *inward = attire.temple_end(MEAN_AXES[0] * frame.face.head_width)
        along = np.linspace(0, 1, 6)[:, None]
        begin, end = np.array([sign * x, height + y, z - 0.01], np.float32), np.array([sign * ear, *inward], np.float32)
        path = begin * (1 - along) + end * along
        length = np.sqrt((path * path).sum(1))  # push the bar out of the temple where the head bulges
        skin = radius(frame.head.skin, (path / length[:, None]).T)
        path = (path * (np.maximum(length, skin + 0.015) / length)[:, None]).astype(np.float32)
        frame.stroke(path, max(shape.bar_width, attire.LEAST_BAR), colour, touched, bias=0.06)


def _cast_shadow(frame: Frame, shape: Spectacles, height: float, touched: np.ndarray) -> None:
    """Darkens the skin from which the way to the light crosses the sheet inside the outline."""
    rows = frame.head_rows[np.abs(frame.y[frame.head_rows]) < 0.75]
    px, py, pz = frame.head_points(rows, frame.z[rows])
    near = np.flatnonzero((np.abs(py - height) < 0.5) & (pz > 0.2) & (np.abs(px) < 0.75))
    rows, px, py, pz = rows[near], px[near], py[near], pz[near]
    lx, ly, lz = (float(v) for v in frame.turn.T @ frame.light)
    gap = np.clip(shape.axis + np.sqrt(SHEET_RADIUS**2 - px * px) - pz, 0.0, 0.5)
    k = gap * (1.0 / max(lz, 0.35))
    away = k * (lx * lx + ly * ly) ** 0.5
    frame.darken(rows, attire.spectacles_shadow(shape, px + lx * k, py + ly * k - height, away, frame.soft), touched)
