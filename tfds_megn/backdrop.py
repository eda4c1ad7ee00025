"""Busy backgrounds of varied faces, in the place of `scene.background`'s plain ones."""

from __future__ import annotations

import numpy as np

from tfds_megn import noise
from tfds_megn.scene import Frame

PLAIN = 4  # kinds of background below this are `scene.background`'s
_THINGS = 24


def draw(frame: Frame) -> None:
    """Draws the background where its kind is one of those here: 4 is noise of several scales, 5 is clutter."""
    kind = int(frame.face.back_kind)
    if kind < PLAIN:
        return
    rng = np.random.default_rng((1, int(frame.face.back_seed)))
    picture = _clouds(frame, rng) if kind == PLAIN else _clutter(frame, rng)
    frame.colour[:] = np.square(picture.clip(0.03, 1.0)).reshape(3, -1)


def _clouds(frame: Frame, rng: np.random.Generator) -> np.ndarray:
    """Returns noise f32[3,S,S] of several scales, in sRGB: leaves, cloth, stone."""
    side = frame.side
    picture = np.empty((3, side, side), np.float32)
    picture[:] = np.array(rng.uniform(0.1, 0.9, 3) * 0.4 + 0.6 * rng.uniform(0.1, 0.9), np.float32)[:, None, None]
    for cells in (3, 7, 17, 41, 90):
        if rng.uniform() < 0.7:
            tint = rng.uniform(0.02, 0.3) * (0.6 + 0.4 * rng.uniform(-1, 1, 3))
            layer = noise.smooth_noise(noise.SIDE, int(rng.integers(0, 16)), cells)
            rows, columns = (
                (np.arange(side) * (noise.SIDE * rng.uniform(0.4, 1.0) / side) + rng.integers(0, 256)).astype(int)
                for _ in range(2)
            )
            layer = layer[rows[:, None] % noise.SIDE, columns % noise.SIDE]
            picture += tint.astype(np.float32)[:, None, None] * layer
    return picture


def _clutter(frame: Frame, rng: np.random.Generator) -> np.ndarray:
    """Returns boxes and discs f32[3,S,S] of many sizes and colours, in sRGB."""
    line = np.linspace(0, 1, frame.side, dtype=np.float32)
    picture = np.empty((3, frame.side, frame.side), np.float32)
    picture[:] = rng.uniform(0.1, 0.9, 3).astype(np.float32)[:, None, None]
    for _ in range(_THINGS):
        (x, y), (w, h) = rng.uniform(0, 1, 2), 0.3 * rng.uniform(0.05, 1, 2) ** 2 + 0.01
        left, right = np.searchsorted(line, (x - w, x + w))
        top, bottom = np.searchsorted(line, (y - h, y + h))
        box = np.s_[:, top:bottom, left:right]
        colour = rng.uniform(0.05, 0.95, 3).astype(np.float32)[:, None, None]
        if rng.uniform() < 0.4:
            rho = ((line[left:right] - x) / w) ** 2 + (((line[top:bottom] - y) / h) ** 2)[:, None]
            picture[box] = np.where(rho < 1, colour, picture[box])
        else:
            picture[box] = colour
    return picture
