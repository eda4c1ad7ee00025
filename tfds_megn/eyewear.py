"""Eyeglasses and sunglasses: a curved sheet before the eyes, cut into lenses, rims, bridge; and temples."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from tfds_megn.head import Head
from tfds_megn.scene import Frame
from tfds_megn.skin import linear
from tfds_megn.surface import MEAN_AXES, radius, smooth

_BEND = 1.25  # radius of the sheet, an upright cylinder


def put_on(frame: Frame, head: Head, name: str, touched: np.ndarray) -> None:
    """Draws eyeglasses or sunglasses, with their shadow; marks the rays it changes in `touched`."""
    shape = _fit(frame.face, head, name)
    _shadow(frame, shape, touched)
    _temples(frame, shape, touched)
    m = frame.turn
    box = frame.window(-1.0, -0.75, 1.0, 0.75)
    ox, oy, oz = (frame.start[k].reshape(frame.side, -1)[box] for k in range(3))
    oz = oz - shape.axis
    dx, dy, dz = (float(m[2, k]) for k in range(3))
    a, b, c = dx * dx + dz * dz, ox * dx + oz * dz, ox * ox + oz * oz - _BEND * _BEND
    root = np.sqrt(np.maximum(b * b - a * c, 0.0))
    z = (root - b) * (1 / a)
    px, py, pz = ox + z * dx, oy + z * dy, oz + z * dz
    on = (pz > 0) & (np.abs(px) < 0.75) & (np.abs(py - shape.y) < 0.4)
    on &= z > frame.z.reshape(frame.side, -1)[box] - 0.03
    rows, i, j = frame.within(box, on)
    on = i * px.shape[1] + j
    px, py, pz = px.take(on), py.take(on), pz.take(on)
    lens, rim = _distances(shape, px, py)
    soft = frame.soft
    normal = frame.to_camera(px * (1 / _BEND), np.zeros_like(px), pz * (1 / _BEND))
    _lenses(frame, shape, rows, lens, px, py, touched)
    alpha = smooth(soft, -soft, rim)
    round_off = np.clip(rim * (1 / shape.thick) + 1.0, -1, 1)  # the rim is a rounded bar
    nx, ny, nz = normal
    colour = frame.shade(shape.rim[:, None] * (1.15 - 0.3 * round_off), (nx, ny - 0.2, nz), 1.0, 0.12, sharp=5)
    frame.over(rows, colour, alpha, touched)


def _fit(face: SimpleNamespace, head: Head, name: str) -> SimpleNamespace:
    """Places the spectacles on this face and collects their style."""
    a, b, c = MEAN_AXES
    s, t = face.eye_spacing, face.eye_height
    points = np.float32([[s, t], [0.0, t + 0.02], [0.22, t - 0.15], [0.45, t + 0.16]])
    d = np.stack([points[:, 0], points[:, 1], c * np.sqrt(1 - (points[:, 0] / a) ** 2 - (points[:, 1] / b) ** 2)])
    d = (d / np.sqrt((d * d).sum(0))).astype(np.float32)
    p = d * radius(head.skin, d)
    sheet = p[2] - np.sqrt(_BEND**2 - p[0] ** 2)  # where the cylinder's axis must lie to touch each point
    sun = name == "sunglasses"
    size = face.sun_size if sun else face.rim_size
    kind = int(face.sun_shape if sun else face.rim_shape)
    half = ((0.205, 0.190), (0.225, 0.190), (0.23, 0.165), (0.23, 0.160)) if sun else (
        (0.195, 0.180), (0.205, 0.155), (0.215, 0.145), (0.215, 0.150))  # fmt: skip
    x_eye, w = float(p[0, 0]), half[kind][0] * size
    return SimpleNamespace(
        sun=sun, kind=kind, w=w, h=half[kind][1] * size, x=max(x_eye, w + 0.045), y=float(p[1, 0]) + 0.012,
        axis=float(sheet.max()) + 0.035, thick=(face.sun_thick if sun else face.rim_thick) * 0.5 + 0.004,
        rim=linear(*((face.sun_r, face.sun_g, face.sun_b) if sun else (face.rim_r, face.rim_g, face.rim_b))),
        power=((2.0, 2.3, 3.4, 2.6), (2.0, 2.3, 4.0, 2.8))[not sun][kind],
    )  # fmt: skip


def _distances(shape: SimpleNamespace, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """About the signed distances, in head units, to the lenses and to the frame (rims and bridge)."""
    side = np.abs(x)
    u = (side - shape.x) * (1 / shape.w)
    v = (y - shape.y) * (1 / shape.h)
    if shape.sun and shape.kind == 1:  # aviator: a drop that falls outwards
        v = v - 0.10 - 0.12 * u
        u = u * (1.0 + 0.22 * np.clip(v, -1, 1)) - 0.04
    elif shape.sun and shape.kind == 2:  # wayfarer: wider above
        u = u * (1.0 + 0.14 * np.clip(v, -1, 1))
    elif shape.kind == 3:  # cat-eye: the outer corner is raised
        v = v + 0.30 * np.clip(u + 0.2, 0, 2) * smooth(0.6, -0.6, v)
        u = u * (1.0 + 0.10 * np.clip(v, -1, 1))
    n = shape.power
    lens = ((np.abs(u) ** n + np.abs(v) ** n) ** (1.0 / n) - 1.0) * min(shape.w, shape.h)
    rim = np.abs(lens) - shape.thick
    bridge = (
        np.abs(y - shape.y + 0.30 * shape.h - 0.35 * side * side / max(shape.x - shape.w, 0.03)) - shape.thick * 0.9
    )
    bridge = np.maximum(bridge, side - (shape.x - 0.93 * shape.w))
    if shape.sun and shape.kind == 1:
        bar = np.maximum(np.abs(y - shape.y + 0.72 * shape.h) - shape.thick * 0.8, side - (shape.x - 0.55 * shape.w))
        bridge = np.minimum(bridge, bar)
    hinge = np.maximum(
        np.abs(y - shape.y + 0.40 * shape.h) - shape.thick * 1.2, np.abs(side - shape.x - shape.w) - 0.035
    )
    return lens, np.minimum(rim, np.minimum(bridge, hinge))


def _lenses(
    frame: Frame, shape: SimpleNamespace, rows: np.ndarray, lens: np.ndarray, px: np.ndarray, py: np.ndarray,
    touched: np.ndarray,
) -> None:  # fmt: skip
    f = frame.face
    on = np.flatnonzero(lens < frame.soft)
    rows, lens = rows[on], lens[on]
    u = (np.abs(px[on]) - shape.x) * np.sign(px[on]) * (1 / shape.w)
    v = (py[on] - shape.y) * (1 / shape.h)
    inside = smooth(frame.soft, -frame.soft, lens)
    lean = u + 0.6 * v + 1.2 * float(np.sin(f.light_azimuth + f.yaw))
    streak = smooth(0.28, 0.16, np.abs(lean + 0.25)) + 0.6 * smooth(0.10, 0.04, np.abs(lean - 0.25))
    if shape.sun:
        tint = linear(f.lens_r, f.lens_g, f.lens_b)[:, None]
        sky = ((frame.sky + 0.35 * frame.key) * np.float32(0.8))[:, None]
        lit = smooth(0.9, -1.0, v)
        colour = tint * (0.8 + 0.7 * smooth(-0.6, 1.0, v)) + sky * (f.lens_mirror * 0.6) * lit * lit
        colour = colour + (0.06 + 0.10 * f.glare) * streak * sky
        frame.over(rows, colour.astype(np.float32), 0.96 * inside, touched)
    else:
        white = ((frame.sky + 0.5 * frame.key) * np.float32(0.9))[:, None]
        frame.over(rows, white, inside * (0.05 + 0.32 * f.glare * streak * smooth(0.0, -0.06, lens)), touched)


def _temples(frame: Frame, shape: SimpleNamespace, touched: np.ndarray) -> None:
    f = frame.face
    for sign in (-1.0, 1.0):
        x = shape.x + shape.w + 0.02
        z = shape.axis + np.sqrt(max(_BEND**2 - x * x, 0.0))
        ear = MEAN_AXES[0] * f.head_width + 0.035
        y = shape.y - 0.40 * shape.h
        along = np.linspace(0, 1, 6)[:, None]
        path = np.float32([sign * x, y, z - 0.01]) * (1 - along) + np.float32([sign * ear, 0.0, -0.10]) * along
        length = np.sqrt((path * path).sum(1))  # push the bar out of the temple where the head bulges
        skin = radius(frame.head.skin, (path / length[:, None]).T)
        path = (path * (np.maximum(length, skin + 0.015) / length)[:, None]).astype(np.float32)
        frame.stroke(path, max(shape.thick * 1.7, 0.020), shape.rim, touched, bias=0.06)


def _shadow(frame: Frame, shape: SimpleNamespace, touched: np.ndarray) -> None:
    """Where the way from the skin to the light crosses the sheet inside the frame."""
    rows = frame.head_rows[np.abs(frame.y[frame.head_rows]) < 0.75]
    px, py, pz = frame.head_points(rows, frame.z[rows])
    near = np.flatnonzero((np.abs(py - shape.y) < 0.5) & (pz > 0.2) & (np.abs(px) < 0.75))
    rows, px, py, pz = rows[near], px[near], py[near], pz[near]
    lx, ly, lz = (float(v) for v in frame.turn.T @ frame.light)
    gap = np.clip(shape.axis + np.sqrt(_BEND**2 - px * px) - pz, 0.0, 0.5)
    k = gap * (1.0 / max(lz, 0.35))
    lens, rim = _distances(shape, px + lx * k, py + ly * k)
    blur = 0.035 + frame.soft
    far = smooth(0.30, 0.10, k * (lx * lx + ly * ly) ** 0.5)
    dark = 0.26 * far * smooth(blur, -blur, rim)
    if shape.sun:
        dark = np.maximum(dark, 0.24 * far * smooth(blur, -blur, lens))
    frame.darken(rows, dark, touched)
