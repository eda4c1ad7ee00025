"""Hats, and hands in front of varied faces: objects that cover a part of a face and are none of its attributes."""

from __future__ import annotations

import numpy as np

from tfds_megn import noise, scene
from tfds_megn.scene import Frame
from tfds_megn.skin import linear

CAP, BRIM, WOOL = 1, 2, 3  # values of the parameter `hat`
_CROWN = (0.0, -0.28, -0.10)  # centre of a hat's crown in the frame of the head
_FINGERS = 4


def draw_hat(frame: Frame) -> None:
    """Draws the hat, if the face has one: an ellipsoid cut off above the brows, and a visor or a brim."""
    f, kind = frame.face, int(frame.face.hat)
    if not kind:
        return
    edge = -0.62 + 0.36 * f.hat_low  # its lower edge at the forehead, in half heights of the head
    room, thick = f.head_width + f.hair_volume, 1.4 * f.hair_volume  # of the hair at its thickest
    _draw_part(frame, _CROWN, (0.80 * f.head_width + thick, 0.88 + thick, 1.02 + thick), edge)
    if kind == CAP:
        _draw_part(frame, (0.0, edge + 0.02, 0.72), (0.60 * room, 0.045, 0.62), None)
    elif kind == BRIM:
        _draw_part(frame, (0.0, edge + 0.02, -0.05), (1.30 * room, 0.05, 1.42), None)


def _draw_part(frame: Frame, centre: tuple, axes: tuple, edge: float | None) -> None:
    """Draws an ellipsoid of cloth, its part above `edge`; at the back of the head the edge is lower."""
    f = frame.face
    rows, z, (nx, ny, nz), _ = scene.meet_ellipsoid(frame, centre, axes)
    px, py, pz = frame.head_points(rows, z)
    on = np.arange(len(rows)) if edge is None else np.flatnonzero(py < edge + 0.35 * np.maximum(0.3 - pz, 0.0))
    px, py, nx, ny, nz = (part[on] for part in (px, py, nx, ny, nz))
    weave = noise.wrapped(noise.strands(), px * 60 + 512, py * 60 + 512)
    amount = 0.3 if int(f.hat) == WOOL else 0.08
    cloth = linear(f.hat_r, f.hat_g, f.hat_b).clip(0.004)[:, None] * (1.0 + amount * weave)
    colour = frame.shade(cloth.astype(np.float32), frame.to_camera(nx, ny, nz), 0.9, 0.03, sharp=3)
    frame.put(rows[on], z[on], colour)


def draw_hand(frame: Frame) -> None:
    """Draws the hand, if there is one: four fingers side by side before the face, and the hand that they belong to."""
    f = frame.face
    if not f.hand:
        return
    touched = np.zeros(frame.side * frame.side, dtype=bool)
    skin = linear(f.skin_r, f.skin_g, f.skin_b) * np.array([0.95, 0.85, 0.82], np.float32)
    along = np.array([np.cos(f.hand_turn), np.sin(f.hand_turn)])
    across = np.array([-along[1], along[0]])
    tip = np.array([f.hand_x, f.hand_y])
    for k in range(_FINGERS):
        first = tip + (0.135 * (k - 1.5)) * across - (0.06 * abs(k - 1.2)) * along
        path = [first, first - 0.28 * along, first - 0.6 * along + 0.02 * (1.5 - k) * across]
        frame.stroke(_before(frame, path), 0.135, skin, touched)
    palm = [tip - 0.75 * along, tip - 1.9 * along]
    frame.stroke(_before(frame, palm), 0.56, skin, touched)


def _before(frame: Frame, path: list) -> np.ndarray:
    """Returns points f32[k,3] of the head's frame that lie before the face at places (x, y) of the picture."""
    points = np.concatenate([np.array(path), np.full((len(path), 1), 1.3)], 1)
    return (points @ frame.turn).astype(np.float32)
