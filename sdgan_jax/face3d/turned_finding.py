"""Finds the faces in a photo at any angle with a search that finds upright ones.

Where nothing stands upright, turned copies of the photo are searched. One in ten faces that are upside down is taken
for an upright one, beside its place and with a poor score. So the surroundings of doubtful faces are searched upside
down, unless another face of the photo is sure: where a better face is found there, the doubtful one is none. What is
found turned counts only where it is sure.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sdgan_jax.face3d import alignment, cutting, finding
from sdgan_jax.face3d.finding import Found
from sdgan_jax.face3d.layout import Layout

TURNS = (90, 270, 180, 30, 330, 60, 300, 120, 240, 150, 210)  # degrees, clockwise, in the order of the search
_SURE = 0.62  # score, in thresholds, up to which a face is not doubtful: three of four faces in photos are not
_AROUND = 3.0  # side of its surroundings in mean sides of its box
_LARGEST = 640  # most pixels along a side of a turned copy


def find_all(
    image: np.ndarray,
    upright: Callable[..., list[Found]],
    layout: Layout,
    threshold: float,
    most: int | None = None,
    enough: int | None = None,
) -> list[Found]:
    """Searches for faces.

    Args:
        image: u8[H,W,3].
        upright: finds upright faces; `finding.find_all`, of which `image`, `most`, `enough` and `thorough` are given.
        layout: layout of the position maps.
        threshold: largest score of a face.
        most: largest number of faces.
        enough: number of large faces from which on small ones are not searched for; `most` by default.

    Returns:
        The faces in the order of `finding.choose`.
    """
    levels, sure = cutting.halvings(image), _SURE * threshold

    def search(square: np.ndarray, degrees: float, size: int, **limits: int | None) -> list[Found]:
        frame = cutting.cut_frame(levels, square, degrees, size)
        faces = upright(frame, thorough=False, **limits)
        return [_turned_back(face, square, degrees, size, layout) for face in faces]

    def settled(face: Found) -> list[Found]:
        """Returns a doubtful face if no better one is upside down around its place, or that one if it is sure."""
        side = _AROUND * np.mean(face.box[2:] - face.box[:2])
        square = np.array([*(face.box[:2] + face.box[2:]) / 2, side])
        others = search(square, 180, cutting.SIZE, most=1, enough=0)
        if not others or others[0].score >= face.score:
            return [face]
        return others if others[0].score <= sure else []

    found = upright(image, most=most, enough=enough)
    if found and min(face.score for face in found) > sure:
        found = [one for face in found for one in settled(face)]
    for degrees in TURNS if not found else ():
        square, size = _around_all(image.shape[0], image.shape[1], degrees)
        there = search(square, degrees, size, most=most, enough=enough)
        if found := [one for one in there if one.score <= sure]:
            break
    return finding.choose(found, most)


def _around_all(height: int, width: int, degrees: float) -> tuple[np.ndarray, int]:
    """Returns the square f64[3] that shows all of a turned photo, and the pixels along a side of its copy."""
    along, across = abs(np.cos(np.deg2rad(degrees))), abs(np.sin(np.deg2rad(degrees)))
    side = max(along * width + across * height, across * width + along * height)
    return np.array([0.5 * width - 0.5, 0.5 * height - 0.5, side]), min(int(np.ceil(side)), _LARGEST)


def _turned_back(face: Found, square: np.ndarray, degrees: float, size: int, layout: Layout) -> Found:
    """Returns a face of a turned copy in pixels of the photo."""
    position_map = alignment.from_square(face.position_map, square, size, degrees).astype(np.float32)
    return Found(position_map, face.score, finding.box_of(position_map, layout))
