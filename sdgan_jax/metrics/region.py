"""Changed regions: the pixels that an edit changes, their overlap with the true ones, and differences inside them."""

from __future__ import annotations

import numpy as np


def changed(first: np.ndarray, second: np.ndarray, threshold: float) -> np.ndarray:
    """Marks the pixels in which two images differ.

    Args:
        first: f32[N,H,W,3].
        second: f32[N,H,W,3].
        threshold: the mean absolute difference of the three colours above which a pixel counts as changed.

    Returns:
        bool[N,H,W].

    Raises:
        ValueError: the shapes differ.
    """
    return _difference(first, second) > threshold


def intersection_over_union(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Computes the overlap of regions: the size of their intersection over that of their union.

    Args:
        first: bool[N,H,W].
        second: bool[N,H,W].

    Returns:
        f64[N] in [0,1]; NaN where both regions are empty.
    """
    union = (first | second).sum((1, 2))
    overlap = (first & second).sum((1, 2))
    return np.where(union > 0, overlap / np.maximum(union, 1), np.nan)


def mean_difference(first: np.ndarray, second: np.ndarray, region: np.ndarray | None = None) -> np.ndarray:
    """Computes the mean absolute difference (L1) of images in a region.

    Args:
        first: f32[N,H,W,3].
        second: f32[N,H,W,3].
        region: bool[N,H,W]; None for the whole images.

    Returns:
        f64[N], in the unit of the images; NaN where the region is empty.

    Raises:
        ValueError: the shapes differ.
    """
    difference = _difference(first, second)
    if region is None:
        return difference.mean((1, 2))
    sizes = region.sum((1, 2))
    return np.where(sizes > 0, (difference * region).sum((1, 2)) / np.maximum(sizes, 1), np.nan)


def _difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the mean absolute difference of the colours, f64[N,H,W]."""
    if first.shape != second.shape or first.ndim != 4:
        raise ValueError(f"images must be two [N,H,W,C] of one shape, got {first.shape} and {second.shape}")
    return np.abs(first.astype(np.float64) - second).mean(-1)
