"""Near-duplicates of photos by a perceptual hash: other sizes, compressions, brightness, small crops, mirror images.

The hash is pHash (Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions", section 3.2.1)
with 16 x 16 instead of 8 x 8 frequencies: portraits look alike, and 63 bits confuse them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import PIL.Image

_SIDE, _FREQUENCIES = 64, 16  # of the grey image, and of its cosine transform, along each axis
BITS = _FREQUENCIES**2 - 1  # without the mean brightness
# Largest number of bits in which near-duplicates differ. 140 pictures of different people differ in 68 bits or more,
# and in 50 or more once their faces are aligned.
MOST_BITS = 40
_FAINTEST = 1.0  # standard deviation of the grey levels; fainter images show nothing that could be compared
_ROWS = 2048  # hashes that are compared with all others at once

Look = tuple[bytes, bytes]  # hashes of an image and of its mirror image


def describe(image: np.ndarray) -> Look | None:
    """Hashes an image and its mirror image.

    Args:
      image: u8[H,W,3], of which the central square is seen.

    Returns:
      Two hashes of `BITS` bits, packed; None for an image of one colour.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    square = PIL.Image.fromarray(image[top : top + side, left : left + side]).convert("L")
    grey = np.asarray(square.resize((_SIDE, _SIDE), PIL.Image.Resampling.LANCZOS), np.float64)
    if grey.std() < _FAINTEST:
        return None
    return _hash(grey), _hash(grey[:, ::-1])


def _hash(grey: np.ndarray) -> bytes:
    """Returns which coefficients of the cosine transform of f64[S,S] are above their median, packed."""
    angles = np.pi * np.outer(np.arange(_FREQUENCIES), np.arange(_SIDE) + 0.5) / _SIDE
    coefficients = (np.cos(angles) @ grey @ np.cos(angles).T).reshape(-1)[1:]
    return np.packbits(coefficients > np.median(coefficients)).tobytes()


def group(looks: Sequence[Look | None]) -> list[int]:
    """Finds near-duplicates: images whose hashes, or mirrored hashes, differ in at most `MOST_BITS` bits.

    Near-duplicates of near-duplicates are in one group.

    Args:
      looks: `describe` of each image; an image without hash is like no other.

    Returns:
      For each image the index of the first image of its group.
    """
    places = np.array([index for index, look in enumerate(looks) if look is not None], np.int64)
    first = list(range(len(looks)))
    if len(places) < 2:
        return first
    plain, mirrored = (_signs([look[side] for look in looks if look is not None]) for side in (0, 1))
    least = BITS - 2 * MOST_BITS  # of the product of two rows of signs

    def root(index: int) -> int:
        while first[index] != index:
            first[index] = first[first[index]]
            index = first[index]
        return index

    for start in range(0, len(places), _ROWS):
        rows, others = plain[start : start + _ROWS], slice(0, start + _ROWS)
        alike = np.maximum(rows @ plain[others].T, rows @ mirrored[others].T) >= least
        for row, column in zip(*np.nonzero(alike), strict=True):
            one, other = root(int(places[start + row])), root(int(places[column]))
            first[max(one, other)] = min(one, other)
    return [root(index) for index in range(len(looks))]


def _signs(hashes: Sequence[bytes]) -> np.ndarray:
    """Returns the bits of hashes as f32[N,BITS] of 1 and -1, whose products count equal minus different bits."""
    bits = np.unpackbits(np.frombuffer(b"".join(hashes), np.uint8).reshape(len(hashes), -1), axis=1, count=BITS)
    return 2.0 * bits.astype(np.float32) - 1.0
