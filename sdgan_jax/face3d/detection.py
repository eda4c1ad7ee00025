"""BlazeFace's boxes, and the regions of images that MediaPipe's face mesh is run on.

Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs", 2019. The detector regresses, for
each of 896 anchors, a box and six points (eyes, nose, mouth, ears) relative to the anchor, and a score.

A region is f32[4]: x and y of the centre of a square, its side in pixels, and the clockwise angle in radians by which
its upper edge is turned from the horizontal.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from sdgan_jax.face3d import geometry

SIZE = 128  # side of the detector's input
ANCHORS = 896
NUMBERS = 16  # of an anchor: centre, width and height of the box, then x and y of six points, in pixels of the input
WIDER = 1.5  # side of a region in longer sides of the box of a face (MediaPipe, face_landmark_front)
_GRIDS = ((16, 2), (8, 6))  # cells along each axis, and anchors in each cell


def anchors() -> np.ndarray:
    """Returns the centres f32[896,2] of the anchors, x and y in sides of the image."""
    parts = []
    for cells, each in _GRIDS:
        centres = (np.arange(cells) + 0.5) / cells
        x, y = np.meshgrid(centres, centres)
        parts.append(np.repeat(np.stack([x, y], -1).reshape(-1, 2), each, 0))
    return np.concatenate(parts).astype(np.float32)


def decode(numbers: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Decodes the detector's numbers.

    Args:
        numbers: f32[...,896,16].

    Returns:
        Boxes f32[...,896,4], left, top, right, bottom, and points f32[...,896,6,2], both in sides of the image from its
        upper left corner. The points are the eye on the left of the picture, the other eye, the nose, the mouth, and
        the ear on the left and the right.
    """
    middle, size = numbers[..., 0:2] / SIZE + anchors(), numbers[..., 2:4] / SIZE
    points = numbers[..., 4:].reshape(*numbers.shape[:-1], 6, 2) / SIZE + anchors()[:, None]
    return jnp.concatenate([middle - size / 2, middle + size / 2], -1), points


def region_around(points: jax.Array, left_eye: jax.Array, right_eye: jax.Array) -> jax.Array:
    """Returns the region f32[...,4] around the box of points, turned so that the line of the eyes is horizontal.

    Args:
        points: f32[...,K,2], x and y in pixels; two opposite corners for a box.
        left_eye: f32[...,2], the eye on the left of the picture.
        right_eye: f32[...,2], the other one.
    """
    low, high = points.min(-2), points.max(-2)
    side = WIDER * (high - low).max(-1, keepdims=True)
    across = right_eye - left_eye
    # A small number keeps the gradient of the angle finite where both eyes are at one place.
    angle = jnp.arctan2(across[..., 1:], across[..., :1] + 1e-6)
    return jnp.concatenate([(low + high) / 2, side, angle], -1)


def cut(image: jax.Array, region: jax.Array, size: int) -> jax.Array:
    """Cuts a region out of an image by bilinear interpolation; beyond the edge the outermost pixels repeat.

    Args:
        image: f32[H,W,C].
        region: f32[4].
        size: side of the result.

    Returns:
        f32[size,size,C].
    """
    line = (jnp.arange(size) + 0.5) / size
    x, y = jnp.meshgrid(line, line)
    return geometry.sample_pixels(image, from_region(jnp.stack([x, y, 0 * x], -1), region)[..., :2])


def from_region(points: jax.Array, region: jax.Array) -> jax.Array:
    """Converts points f32[...,3] in sides of a region, from its upper left corner, to pixels of the image."""
    middle, side, angle = region[:2], region[2], region[3]
    x, y = points[..., 0] - 0.5, points[..., 1] - 0.5
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    turned = jnp.stack([cosine * x - sine * y, sine * x + cosine * y, points[..., 2]], -1)
    return side * turned + jnp.append(middle, 0.0)


def suppress(
    boxes: np.ndarray, scores: np.ndarray, overlap: float = 0.3, inside: float = 1.0, known: int = 0
) -> list[int]:
    """Returns the numbers of the boxes that remain where, of overlapping ones, the one with the best score is kept.

    Args:
        boxes: f32[N,4], left, top, right, bottom.
        scores: f32[N], larger is better.
        overlap: share of the area of two boxes together that they may have in common.
        inside: share of the smaller box that may lie in the other one.
        known: number of boxes, the first ones, that are certain: of a box, half may lie in one of them.

    Returns:
        Numbers of boxes, the best score first.
    """
    kept: list[int] = []
    area = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), -1)
    for k in np.argsort(-scores, kind="stable"):
        low = np.maximum(boxes[k, :2], boxes[kept, :2])
        high = np.minimum(boxes[k, 2:], boxes[kept, 2:])
        common = np.prod(np.maximum(high - low, 0.0), -1)
        together, smaller = area[k] + area[kept] - common, np.minimum(area[k], area[kept])
        most = np.where(np.array(kept, int) < known, min(inside, 0.5), inside) * smaller
        if not ((common > overlap * together) | (common > most)).any():
            kept.append(int(k))
    return kept
