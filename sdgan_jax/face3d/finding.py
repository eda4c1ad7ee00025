"""Finds the face in a photo of any size with a position network alone.

A face is where the network means the same place when it sees it twice, in two frames: on anything else it says where in
its frame faces usually lie, and that moves with the frame. Squares on a coarse pyramid are tried, the largest first;
around the best the frame is drawn again as the network knows it from its training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

from sdgan_jax.face3d.layout import Layout

Predict = Callable[[np.ndarray], np.ndarray]

# Of the score. The small network that comes with the project has 0.004 to 0.014 on photos of faces that it places well,
# 0.02 to 0.03 on such as are turned far, and 0.05 and more where there is none. One that always answers the mean face
# has about 0.2.
THRESHOLD = 0.03
SIZE = 256  # of the frames shown to the network
_BATCH = 8
_SCALES = (1.25, 1.0, 0.7, 0.5, 0.35)  # of the photo's shorter side; the smaller ones where the first two hold no face
_STEP = 0.3  # from one square to the next, in sides
_AGAIN = (0.08, -0.06, 1.15)  # the second frame: moved right and down, in sides, and larger
_ROUNDS = 2
_SMALLEST, _LARGEST = 0.2, 0.85  # mean side of a face's box in its frame


class Framing(NamedTuple):
    """How a network saw faces in its training.

    Attributes:
        share: of the frame's side, that the mean of width and height of the landmarks' box takes.
        x: of the box's centre in the frame, from 0 to 1. y: likewise.
    """

    share: float
    x: float
    y: float


MEGN = Framing(0.467, 0.50, 0.645)  # measured on 300 faces of `tfds_megn`
PRNET = Framing(0.625, 0.50, 0.50)  # Feng et al. 2018: a square of 1.6 times the box


class Found(NamedTuple):
    """A face in a photo.

    Attributes:
        position_map: f32[S,S,3], in pixels of the photo.
        score: how much two predictions disagree, as a share of the box's diagonal; small is good.
        box: f32[4], left, top, right, bottom of the landmarks.
    """

    position_map: np.ndarray
    score: float
    box: np.ndarray


def find(
    image: np.ndarray, predict: Predict, layout: Layout, framing: Framing = MEGN, threshold: float = THRESHOLD
) -> Found | None:
    """Looks for the largest certain face.

    Args:
        image: u8[H,W,3].
        predict: from f32[N,256,256,3] in [-1, 1] to position maps f32[N,S,S,3] in pixels of these frames.
        layout: of the maps.
        framing: of the faces that `predict` was trained on.
        threshold: of the score.

    Returns:
        The face, or None where no score is below the threshold.
    """
    height, width = image.shape[:2]
    for scales in (_SCALES[:2], _SCALES[2:]):
        best = _best(image, _pyramid(height, width, scales), predict, layout, framing)
        if best is not None and best.score < threshold:
            return best
    return None


def _best(image: np.ndarray, squares: np.ndarray, predict: Predict, layout: Layout, framing: Framing) -> Found | None:
    """The most certain face in the squares, framed again."""
    _, scores = _judge(image, squares, predict, layout)
    best = None
    # Squares are coarse; drawn again they may change places.
    for k in np.argsort(scores)[:3]:
        if not np.isfinite(scores[k]):
            continue
        maps, score = _predict(image, squares[k : k + 1], predict)[0], np.inf
        for _ in range(_ROUNDS):
            square = _framed(box_of(maps, layout), framing)
            found, (score,) = _judge(image, square[None], predict, layout)
            maps = found[0]
            if not np.isfinite(score):
                break
        if np.isfinite(score) and (best is None or score < best.score):
            best = Found(maps, float(score), box_of(maps, layout))
    return best


def box_of(position_map: np.ndarray, layout: Layout) -> np.ndarray:
    """Left, top, right, bottom f32[4] of the landmarks, at the nearest texels."""
    points = _landmarks(position_map[None], layout)[0]
    return np.concatenate([points.min(0), points.max(0)])


def _landmarks(maps: np.ndarray, layout: Layout) -> np.ndarray:
    """X, y of the landmarks, f32[N,68,2]."""
    size = maps.shape[1]
    j, i = np.clip(np.floor(np.asarray(layout.landmarks) * size).astype(int), 0, size - 1).T
    return maps[:, i, j, :2]


def _pyramid(height: int, width: int, scales: tuple[float, ...]) -> np.ndarray:
    """Squares f64[N,3], centre x, y and side; those larger than the photo reach over its edge."""
    squares = []
    for scale in scales:
        side = scale * min(height, width)
        rows, columns = (
            1 + max(0, int(np.ceil((length - side) / (_STEP * side) - 1e-6))) for length in (height, width)
        )
        for i in range(rows):
            for j in range(columns):
                y = 0.5 * height if rows == 1 else 0.5 * side + (height - side) * i / (rows - 1)
                x = 0.5 * width if columns == 1 else 0.5 * side + (width - side) * j / (columns - 1)
                squares.append((x - 0.5, y - 0.5, side))
    return np.array(squares)


def _framed(box: np.ndarray, framing: Framing) -> np.ndarray:
    """The square in which a box lies as in training."""
    left, top, right, bottom = box
    side = max(0.5 * (right - left + bottom - top) / framing.share, 8.0)
    x, y = 0.5 * (left + right), 0.5 * (top + bottom)
    return np.array([x + (0.5 - framing.x) * side, y + (0.5 - framing.y) * side, side])


def _judge(image: np.ndarray, squares: np.ndarray, predict: Predict, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Position maps in the photo, and scores f64[N], infinite where no face looks so."""
    right, down, larger = _AGAIN
    again = squares * np.array([1.0, 1.0, larger]) + squares[:, 2:] * np.array([right, down, 0.0])
    maps = _predict(image, np.concatenate([squares, again]), predict)
    first, second = (_landmarks(part, layout) for part in np.split(maps, 2))
    low, high = first.min(1), first.max(1)
    sides = high - low
    off = np.median(np.sqrt(np.square(first - second).sum(-1)), 1) / np.sqrt(np.square(sides).sum(-1) + 1e-6)
    share = sides.mean(-1) / squares[:, 2]
    centre = np.abs(0.5 * (low + high) - squares[:, :2]) / squares[:, 2:]
    eyes, mouth = first[:, 36:48].mean(1), first[:, 48:68].mean(1)
    upright = (mouth - eyes)[:, 1] > np.abs((mouth - eyes)[:, 0])
    good = (share > _SMALLEST) & (share < _LARGEST) & (centre < 0.4).all(-1) & upright & np.isfinite(off)
    return maps[: len(squares)], np.where(good, off, np.inf)


