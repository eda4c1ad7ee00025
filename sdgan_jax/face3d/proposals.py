"""Proposes the places in a photo where faces may be, by the directions of its edges.

Histograms of oriented gradients (Dalal and Triggs 2005) are compared with those of faces by one linear filter, the
discriminant of Hariharan, Malik and Ramanan 2012, on copies of the photo at many sizes. That takes a hundredth of the
time of a network. It finds almost every face, and other places too, so that networks have to look at each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from sdgan_jax.face3d import alignment, cutting, detection

CELL = 4  # pixels along a side of a cell
DIRECTIONS = 9  # of edges in a cell, over half a turn
WINDOW = 10  # cells along a side of the filter
NUMBERS = 1 + WINDOW**2 * DIRECTIONS  # of the filter: its offset and its weights
FACE = 24  # mean side of a face's box in pixels, at the size at which the filter fits it
STEP = 2**-0.25  # ratio of the sizes of one copy and the next
_MARGIN = 5  # cells beyond the edge of a photo
_OVERLAP = 0.5  # share that the boxes of two proposals may have in common
_OTHER_SCALES = (0.4, 0.6, 1.0, 1.8)  # of places without a face, in scales of the faces
_RIDGE = 1e-4
_LEAST = 12.0  # least side of a face in pixels
_MOST_PIXELS = 1 << 22  # of a copy; in narrower strips, small faces are not looked for
_UNLIKE = 2.0  # smallest likeness of a proposal
_FAINTEST = 1.0  # added to the squared contrast of a neighbourhood, in levels of 255


def cells(brightness: np.ndarray) -> np.ndarray:
    """Returns the strength of edges by direction in each cell, relative to the contrast around it.

    Args:
        brightness: f32[H,W] in levels of 255.

    Returns:
        f32[H/4,W/4,9], square roots.
    """
    height, width = (length // CELL for length in brightness.shape)
    across, down = np.zeros_like(brightness), np.zeros_like(brightness)
    across[:, 1:-1] = brightness[:, 2:] - brightness[:, :-2]
    down[1:-1] = brightness[2:] - brightness[:-2]
    across, down = (part[: height * CELL, : width * CELL] for part in (across, down))
    # An edge counts for the two nearest directions.
    slack = np.float32(np.cos(np.pi / DIRECTIONS)) * np.sqrt(across * across + down * down)
    found = np.empty((height, width, DIRECTIONS), np.float32)
    for k, angle in enumerate(np.arange(DIRECTIONS, dtype=np.float32) * np.float32(np.pi / DIRECTIONS)):
        along = np.abs(across * np.cos(angle) + down * np.sin(angle)) - slack
        found[..., k] = _means(np.maximum(along, 0.0, out=along))
    energy = np.pad(np.square(found).sum(-1), 1, mode="edge")
    around = sum(energy[i : i + height, j : j + width] for i in range(3) for j in range(3))
    return np.sqrt(found / np.sqrt(around + _FAINTEST)[..., None])


def _means(values: np.ndarray) -> np.ndarray:
    """Returns the means f32[h,w] of the cells of f32[4h,4w]."""
    rows = values.reshape(-1, CELL, values.shape[1]).sum(1)
    return rows.reshape(len(rows), -1, CELL).sum(-1) / CELL**2


def propose(levels: Sequence[np.ndarray], table: np.ndarray, smallest: float, largest: float) -> np.ndarray:
    """Returns boxes of the size of faces that are like faces in a photo, the most alike first.

    Args:
        levels: the photo u8[H,W,3], and copies of half the size each, see `cutting.halvings`.
        table: f32[901], the filter, see `fit`.
        smallest: least mean side of a face's box in pixels of the photo; faces of fewer than 12 are not looked for.
        largest: largest one.

    Returns:
        f64[N,5]: left, top, right and bottom of each box, and the likeness, in standard deviations of places without a
        face. A box has at most half of its area in common with a better one.
    """
    height, width = levels[0].shape[:2]
    found = [np.zeros((0, 5))]
    for side in _sides(max(smallest, _LEAST), largest):
        ratio = FACE / side
        if ratio * width * ratio * height > _MOST_PIXELS:
            break
        size = max(1, round(ratio * width)), max(1, round(ratio * height))
        copy = Image.fromarray(levels[cutting.level_for(levels, side, 4 * FACE)])  # smaller ones have softer edges
        small = copy.convert("L").resize(size, Image.Resampling.BILINEAR)
        grey = np.pad(np.asarray(small, np.float32), _MARGIN * CELL, mode="edge")
        alike = likeness(cells(grey), table)
        rows, columns = np.nonzero((alike >= _UNLIKE) & (alike == _largest_around(alike)))
        at = np.stack([columns, rows], -1) * float(CELL) + 0.5 * CELL * WINDOW - CELL * _MARGIN
        centre = at * [width / size[0], height / size[1]] - 0.5
        found.append(np.column_stack([centre - 0.5 * side, centre + 0.5 * side, alike[rows, columns]]))
    boxes = np.concatenate(found)
    return boxes[detection.suppress(boxes[:, :4], boxes[:, 4], _OVERLAP)]


def _sides(smallest: float, largest: float) -> Iterator[float]:
    """Yields the sides of the faces that are looked for, each 1.19 times the next, down to the smallest."""
    if smallest <= largest:
        for k in range(1 + int(np.ceil(np.log(smallest / largest) / np.log(STEP) - 1e-6))):
            yield largest * STEP**k


def likeness(found: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Applies the filter to every window of `cells` f32[H,W,9]: f32[H-9,W-9]; a fraction of a window is left out."""
    height, width = (length - WINDOW + 1 for length in found.shape[:2])
    parts = found @ table[1:].reshape(WINDOW * WINDOW, DIRECTIONS).T  # [H,W,100]
    total = np.full((height, width), table[0], np.float32)
    for k in range(WINDOW * WINDOW):
        i, j = divmod(k, WINDOW)
        total += parts[i : i + height, j : j + width, k]
    return total


