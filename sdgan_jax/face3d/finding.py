"""Finds the face in a photo of any size with a position network alone.

A face is where the network means the same place however it is framed, and where eyes are to be seen: on anything else
it says where in its frame faces usually lie, and that moves with the frame. Squares on a coarse pyramid are tried, the
largest first; the best are framed again as the network knows faces from its training, and these alone are scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image

import tfds_megn
from sdgan_jax import pictures
from sdgan_jax.face3d.layout import Layout

Predict = Callable[[np.ndarray], np.ndarray]

THRESHOLD = 0.0125  # of the score, see `Found`
SIZE = 256  # of the frames shown to the network
MOST_SQUARES = 128  # tried of each scale; a photo of 16:9 has 120 of the smallest, strips are covered more thinly
SCALES = (1.25, 1.0, 0.7, 0.5, 0.35)  # of the photo's shorter side
_LARGE = 2  # scales looked at first; the others follow where these hold no face
_BATCH = 8
_FINEST = 1024  # pixels: of photos whose shorter side is longer, large frames are cut from a smaller copy
_STEP = 0.3  # from one square to the next, in sides
_ROUNDS = 2
_CANDIDATES = 3
_SMALLEST, _LARGEST = 0.2, 0.85  # mean side of a face's box in its frame
_OUTLANDISH = 0.25  # of `_misshapen`; faces of photos have up to 0.15, a mean face half as wide has 0.26
_FINE, _COARSE = 1 / 64, 6 / 64  # of the UV square: what is smoothed away, and the neighbourhood that is compared with
_FAINTEST = 3.0  # contrast of a plain neighbourhood, in levels of 255
# Frames of a square: moved right and down, in sides; how much larger; turned clockwise, in degrees. The first is the
# square itself. The second alone goes with it while squares are searched, the others when a candidate is scored.
_FRAMES = np.array([
    (0.0, 0.0, 1.0, 0.0), (0.08, -0.06, 1.15, 0.0),
    (-0.08, 0.06, 0.9, 0.0), (0.12, 0.1, 1.0, 0.0), (-0.12, -0.1, 1.0, 0.0), (0.0, 0.0, 1.3, 0.0),
    (0.0, 0.0, 0.82, 0.0), (0.0, 0.0, 1.0, -10.0), (0.0, 0.0, 1.0, 10.0), (0.0, 0.0, 1.0, -20.0),
    (0.0, 0.0, 1.0, 20.0),
])  # fmt: skip


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
        score: disagreement times unlikeness; small is good. Disagreement: how far the landmarks lie from where another
            frame has them, as a share of their box's diagonal; the median of the 68, and of ten frames that are moved,
            larger, smaller and turned. Unlikeness: 1 - r, where r in [-1, 1] is the correlation of brows, eyes and
            nose, unwrapped, with those of a mean face. Calibrated for the network that comes with the project on 140
            pictures of people whose landmarks are known, and these turned and upside down: below the threshold are 105
            of the 140, all of them right (off by less than 0.15 of the face's size; 133 have a right place at all), and
            no wrong place, the best of which has 0.0137; of 62 pictures without a face none, the best has 0.031; and 40
            of 40 rendered faces.
        box: f32[4], left, top, right, bottom of the landmarks.
    """

    position_map: np.ndarray
    score: float
    box: np.ndarray


def find(
    image: np.ndarray, predict: Predict, layout: Layout, framing: Framing = MEGN, threshold: float = THRESHOLD
) -> Found | None:
    """Looks for the most certain face, among the large ones first.

    Args:
        image: u8[H,W,3]. At most `MOST_SQUARES` of each of the `SCALES` are looked at, whatever its size and shape.
        predict: from f32[N,256,256,3] in [-1, 1] to position maps f32[N,S,S,3] in pixels of these frames.
        layout: of the maps.
        framing: of the faces that `predict` was trained on.
        threshold: of the score.

    Returns:
        The face, or None where no score is below the threshold.
    """
    levels, (height, width) = _levels(image), image.shape[:2]
    for scales in (SCALES[:_LARGE], SCALES[_LARGE:]):
        best = _best(levels, _pyramid(height, width, scales), predict, layout, framing)
        if best is not None and best.score < threshold:
            return best
    return None


