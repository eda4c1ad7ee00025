"""Finds the face in a photo of any size with a face detector and a face mesh.

The detector sees faces that take up a fifth of its frame or more. So the whole photo is searched first, then squares of
it, as `finding` searches them. The mesh decides which of the detected boxes are faces.
"""

from __future__ import annotations

from collections.abc import Callable

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
SCALES = ((1.0,), (0.6, 0.4))  # sides of the squares in shorter sides of the photo; the second ones if there is no face
_CANDIDATES = 4  # largest boxes that are looked at closely
_BATCH = 8
_FRAME = 512  # side of the square that the mesh is run on
_AROUND = 1.6  # side of that square in sides of the region, which is turned and refined in it


def find(image: np.ndarray, detect: Detect, refine: Refine, to_map: Callable[[jax.Array], jax.Array]) -> Found | None:
    """Searches for the largest face.

    Args:
        image: u8[H,W,3].
        detect: maps f32[N,128,128,3] in [-1,1] to regions and boxes, both f32[N,A,4] in sides of the image, and scores
            f32[N,A].
        refine: maps f32[N,512,512,3] in [-1,1] and regions f32[N,4] in pixels to points f32[N,478,3] and presence
            f32[N].
        to_map: maps points f32[478,3] to a position map in MEGN's layout.

    Returns:
        The face, or None if no presence is at least 1 - `THRESHOLD`. Its score is 1 - presence, where presence is the
        mesh network's probability of a face. The box is that of the landmarks.
    """
    height, width = image.shape[:2]
    levels = finding.halvings(image)
    whole = np.array([[0.5 * width - 0.5, 0.5 * height - 0.5, max(height, width)]])
    for number, scales in enumerate(SCALES):
        squares = finding.pyramid(height, width, scales)
        regions = _detect(levels, squares if number else np.concatenate([whole, squares]), detect)
        for region in regions[:_CANDIDATES]:
            points, presence = _locate(levels, region, refine)
            if np.isfinite(points).all() and 1.0 - presence <= THRESHOLD:
                position_map = np.asarray(to_map(jnp.asarray(points, jnp.float32)))
                box = finding.box_of(position_map, layouts.megn(len(position_map)))
                return Found(position_map, 1.0 - presence, box)
    return None


def region_of(points: jax.Array) -> jax.Array:
    """Returns the region f32[N,4] around the points f32[N,478,3] of faces."""
    flat = points[..., :2]
    return detection.region_around(flat, flat[..., mesh.LEFT_EYE, :], flat[..., mesh.RIGHT_EYE, :])


def scale_regions(regions: jax.Array, size: int) -> jax.Array:
    """Converts regions f32[...,4] in sides of an image to pixels; the centre of the first pixel is at 0."""
    return jnp.concatenate([size * regions[..., :2] - 0.5, size * regions[..., 2:3], regions[..., 3:]], -1)


def _detect(levels: list[np.ndarray], squares: np.ndarray, detect: Detect) -> np.ndarray:
    """Detects faces in squares f64[K,3] of a photo; returns their regions f64[N,4] in its pixels, the largest first."""
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
    regions = np.concatenate(found)
    regions = regions[detection.suppress(np.concatenate(boxes), np.concatenate(scores))]
    return regions[np.argsort(-regions[:, 2], kind="stable")]


def _locate(levels: list[np.ndarray], region: np.ndarray, refine: Refine) -> tuple[np.ndarray, float]:
    """Returns the points f64[478,3] of the face in a region f64[4], in pixels of the photo, and its presence."""
    square = np.array([*region[:2], _AROUND * region[2]])
    frame = pictures.to_float(finding.cut_frame(levels, square, size=_FRAME))
    middle = 0.5 * _FRAME - 0.5
    inside = np.array([[middle, middle, _FRAME / _AROUND, region[3]]], np.float32)
    points, presence = refine(frame[None], inside)
    return alignment.from_square(np.asarray(points[0]), square, _FRAME), float(presence[0])
