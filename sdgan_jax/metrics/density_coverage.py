"""Density and coverage of generated features (Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics").

Both use the balls around the real vectors only, as wide as their k-th nearest other real vector; see
`precision_recall`. Density is the mean number of balls that a generated vector lies in, divided by k; coverage is the
share of balls with a generated vector. Published values use k = 5.
"""

from __future__ import annotations

import numpy as np

from sdgan_jax.metrics import precision_recall


def density_coverage(
    real: np.ndarray, fake: np.ndarray, k: int = 5, block: int = precision_recall.BLOCK
) -> tuple[float, float]:
    """Computes density and coverage.

    Args:
        real: float[N,D], N > k.
        fake: float[M,D], M > k.
        k: number of the neighbour that the radius reaches to, the vector itself not counted.
        block: rows of a block; see `precision_recall.precision_recall`.

    Returns:
        Density, from 0 to N / k and about 1 for equal distributions; coverage, from 0 to 1.

    Raises:
        ValueError: see `precision_recall.precision_recall`.
    """
    real, fake = precision_recall.centred(real, fake, k)
    radii = precision_recall.radii(real, k, block)
    balls, covered = np.zeros(len(fake), np.int64), np.zeros(len(real), bool)
    for rows, columns, distances in precision_recall.blocks_of_distances(fake, real, block):
        inside = distances <= radii[columns]
        balls[rows] += inside.sum(axis=1)
        covered[columns] |= inside.any(axis=0)
    return float(balls.mean() / k), float(covered.mean())