def _largest_around(values: np.ndarray) -> np.ndarray:
    """Returns the largest of the 3 x 3 values f32[H,W] around each."""
    for axis in (0, 1):
        wide = np.pad(values, [(1, 1) if k == axis else (0, 0) for k in range(2)], constant_values=-np.inf)
        parts = [np.take(wide, range(k, k + values.shape[axis]), axis) for k in range(3)]
        values = np.max(parts, 0)
    return values


def fit(images: Sequence[np.ndarray], boxes: np.ndarray, seed: int = 0) -> np.ndarray:
    """Fits the filter to faces: the linear discriminant between them and other places of the same pictures.

    Args:
        images: u8[H,W,3] each, with one face.
        boxes: f64[N,4], left, top, right and bottom of the landmarks of each face.
        seed: random seed of the other places.

    Returns:
        f32[901]: offset and weights. The likeness of the other places has mean 0 and standard deviation 1.
    """
    rng = np.random.default_rng(seed)
    faces, others = [], []
    for image, box in zip(images, boxes, strict=True):
        centre, side = 0.5 * (box[:2] + box[2:]), float((box[2:] - box[:2]).mean())
        shown = WINDOW * CELL / FACE * side * rng.uniform(0.93, 1.07)
        face = _window(image, centre + rng.uniform(-0.04, 0.04, 2) * side, shown)
        faces += [cells(face), cells(np.ascontiguousarray(face[:, ::-1]))]
        for scale in rng.choice(_OTHER_SCALES, 3):
            away = rng.uniform(-0.625, 0.625, 2) * len(image) + 0.5 * len(image) - centre
            if abs(scale - 1) > 0.3 or np.abs(away).max() > 0.5 * side:
                others.append(cells(_window(image, centre + away, shown * scale)))
    ours, theirs = (np.stack(some)[:, 1:-1, 1:-1].reshape(len(some), -1).astype(np.float64) for some in (faces, others))
    spread = np.cov(theirs.T) + 0.5 * np.cov(ours.T) + _RIDGE * np.eye(ours.shape[1])
    weights = np.linalg.solve(spread, ours.mean(0) - theirs.mean(0))
    alike = theirs @ weights
    return np.append(-alike.mean(), weights).astype(np.float32) / np.float32(alike.std())


def _window(image: np.ndarray, centre: np.ndarray, side: float) -> np.ndarray:
    """Returns the brightness f32[48,48] of the window of the filter, with a cell more at each edge."""
    size = (WINDOW + 2) * CELL
    square = np.array([*centre, side * size / (WINDOW * CELL)])
    return np.asarray(Image.fromarray(alignment.cut(image, square, size)).convert("L"), np.float32)
