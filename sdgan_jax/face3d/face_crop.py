"""Crops that generators are trained on: an upright square around a face, given by its 68 landmarks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from sdgan_jax.face3d import alignment, cutting, finding

Kind = Literal["megn", "ffhq"]
_SMALLEST = 4.0  # pixels; a smaller square shows no face
_RIGHT_EYE, _LEFT_EYE = slice(36, 42), slice(42, 48)  # of the person; the right one is on the left of a picture
_MOUTH_CORNERS = (48, 54)


class Crop(NamedTuple):
    """A square of a photo, see `alignment`, and the rotation that brings its face upright.

    Attributes:
        square: f64[3], x and y of the centre and the side, in pixels of the photo.
        degrees: clockwise rotation of the content about the centre.
    """

    square: np.ndarray
    degrees: float

    def cut(self, levels: list[np.ndarray], size: int) -> np.ndarray:
        """Cuts the square out of a photo as u8[size,size,3].

        Args:
            levels: the photo and smaller copies of it, see `cutting.halvings`.
            size: side of the result in pixels.
        """
        return cutting.cut_frame(levels, self.square, self.degrees, size)

    def corners(self) -> np.ndarray:
        """Returns the corners f64[4,2] in the photo, clockwise from the face's upper left."""
        corners = np.array([[-0.5, -0.5, 0.0], [0.5, -0.5, 0.0], [0.5, 0.5, 0.0], [-0.5, 0.5, 0.0]])
        return alignment.from_square(corners, self.square, 1, self.degrees)[:, :2]


def ffhq(points: np.ndarray) -> Crop:
    """Returns the crop of FFHQ (Karras et al. 2019), as in CelebA-HQ (Karras et al. 2018, appendix C).

    With the vectors e from eye to eye and m from the middle of the eyes to the middle of the mouth's corners, the
    direction to the right is e + m turned by a right angle. Half a side is the greater of 2 |e| and 1.8 |m|. The centre
    lies at 0.1 m below the middle of the eyes.

    Args:
        points: f32[68,2], the landmarks in pixels of the photo.
    """
    eyes, across, down = _axes(points)
    side = 2.0 * max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down), 0.5 * _SMALLEST)
    return Crop(np.array([*(eyes + 0.1 * down), side]), -_roll(across, down))


def megn(points: np.ndarray) -> Crop:
    """Returns the crop of the rendered faces of `tfds_megn`: size and place of the landmarks' box, see `finding.MEGN`.

    The box is that of the upright landmarks, the direction to the right that of `ffhq`.

    Args:
        points: f32[68,2], the landmarks in pixels of the photo.
    """
    _, across, down = _axes(points)
    degrees, framing = -_roll(across, down), finding.MEGN
    about = np.array([0.0, 0.0, 1.0])
    upright = alignment.to_square(np.pad(points, ((0, 0), (0, 1))), about, 1, degrees)[:, :2]
    low, high = upright.min(0), upright.max(0)
    side = max((high - low).mean() / framing.share, _SMALLEST)
    centre = 0.5 * (low + high) + (0.5 - np.array([framing.x, framing.y])) * side
    x, y, _ = alignment.from_square(np.append(centre, 0.0), about, 1, degrees)
    return Crop(np.array([x, y, side]), degrees)


CROPS: dict[Kind, Callable[[np.ndarray], Crop]] = {"megn": megn, "ffhq": ffhq}


def _axes(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the middle of the eyes, and the vectors from eye to eye and from there to the mouth, f64[2] each."""
    points = np.asarray(points, np.float64)
    right, left = points[_RIGHT_EYE].mean(0), points[_LEFT_EYE].mean(0)
    eyes = 0.5 * (right + left)
    return eyes, left - right, points[list(_MOUTH_CORNERS)].mean(0) - eyes


def _roll(across: np.ndarray, down: np.ndarray) -> float:
    """Returns the clockwise rotation of a face in degrees; the mouth counts too, as eyes of profiles are close."""
    x, y = across + np.array([down[1], -down[0]])
    return float(np.rad2deg(np.arctan2(y, x)))
