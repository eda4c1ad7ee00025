"""Frames cut out of a photo, from copies of it that are not much larger than they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from sdgan_jax import pictures
from sdgan_jax.face3d import alignment

SIZE = 256  # side of a frame in pixels, by default
_FINER = 2  # pixels of a copy along a side of a frame's pixel, at least: with fewer, halving would be seen
_SMALLEST = 128  # shorter side of the smallest copy, at least


def halvings(image: np.ndarray) -> list[np.ndarray]:
    """Returns the photo and copies of half the size each, so that cutting large frames costs less than the network."""
    levels = [image]
    while min(levels[-1].shape[:2]) >= 2 * _SMALLEST:
        levels.append(np.asarray(Image.fromarray(levels[-1]).reduce(2)))
    return levels


def level_for(levels: Sequence[np.ndarray], side: float, size: int) -> int:
    """Returns the number of the smallest copy from which a square of this side is cut with `size` pixels a side."""
    return int(np.clip(np.log2(side / (_FINER * size)), 0, len(levels) - 1))


def cut_frame(levels: Sequence[np.ndarray], square: np.ndarray, degrees: float = 0.0, size: int = SIZE) -> np.ndarray:
    """Cuts a square of the photo as a frame u8[size,size,3], its content rotated clockwise."""
    k = level_for(levels, square[2], size)
    small = np.append(pictures.scale_positions(square[:2], 0.5**k), square[2] / 2**k)
    return alignment.cut(levels[k], small, size, degrees)
