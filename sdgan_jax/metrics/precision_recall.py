"""Precision and recall of generated features (Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric").

The manifold of a set is the union of balls around its vectors; the radius of a ball is the distance to the k-th nearest
other vector of the set. Precision is the share of generated vectors in the manifold of the real ones, recall the share
of real vectors in the manifold of the generated ones.
"""

from __future__ import annotations

import numpy as np

_BLOCK = 2048  # rows and columns of the block of distances that is in memory


def precision_recall(real: np.ndarray, fake: np.ndarray, k: int = 3, block: int = _BLOCK) -> tuple[float, float]:
    """Computes precision and recall.

    Args:
        real: float[N,D], N > k.
        fake: float[M,D], M > k.
        k: number of the neighbour that the radius reaches to, the vector itself not counted.
        block: rows of a block; memory beside the features is O(block² + block · D), time O(N² + M² + N M).

    Returns:
        Precision and recall, from 0 to 1.

    Raises:
        ValueError: the shapes do not fit, or a set has not more than k vectors.
    """
    real, fake = np.asarray(real, np.float32), np.asarray(fake, np.float32)
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1]:
        raise ValueError(f"features must be [N,D] and [M,D] with one D, got {real.shape} and {fake.shape}")
    if not 1 <= k < min(len(real), len(fake)):
        raise ValueError(f"k is {k}, with {len(real)} and {len(fake)} samples; each set needs more than k, and k >= 1")
    origin = real.mean(axis=0)  # norms are small there, and so are the rounding errors of differences of squares
    real, fake = real - origin, fake - origin
    real_radii, fake_radii = _radii(real, k, block), _radii(fake, k, block)
    precise, recalled = np.zeros(len(fake), bool), np.zeros(len(real), bool)
    for rows in _slices(len(fake), block):
        for columns in _slices(len(real), block):
            distances = _squared_distances(fake[rows], real[columns])
            precise[rows] |= (distances <= real_radii[columns]).any(axis=1)
            recalled[columns] |= (distances <= fake_radii[rows, None]).any(axis=0)
    return float(precise.mean()), float(recalled.mean())


def _radii(x: np.ndarray, k: int, block: int) -> np.ndarray:
    """Returns f32[N], the squared distance from each vector to its k-th nearest other one."""
    radii = np.empty(len(x), np.float32)
    for rows in _slices(len(x), block):
        nearest = np.full((rows.stop - rows.start, k), np.inf, np.float32)
        for columns in _slices(len(x), block):
            distances = _squared_distances(x[rows], x[columns])
            if rows == columns:
                np.fill_diagonal(distances, np.inf)  # a vector is not its own neighbour
            nearest = np.partition(np.concatenate([nearest, distances], axis=1), k - 1, axis=1)[:, :k]
        radii[rows] = nearest.max(axis=1)
    return radii


def _squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns f32[N,M], the squared distances of vectors f32[N,D] and f32[M,D]: |x|² + |y|² - 2 x·y."""
    squares = np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1)
    return np.maximum(squares - 2.0 * (x @ y.T), 0.0)


def _slices(count: int, size: int) -> list[slice]:
    """Returns the slices of `size` rows that cover `count` rows."""
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]
