"""Squares of a photo: cut out at another size and put back, and positions converted into and out of them.

A square is f64[3]: x and y of its centre, and its side, in pixels of the photo. It may reach over the photo's edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from sdgan_jax import pictures

STRIP = 256  # rows of a photo that are worked on at once, so that large faces take little memory
_DETAIL = 0.45  # least size of a patch's working copy, in sides of the patch


def cut(image: np.ndarray, square: np.ndarray, size: int, degrees: float = 0.0) -> np.ndarray:
    """Cuts a square out of a photo, with antialiasing; beyond the photo's edge its outermost pixels repeat.

    Args:
        image: u8[H,W,3].
        square: f64[3].
        size: side of the result in pixels.
        degrees: clockwise rotation of the content about the square's centre.

    Returns:
        u8[size,size,3].
    """
    if degrees == 0:
        return _cut_upright(image, square, size)
    margin = int(np.ceil(0.5 * size * (np.sqrt(2.0) - 1.0)))  # so that the corners are filled
    around = size + 2 * margin
    wide = Image.fromarray(_cut_upright(image, square * [1.0, 1.0, around / size], around))
    turned = wide.rotate(-degrees, Image.Resampling.BILINEAR)
    return np.asarray(turned)[margin:-margin, margin:-margin]


def _cut_upright(image: np.ndarray, square: np.ndarray, size: int) -> np.ndarray:
    """Cuts a square out without a rotation: along x, then along y, as Pillow does."""
    left, top, _ = _origin(square)
    side, (height, width) = square[2], image.shape[:2]
    # The pixels that the filter needs.
    x, y = (int(np.floor(p)) - 2 for p in (left, top))
    right, bottom = (int(np.ceil(p + side)) + 2 for p in (left, top))
    if min(x, y) >= 0 and right <= width and bottom <= height:  # both in one call: a sixth faster
        box = (left - x, top - y, left - x + side, top - y + side)
        part = Image.fromarray(image[y:bottom, x:right])
        return np.asarray(part.resize((size, size), Image.Resampling.BILINEAR, box=box))
    rows = slice(*np.clip([y, bottom], [0, 1], [height - 1, height]))
    return _resize(_resize(image[rows], 1, left, side, size), 0, top - rows.start, side, size)


def _resize(image: np.ndarray, axis: int, start: float, side: float, size: int) -> np.ndarray:
    """Resizes a part of a photo along one axis; beyond the photo's edge its outermost pixels repeat.

    Farther than the photo's length from its edge they are repeated in the result alone: around all of a strip of 16 x
    200000 pixels there would be 100 GB of them.

    Args:
        image: u8[H,W,3].
        axis: 0 for y, 1 for x.
        start: where the part begins; the edge of the photo is 0.
        side: length of the part in pixels.
        size: length of the result.

    Returns:
        u8[H,size,3] for the axis 1, u8[size,W,3] for the axis 0.
    """
    length, step = image.shape[axis], side / size
    reach = max(step, float(length))  # the filter's is a step, or 1 pixel
    low = int(np.clip(np.floor((-reach - start) / step) - 1, 0, size - 1))
    high = int(np.clip(np.ceil((length + reach - start) / step) + 1, low + 1, size))
    begin, end = start + low * step, start + high * step
    # The pixels that the filter needs, with repeated ones beyond the edge.
    first, last = int(np.floor(max(start, begin - reach))) - 2, int(np.ceil(min(start + side, end + reach))) + 2
    inside = slice(*np.clip([first, last], [0, 1], [length - 1, length]))
    missing = last - first - (inside.stop - inside.start)
    before = min(max(-first, 0), missing)
    part = image[inside] if axis == 0 else image[:, inside]
    if missing:  # by numpy.pad: an index array takes five times as long
        part = _repeat_edges(part, axis, before, missing - before)
    height, width = part.shape[:2]
    box, shape = (0.0, begin - first, width, end - first), (width, high - low)
    if axis == 1:
        box, shape = (begin - first, 0.0, end - first, height), (high - low, height)
    resized = np.asarray(Image.fromarray(part).resize(shape, Image.Resampling.BILINEAR, box=box))
    return resized if high - low == size else _repeat_edges(resized, axis, low, size - high)


def _repeat_edges(image: np.ndarray, axis: int, before: int, after: int) -> np.ndarray:
    widths = [(0, 0)] * 3
    widths[axis] = (before, after)
    return np.pad(image, widths, mode="edge")


def put_back(
    planes: np.ndarray, square: np.ndarray, degrees: float, left: int, top: int, width: int, height: int
) -> np.ndarray:
    """Brings planes of `cut(image, square, size, degrees)` to the pixels of the photo, with antialiasing.

    Args:
        planes: f32[size,size,C].
        square: f64[3].
        degrees: the rotation of the content, as in `cut`.
        left: first column of the part of the photo that is wanted.
        top: first row of it.
        width: its width in pixels.
        height: its height.

    Returns:
        f32[height,width,C]; 0 outside of the square.
    """
    size = len(planes)
    images = [Image.fromarray(np.ascontiguousarray(planes[..., k])) for k in range(planes.shape[-1])]
    if (side := max(1, int(np.ceil(square[2])))) < size:
        images, size = [image.resize((side, side), Image.Resampling.BILINEAR) for image in images], side
    corner = np.array([[left, top, 0.0], [left + 1.0, top, 0.0], [left, top + 1.0, 0.0]])
    origin, right, down = to_square(corner, square, size, degrees)[:, :2]
    across, along = right - origin, down - origin
    start = origin + 0.5 - 0.5 * (across + along)  # Pillow's corner of an image is (0, 0)
    numbers = [number for k in (0, 1) for number in (across[k], along[k], start[k])]
    kind = Image.Resampling.BICUBIC
    return np.dstack(
        [np.asarray(image.transform((width, height), Image.Transform.AFFINE, numbers, kind)) for image in images]
    )


class Patch(NamedTuple):
    """A square of whole pixels around a face in a photo, and the size at which it is worked on.

    Attributes:
        left: column of its first pixel in the photo; below 0 if it reaches over the edge.
        top: row of its first pixel, likewise.
        side: side in pixels of the photo.
        size: side of the working copy in pixels.
    """

    left: int
    top: int
    side: int
    size: int

    @property
    def square(self) -> np.ndarray:
        """The patch as a square f64[3] for `cut` and `to_square`."""
        return np.array([self.left + 0.5 * self.side - 0.5, self.top + 0.5 * self.side - 0.5, self.side])

    def view(self, image: np.ndarray) -> np.ndarray:
        """Returns the part of a photo [H,W,C] inside the patch, without a copy; an empty one outside of the photo."""
        rows, columns = (slice(max(first, 0), max(first + self.side, 0)) for first in (self.top, self.left))
        return image[rows, columns]

    def restore(self, planes: np.ndarray, first: int, last: int, width: int) -> np.ndarray:
        """Resizes planes of the working copy to some of the photo's pixels, with antialiasing.

        Args:
            planes: f32[size,size,C].
            first: first row of `view`.
            last: row after the last one, in `view`.
            width: width of the photo.

        Returns:
            f32[last-first,w,C], of the columns of `view`.
        """
        top, left, right = max(-self.top, 0), max(-self.left, 0), min(width - self.left, self.side)
        if self.size == self.side:
            return planes[top + first : top + last, left:right]
        box = tuple(np.array([left, top + first, right, top + last]) * self.size / self.side)
        images = (Image.fromarray(planes[..., k]) for k in range(planes.shape[-1]))
        resized = (image.resize((right - left, last - first), Image.Resampling.BILINEAR, box=box) for image in images)
        return np.dstack([np.asarray(image) for image in resized])


def patch_around(box: np.ndarray, ratio: float, sizes: Sequence[int]) -> Patch:
    """Returns the patch around the box of a face.

    Args:
        box: f32[4], left, top, right, bottom in pixels of the photo.
        ratio: side of the patch in longer sides of the box.
        sizes: sizes of the working copy in ascending order; the first one of at least `_DETAIL` of the side is chosen,
            or the last.
    """
    side = int(np.ceil(ratio * max(box[2] - box[0], box[3] - box[1], 4.0)))
    size = next((size for size in sizes if size >= _DETAIL * side), sizes[-1])
    left, top = (int(np.round(0.5 * (box[k] + box[k + 2]) - 0.5 * side)) for k in (0, 1))
    return Patch(left, top, side, size)


def to_square(positions: np.ndarray, square: np.ndarray, size: int, degrees: float = 0.0) -> np.ndarray:
    """Converts positions in the photo to positions in `cut(image, square, size, degrees)`.

    Args:
        positions: f32[...,3], x, y and z in pixels of the photo.
        square: f64[3].
        size: side of the cut square in pixels.
        degrees: the rotation of the content, as in `cut`.

    Returns:
        f64[...,3].
    """
    inside = pictures.scale_positions(positions - _origin(square), size / square[2])
    return inside if degrees == 0 else _turn(inside, size, degrees)


def from_square(positions: np.ndarray, square: np.ndarray, size: int, degrees: float = 0.0) -> np.ndarray:
    """Converts positions in `cut(image, square, size, degrees)` to positions in the photo.

    Args:
        positions: f32[...,3], x, y and z in pixels of the cut square.
        square: f64[3].
        size: side of the cut square in pixels.
        degrees: the rotation of the content, as in `cut`.

    Returns:
        f64[...,3].
    """
    return pictures.scale_positions(_turn(positions, size, -degrees), square[2] / size) + _origin(square)


def _turn(positions: np.ndarray, size: int, degrees: float) -> np.ndarray:
    """Turns positions f32[...,3] in a picture of `size` pixels clockwise about its centre."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    middle = np.array([0.5 * size - 0.5, 0.5 * size - 0.5, 0.0])
    matrix = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    return np.asarray((positions - middle) @ matrix + middle)


def _origin(square: np.ndarray) -> np.ndarray:
    """Returns the shift f64[3] from positions in an uncut square, at the photo's scale, to positions in the photo."""
    x, y, side = square
    return np.array([x + 0.5 - 0.5 * side, y + 0.5 - 0.5 * side, 0.0])