def _predict(image: np.ndarray, squares: np.ndarray, predict: Predict) -> np.ndarray:
    """Position maps f32[N,S,S,3], in pixels of the photo, of what the squares frame."""
    maps = []
    for first in range(0, len(squares), _BATCH):
        some = squares[first : first + _BATCH]
        frames = np.stack([cut(image, square, SIZE) for square in some]).astype(np.float32) / 127.5 - 1.0
        full = np.concatenate([frames, np.zeros((_BATCH - len(some), *frames.shape[1:]), np.float32)])  # one shape
        found = np.asarray(predict(full))[: len(some)]
        ratio = (some[:, 2] / SIZE)[:, None, None, None]
        corner = np.concatenate([some[:, :2] - 0.5 * some[:, 2:], np.zeros((len(some), 1))], 1)[:, None, None]
        half = np.array([0.5, 0.5, 0.0])
        maps.append((found + half) * ratio + corner)
    return np.concatenate(maps).astype(np.float32)


def cut(image: np.ndarray, square: np.ndarray, size: int) -> np.ndarray:
    """A square of a photo, antialiased; beyond the photo's edge its rim repeats.

    Args:
        image: u8[H,W,3].
        square: f64[3], centre x, y and side in pixels.
        size: of the result.

    Returns:
        u8[size,size,3].
    """
    x, y, side = square
    left, top = x + 0.5 - 0.5 * side, y + 0.5 - 0.5 * side
    height, width = image.shape[:2]
    # What is wanted of the photo, and what must be added to it.
    first_x, first_y = (int(np.floor(p)) - 2 for p in (left, top))
    last_x, last_y = (int(np.ceil(p + side)) + 2 for p in (left, top))
    rows = np.clip(np.arange(first_y, last_y), 0, height - 1)
    columns = np.clip(np.arange(first_x, last_x), 0, width - 1)
    inner = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if len(rows) != inner.shape[0] or len(columns) != inner.shape[1]:
        inner = inner[rows - rows[0]][:, columns - columns[0]]
    box = (left - first_x, top - first_y, left - first_x + side, top - first_y + side)
    return np.asarray(Image.fromarray(inner).resize((size, size), Image.Resampling.BILINEAR, box=box))
