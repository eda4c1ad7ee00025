"""Precision and recall of generated features (Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric").

The manifold of a set is the union of balls around its vectors; the radius of a ball is the distance to the k-th nearest
other vector of the set. Precision is the share of generated vectors in the manifold of the real ones, recall the share
of real vectors in the manifold of the generated ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sdgan_jax.metrics import feature_sets

BLOCK = 2048  # rows and columns of the block of distances that is in memory


def precision_recall(real: np.ndarray, fake: np.ndarray, k: int = 3, block: int = BLOCK) -> tuple[float, float]:
    """Computes precision and recall.

    Args:
        real: float[N,D], N > k.
        fake: float[M,D], M > k.
        k: number of the neighbour that the radius reaches to, the vector itself not counted.
        block: rows of a block; memory beside the features is O(block² + block · D), time O(N² + M² + N M).

    Returns:
        Precision and recall, from 0 to 1.

    Raises:
        ValueError: see `feature_sets.checked`, or a set has not more than k vectors.
    """
    precise, recalled = find_in_manifolds(real, fake, k, block)
    return float(precise.mean()), float(recalled.mean())


def find_in_manifolds(
    real: np.ndarray, fake: np.ndarray, k: int = 3, block: int = BLOCK
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the vectors that lie in the manifold of the other set; for arguments and errors see `precision_recall`.

    Returns:
        bool[M] of the generated vectors, and bool[N] of the real ones.
    """
    real, fake = centred(real, fake, k)
    real_radii, fake_radii = radii(real, k, block), radii(fake, k, block)
    precise, recalled = np.zeros(len(fake), bool), np.zeros(len(real), bool)
    for rows, columns, distances in blocks_of_distances(fake, real, block):
        precise[rows] |= (distances <= real_radii[columns]).any(axis=1)
        recalled[columns] |= (distances <= fake_radii[rows, None]).any(axis=0)
    return precise, recalled


def centred(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns both sets as f32[N,D] and f32[M,D], moved so that the mean of `real` is the origin.

    Norms are small there, and so are the rounding errors of differences of squares.

    Raises:
        ValueError: see `precision_recall`.
    """
    real, fake = feature_sets.checked(real, fake, np.float32)
    if not 1 <= k < min(len(real), len(fake)):
        raise ValueError(f"k is {k}, with {len(real)} and {len(fake)} samples; each set needs more than k, and k >= 1")
    origin = real.mean(axis=0)
    return real - origin, fake - origin


def radii(x: np.ndarray, k: int, block: int = BLOCK) -> np.ndarray:
    """Returns f32[N], the squared distance from each vector of f32[N,D] to its k-th nearest other one."""
    nearest = np.full((len(x), k), np.inf, np.float32)
    for rows, columns, distances in blocks_of_distances(x, x, block):
        if rows == columns:
            np.fill_diagonal(distances, np.inf)  # a vector is not its own neighbour
        joined = np.concatenate([nearest[rows], distances], axis=1)
        nearest[rows] = np.partition(joined, k - 1, axis=1)[:, :k]
    return nearest.max(axis=1)


def blocks_of_distances(x: np.ndarray, y: np.ndarray, block: int = BLOCK) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Yields rows of f32[N,D], rows of f32[M,D], and their squared distances f32[n,m]: |x|² + |y|² - 2 x·y."""
    for rows in _slices(len(x), block):
        for columns in _slices(len(y), block):
            squares = np.square(x[rows]).sum(axis=1)[:, None] + np.square(y[columns]).sum(axis=1)
            yield rows, columns, np.maximum(squares - 2.0 * (x[rows] @ y[columns].T), 0.0)


def _slices(count: int, size: int) -> list[slice]:
    """Returns the slices of `size` rows that cover `count` rows."""
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]