def _best(
    levels: list[np.ndarray], squares: np.ndarray, predict: Predict, layout: Layout, framing: Framing
) -> Found | None:
    """The most certain face in the squares, framed again."""
    first, second = np.moveaxis(_look(levels, squares, _FRAMES[:2], predict, layout), 1, 0)
    scores = np.where(_plausible(first, squares), _disagreement(first, second), np.inf)
    order = np.argsort(scores)[:_CANDIDATES]  # squares are coarse; framed again they may change places
    points = first[order[np.isfinite(scores[order])]]
    for _ in range(_ROUNDS):
        squares = _framed(points, framing)
        points = _look(levels, squares, _FRAMES[:1], predict, layout)[:, 0]
        points = points[_plausible(points, squares)]
    squares = _framed(points, framing)
    maps = list(_predict(levels, squares, _FRAMES, predict))
    candidates = [
        _scored(levels, square, maps[k * len(_FRAMES) : (k + 1) * len(_FRAMES)], layout)
        for k, square in enumerate(squares)
    ]
    return min((one for one in candidates if np.isfinite(one.score)), key=lambda one: one.score, default=None)


def _scored(levels: list[np.ndarray], square: np.ndarray, maps: list[np.ndarray], layout: Layout) -> Found:
    """The face of a square by the maps of its frames; the score is infinite where it is none."""
    position_map, score = maps[0], np.inf
    points = np.stack([_landmarks(one, layout)[:, :2] for one in maps])
    plausible = np.isfinite(position_map).all() and _plausible(points[:1], square[None])[0]
    if plausible and _misshapen(position_map, layout) < _OUTLANDISH:
        at = (position_map - _corner(square)) * (SIZE / square[2]) - 0.5
        score = np.median(_disagreement(points[:1], points[1:])) * _unlikeness(_cut(levels, square), at, layout)
    return Found(position_map, float(score), box_of(position_map, layout))


def box_of(position_map: np.ndarray, layout: Layout) -> np.ndarray:
    """Left, top, right, bottom f32[4] of the landmarks, at the nearest texels."""
    points = _landmarks(position_map, layout)[:, :2]
    return np.concatenate([points.min(0), points.max(0)])


def _landmarks(position_map: np.ndarray, layout: Layout) -> np.ndarray:
    """The landmarks f32[68,3], at the nearest texels."""
    size = len(position_map)
    j, i = np.clip(np.floor(np.asarray(layout.landmarks) * size).astype(int), 0, size - 1).T
    return position_map[i, j]


def _pyramid(height: int, width: int, scales: tuple[float, ...]) -> np.ndarray:
    """Squares f64[N,3], centre x, y and side; those larger than the photo reach over its edge."""
    squares = []
    for scale in scales:
        side, step = scale * min(height, width), _STEP
        while True:
            rows, columns = (
                1 + max(0, int(np.ceil((length - side) / (step * side) - 1e-6))) for length in (height, width)
            )
            if rows * columns <= MOST_SQUARES:
                break
            step *= 1.02
        for i in range(rows):
            for j in range(columns):
                y = 0.5 * height if rows == 1 else 0.5 * side + (height - side) * i / (rows - 1)
                x = 0.5 * width if columns == 1 else 0.5 * side + (width - side) * j / (columns - 1)
                squares.append((x - 0.5, y - 0.5, side))
    return np.array(squares)


