"""Finds the faces in a photo of any size with a face detector and a face mesh.

The detector sees faces that take up a fifth of its frame or more. So the whole photo is searched first, then squares of
it that get smaller by halves. The mesh decides which of the detected boxes are faces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from sdgan_jax import pictures
from sdgan_jax.face3d import alignment, detection, finding, mesh
from sdgan_jax.face3d import layout as layouts
from sdgan_jax.face3d.finding import Found

Detect = Callable[[np.ndarray], tuple[jax.Array, jax.Array, jax.Array]]
Refine = Callable[[np.ndarray, np.ndarray], tuple[jax.Array, jax.Array]]

THRESHOLD = 0.5  # largest score of a face: the mesh network gives it a probability of one half or more
DETECTED = 0.5  # smallest score of a box (MediaPipe's default)
SCALES = (1.0, 0.5, 0.25, 0.125)  # sides of the squares in shorter sides of the photo
_STEP = 0.65  # from one square to the next, in sides: a face of up to a third of a side is whole in one of them
_FINEST = 112  # smallest side of a square in pixels
_MOST_SQUARES = 400  # per scale
_MOST_CANDIDATES = 400  # per scale, those with the best scores
_BATCH = 8
_FRAME = 512  # side of the square that the mesh is run on
_AROUND = 1.6  # side of that square in sides of the region, which is turned and refined in it


def find_all(
    image: np.ndarray,
    detect: Detect,
    refine: Refine,
    to_map: Callable[[jax.Array], jax.Array],
    most: int | None = None,
) -> list[Found]:
    """Searches for faces, the large ones first.

    Args:
        image: u8[H,W,3].
        detect: maps f32[N,128,128,3] in [-1,1] to regions and boxes, both f32[N,A,4] in sides of the image, and scores
            f32[N,A].
        refine: maps f32[N,512,512,3] in [-1,1] and regions f32[N,4] in pixels to points f32[N,478,3] and presence
            f32[N].
        to_map: maps points f32[478,3] to a position map in MEGN's layout.
        most: largest number of faces; small ones are not searched for where there are so many large ones.

    Returns:
        The faces whose presence is at least 1 - `THRESHOLD`, in the order of `finding.choose`. Their score is
        1 - presence, where presence is the mesh network's probability of a face. The box is that of the landmarks.
    """
    levels = finding.halvings(image)
    found: list[Found] = []
    for squares in _searches(*image.shape[:2]):
        regions = _detect(levels, squares, detect, [one.box for one in found])
        located = (_locate(levels, region, refine, to_map) for region in regions[:_MOST_CANDIDATES])
        found = finding.choose([*found, *(one for one in located if one is not None)], most)
        if most is not None and len(found) == most:
            break
    return found


def _searches(height: int, width: int) -> Iterator[np.ndarray]:
    """Yields the squares f64[N,3] of each scale: the whole photo first, with the largest ones."""
    shorter, longer = sorted((height, width))
    whole = np.array([[0.5 * width - 0.5, 0.5 * height - 0.5, longer]])
    for scale in SCALES:
        squares = finding.pyramid(height, width, (scale,), _STEP, _MOST_SQUARES)
        if scale == SCALES[0]:
            yield np.concatenate([whole, squares]) if longer > shorter else whole
        elif scale * shorter >= _FINEST:
            yield squares


def region_of(points: jax.Array) -> jax.Array:
    """Returns the region f32[N,4] around the points f32[N,478,3] of faces."""
    flat = points[..., :2]
    return detection.region_around(flat, flat[..., mesh.LEFT_EYE, :], flat[..., mesh.RIGHT_EYE, :])


def scale_regions(regions: jax.Array, size: int) -> jax.Array:
    """Converts regions f32[...,4] in sides of an image to pixels; the centre of the first pixel is at 0."""
    return jnp.concatenate([size * regions[..., :2] - 0.5, size * regions[..., 2:3], regions[..., 3:]], -1)


def _detect(levels: list[np.ndarray], squares: np.ndarray, detect: Detect, known: Sequence[np.ndarray]) -> np.ndarray:
    """Detects faces in squares f64[K,3] of a photo, but for those with known boxes f32[4].

    Returns:
        Their regions f64[N,4] in pixels of the photo, the one with the best score first.
    """
    found, boxes, scores = [], [], []
    for first in range(0, len(squares), _BATCH):
        some = squares[first : first + _BATCH]
        frames = np.zeros((_BATCH, detection.SIZE, detection.SIZE, 3), np.float32)  # one shape: one compilation
        for frame, square in zip(frames, some):
            frame[:] = pictures.to_float(finding.cut_frame(levels, square, size=detection.SIZE))
        for part, square in zip(zip(*map(np.asarray, detect(frames))), some, strict=False):
            here = part[2] >= DETECTED
            corner, side = square[:2] - 0.5 * square[2], square[2]
            found.append(part[0][here] * [side, side, side, 1.0] + [*corner, 0.0, 0.0])
            boxes.append(part[1][here] * side + np.tile(corner, 2))
            scores.append(part[2][here])
    first = len(known)
    kept = detection.suppress(
        np.concatenate([np.reshape(known, (-1, 4)), *boxes]), np.concatenate([np.full(first, np.inf), *scores])
    )
    return np.concatenate(found)[[k - first for k in kept if k >= first]]


def _locate(
    levels: list[np.ndarray], region: np.ndarray, refine: Refine, to_map: Callable[[jax.Array], jax.Array]
) -> Found | None:
    """Returns the face in a region f64[4], or None if there is none."""
    square = np.array([*region[:2], _AROUND * region[2]])
    frame = pictures.to_float(finding.cut_frame(levels, square, size=_FRAME))
    middle = 0.5 * _FRAME - 0.5
    inside = np.array([[middle, middle, _FRAME / _AROUND, region[3]]], np.float32)
    points, presence = (np.asarray(part[0]) for part in refine(frame[None], inside))
    score = 1.0 - float(presence)
    if not (np.isfinite(points).all() and score <= THRESHOLD):
        return None
    points = alignment.from_square(points, square, _FRAME)
    position_map = np.asarray(to_map(jnp.asarray(points, jnp.float32)))
    return Found(position_map, score, finding.box_of(position_map, layouts.megn(len(position_map))))
