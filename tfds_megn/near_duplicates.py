"""Near-duplicates of photos by a perceptual hash: other sizes, compressions, brightness, small crops, mirror images.

The hash is pHash (Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions", section 3.2.1)
with 16 x 16 instead of 8 x 8 frequencies: portraits look alike, and 63 bits confuse them. The central square of one
image is compared with several squares of the other, because a crop of 2 % changes 40 bits.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import PIL.Image

_SIDE, _FREQUENCIES = 64, 16  # of the grey image, and of its cosine transform, along each axis
BITS = _FREQUENCIES**2 - 1  # without the mean brightness
# Largest number of bits in which the central squares of near-duplicates differ. 140 pictures of different people differ
# in 68 bits or more, and in 50 or more once their faces are aligned.
MOST_BITS = 40
# The same for the central square of one and another square of the other. The 140 pictures differ in 46 bits or more,
# 1,000 rendered ones in 38 or more; of the crops of 5 % at any sides, 96 % differ in at most so many.
MOST_BITS_OF_CROPS = 34
_FAINTEST = 1.0  # standard deviation of the grey levels; fainter images show nothing that could be compared
_ROWS = 2048  # hashes that are compared with all others at once
_REDUCED = 4 * _SIDE  # shorter side of the image from which squares are cut; the hash has no use for more

# Squares of an image, of which one is near the central square of any crop of up to 5 % at each side: share of the
# shorter side, and the place of the middle from that of the image, in shorter sides. The central square is first; the
# last two move along the longer side only, because squares are moved into the image.
_MOVES = (0.0, -0.025, 0.025)
_SQUARES = [
    (1.0, 0.0, 0.0),
    *((0.95, x, y) for y, x in itertools.product(_MOVES, _MOVES)),
    *((0.9, x, y) for x, y in ((0.0, 0.0), (-0.025, 0.0), (0.025, 0.0), (0.0, -0.025), (0.0, 0.025))),
    (1.0, -0.03, -0.03),
    (1.0, 0.03, 0.03),
]

Look = tuple[bytes, bytes]  # hashes of the squares of an image, one after another, and of its mirrored central square


def describe(image: np.ndarray) -> Look | None:
    """Hashes squares of an image, and the mirror image of the central one.

    Args:
      image: u8[H,W,3], of which the central square is seen.

    Returns:
      Hashes of `BITS` bits, packed; None for an image whose central square has one colour.
    """
    grey = PIL.Image.fromarray(image).convert("L")
    scale = max(1.0, min(grey.size) / _REDUCED)
    if scale > 1.0:
        width, height = grey.size
        grey = grey.resize((round(width / scale), round(height / scale)), PIL.Image.Resampling.LANCZOS)
    squares = [_cut(grey, *square) for square in _SQUARES]
    if squares[0].std() < _FAINTEST:
        return None
    return b"".join(map(_hash, squares)), _hash(squares[0][:, ::-1])


def _cut(grey: PIL.Image.Image, share: float, right: float, down: float) -> np.ndarray:
    """Returns a square of `_SQUARES`, moved into the image, as f64[S,S]."""
    side = min(grey.size)
    left, top = (
        min(max((length - share * side) / 2 + move * side, 0.0), length - share * side)
        for length, move in zip(grey.size, (right, down), strict=True)
    )
    box = (left, top, left + share * side, top + share * side)
    return np.asarray(grey.resize((_SIDE, _SIDE), PIL.Image.Resampling.LANCZOS, box=box), np.float64)


def _hash(grey: np.ndarray) -> bytes:
    """Returns which coefficients of the cosine transform of f64[S,S] are above their median, packed."""
    angles = np.pi * np.outer(np.arange(_FREQUENCIES), np.arange(_SIDE) + 0.5) / _SIDE
    coefficients = (np.cos(angles) @ grey @ np.cos(angles).T).reshape(-1)[1:]
    return np.packbits(coefficients > np.median(coefficients)).tobytes()


def group(looks: Sequence[Look | None]) -> list[int]:
    """Finds near-duplicates: the central square of one, or its mirror image, is like some square of the other.

    Alike are central squares whose hashes differ in at most `MOST_BITS` bits, others in at most `MOST_BITS_OF_CROPS`.
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
    packed = np.frombuffer(b"".join(look[0] for look in looks if look is not None), np.uint8)
    packed = packed.reshape(len(places), len(_SQUARES), -1)
    mirrored = np.frombuffer(b"".join(look[1] for look in looks if look is not None), np.uint8)
    centrals = _signs(packed[:, 0]), _signs(mirrored.reshape(len(places), -1))

    def root(index: int) -> int:
        while first[index] != index:
            first[index] = first[first[index]]
            index = first[index]
        return index

    for square in range(len(_SQUARES)):
        others = _signs(packed[:, square]).T
        least = BITS - 2 * (MOST_BITS_OF_CROPS if square else MOST_BITS)  # of the product of two rows of signs
        for start, central in itertools.product(range(0, len(places), _ROWS), centrals):
            alike = central[start : start + _ROWS] @ others >= least
            for row, column in zip(*np.nonzero(alike), strict=True):
                one, other = root(int(places[start + row])), root(int(places[column]))
                first[max(one, other)] = min(one, other)
    return [root(index) for index in range(len(looks))]


def _signs(packed: np.ndarray) -> np.ndarray:
    """Returns the bits of hashes u8[N,B] as f32[N,BITS] of 1 and -1; products count equal minus different bits."""
    return 2.0 * np.unpackbits(packed, axis=1, count=BITS).astype(np.float32) - 1.0