def _framed(points: np.ndarray, framing: Framing) -> np.ndarray:
    """The squares f64[N,3] in which landmarks f32[N,68,2] lie as in training."""
    low, high = points.min(1), points.max(1)
    side = np.maximum((high - low).mean(-1, keepdims=True) / framing.share, 8.0)
    return np.concatenate([0.5 * (low + high) + (0.5 - np.array([framing.x, framing.y])) * side, side], 1)


def _plausible(points: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Size, place and direction of landmarks f32[N,68,2] in their squares are those of a face: bool[N]."""
    low, high = points.min(1), points.max(1)
    share = (high - low).mean(-1) / squares[:, 2]
    centre = np.abs(0.5 * (low + high) - squares[:, :2]) / squares[:, 2:]
    down, right = (points[:, 48:68].mean(1) - points[:, 36:48].mean(1)).T[::-1]  # from the eyes to the mouth
    return (share > _SMALLEST) & (share < _LARGEST) & (centre < 0.4).all(-1) & (down > np.abs(right))


def _misshapen(position_map: np.ndarray, layout: Layout) -> float:
    """Distance of landmarks to a mean head's after the best similarity (Umeyama 1991), in deviations of the latter."""
    ours, mean = (_landmarks(table, layout).astype(np.float64) for table in (position_map, layout.head))
    ours, mean = ours - ours.mean(0), mean - mean.mean(0)
    u, size, vt = np.linalg.svd(mean.T @ ours)
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    scale = (size * flip).sum() / (np.square(ours).sum() + 1e-9)
    rest = scale * ours @ ((u * flip) @ vt).T - mean
    return float(np.sqrt(np.square(rest).sum() / np.square(mean).sum()))


def _disagreement(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The median distance of landmarks f32[N,68,2], as a share of the diagonal of the first ones' box; f64[N]."""
    sides = first.max(1) - first.min(1)
    return np.median(np.sqrt(np.square(first - second).sum(-1)), 1) / np.sqrt(np.square(sides).sum(-1) + 1e-6)


def _unlikeness(frame: np.ndarray, position_map: np.ndarray, layout: Layout) -> float:
    """1 - r, r the correlation of brows, eyes and nose in a frame u8[S,S,3] with those of a mean face; from 0 to 2.

    Compared is the relief: how much brighter a texel is than its neighbourhood, as a share of the contrast there.
    """
    every = max(1, len(position_map) // 64)
    here = np.asarray(layout.face & layout.regions[..., :2].any(-1))[::every, ::every]
    at, mean, face = (part[::every, ::every] for part in (position_map, layout.head, np.asarray(layout.face)))
    head = _mean_face()
    ours, theirs = (
        _relief(_unwrap(picture, places), face)[here]
        for picture, places in ((frame, at), (head, (mean + 1.0) * (0.5 * len(head)) - 0.5))
    )
    ours, theirs = ours - ours.mean(), theirs - theirs.mean()
    return float(1.0 - (ours @ theirs) / np.sqrt((ours @ ours) * (theirs @ theirs) + 1e-6))


def _unwrap(picture: np.ndarray, position_map: np.ndarray) -> np.ndarray:
    """Brightness f64[S,S] of a picture u8[H,W,3] at the nearest pixels; the rim repeats."""
    j, i = (np.clip(np.round(position_map[..., k]).astype(int), 0, picture.shape[1 - k] - 1) for k in range(2))
    return picture[i, j].mean(-1)


def _relief(brightness: np.ndarray, face: np.ndarray) -> np.ndarray:
    """Brightness relative to the neighbourhood on the face, f64[S,S], in deviations."""
    places = np.arange(len(face))

    def smooth(values: np.ndarray, width: float) -> np.ndarray:
        kernel = np.exp(-0.5 * np.square((places[:, None] - places) / (width * len(face))))
        return (kernel @ (values * face) @ kernel) / np.maximum(kernel @ face @ kernel, 1e-6)

    detail = smooth(brightness, _FINE) - smooth(brightness, _COARSE)
    return detail / np.sqrt(smooth(np.square(detail), _COARSE) + _FAINTEST**2)


@lru_cache(maxsize=1)
def _mean_face() -> np.ndarray:
    """A picture u8[256,256,3] of the face whose surface is `Layout.head`: from the front, as large as the picture."""
    mean = np.mean([tfds_megn.sample_params(k) for k in range(128)], 0)
    for name, value in {"yaw": 0, "pitch": 0, "roll": 0, "scale": 1, "shift_x": 0, "shift_y": 0}.items():
        mean[tfds_megn.PARAM_NAMES.index(name)] = value
    return np.asarray(tfds_megn.render(mean, "none", 256))


def _look(
    levels: list[np.ndarray], squares: np.ndarray, frames: np.ndarray, predict: Predict, layout: Layout
) -> np.ndarray:
    """X, y of the landmarks that are seen in each frame of each square, f32[N,F,68,2]."""
    points = [_landmarks(one, layout)[:, :2] for one in _predict(levels, squares, frames, predict)]
    return np.array(points, np.float32).reshape(len(squares), len(frames), len(layout.landmarks), 2)


def _predict(
    levels: list[np.ndarray], squares: np.ndarray, frames: np.ndarray, predict: Predict
) -> Iterator[np.ndarray]:
    """Position maps f32[S,S,3], in pixels of the photo, of what each frame of each square shows, in their order."""
    places = [(square, frame) for square in squares for frame in frames]
    for first in range(0, len(places), _BATCH):
        some = [(_moved(square, frame), frame[3]) for square, frame in places[first : first + _BATCH]]
        full = np.zeros((_BATCH, SIZE, SIZE, 3), np.float32)  # one shape
        for k, (square, degrees) in enumerate(some):
            full[k] = pictures.to_float(_cut(levels, square, degrees))
        for found, (square, degrees) in zip(np.asarray(predict(full)), some, strict=False):
            c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
            middle = np.array([0.5 * SIZE - 0.5, 0.5 * SIZE - 0.5, 0.0])
            back = (found - middle) @ np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
            yield ((back + middle + [0.5, 0.5, 0.0]) * (square[2] / SIZE) + _corner(square)).astype(np.float32)


def _moved(square: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Returns the square that a frame covers."""
    right, down, larger, _ = frame
    x, y, side = square
    return np.array([x + right * side, y + down * side, larger * side])


def _corner(square: np.ndarray) -> np.ndarray:
    """Returns the top left corner of a square in the photo, f64[3]; add it to places in the frame."""
    x, y, side = square
    return np.array([x - 0.5 * side, y - 0.5 * side, 0.0])


def _levels(image: np.ndarray) -> list[np.ndarray]:
    """The photo, and halves of it while frames of its size would cost more than the network."""
    levels = [image]
    while min(levels[-1].shape[:2]) >= _FINEST:
        levels.append(np.asarray(Image.fromarray(levels[-1]).reduce(2)))
    return levels


def _cut(levels: list[np.ndarray], square: np.ndarray, degrees: float = 0.0) -> np.ndarray:
    """The frame u8[256,256,3] of a square of the photo, what it shows turned clockwise."""
    k = int(np.clip(np.log2(2 * square[2] / _FINEST), 0, len(levels) - 1))
    small = np.array([(square[0] + 0.5) / 2**k - 0.5, (square[1] + 0.5) / 2**k - 0.5, square[2] / 2**k])
    if degrees == 0:
        return cut(levels[k], small, SIZE)
    margin = int(np.ceil(0.5 * SIZE * (np.sqrt(2.0) - 1.0)))
    around = SIZE + 2 * margin
    wide = Image.fromarray(cut(levels[k], small * [1.0, 1.0, around / SIZE], around))
    turned = wide.rotate(-degrees, Image.Resampling.BILINEAR)
    return np.asarray(turned)[margin:-margin, margin:-margin]


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
