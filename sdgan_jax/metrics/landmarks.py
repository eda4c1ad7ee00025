"""Distance between predicted and true points of faces."""

from __future__ import annotations

import numpy as np


def normalised_mean_error(predicted: np.ndarray, true: np.ndarray, box_of: np.ndarray) -> np.ndarray:
    """Computes the mean distance of points in per cent of √(w·h) of the face's box (Feng et al. 2018, section 4.1).

    Args:
        predicted: f32[N,K,D], points of N faces.
        true: f32[N,K,D], true points.
        box_of: f32[N,68,2 or 3], true landmarks; their x and y span the box.

    Returns:
        f32[N], one number for each face.
    """
    w, h = np.moveaxis(box_of[..., :2].max(1) - box_of[..., :2].min(1), -1, 0)
    distance = np.sqrt(np.square(predicted - true).sum(-1)).mean(-1)
    return 100.0 * distance / np.sqrt(w * h)
