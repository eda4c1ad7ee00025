"""Lengths of the prior basis at which G draws an attribute as real faces wear it.

The attribute loss drives G far along each direction: its beards are all dark and dense, while real ones also are faint.
For each attribute, random latents are moved by several lengths, and the length is kept whose faces are nearest to real
ones by the Fréchet distance of a classifier's features, which counts the mean as well as the variety.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from tqdm import auto as tqdm

from sdgan_jax.latents import Directions
from sdgan_jax.metrics import frechet

FACTORS = np.arange(0.5, 1.55, 0.1)  # lengths tried, as shares of the length at hand


def fit(
    directions: Directions, w: np.ndarray, see: Callable[[np.ndarray], np.ndarray], real: Mapping[int, np.ndarray]
) -> np.ndarray:
    """Finds lengths.

    Args:
        directions: rows, and the lengths that the search starts from.
        w: f32[N,D], latents of plain faces.
        see: features f32[N,F] of the faces of latents f32[N,D].
        real: features f32[M,F] of real faces with an attribute, by its id; an attribute without keeps its length.

    Returns:
        f32[A]: lengths; between the factors tried, the least value of a parabola through the logarithms of the least
        distance and its two neighbours.
    """
    lengths = directions.lengths.copy()
    with tqdm.tqdm(total=len(FACTORS) * len(real), desc="Lengths", unit="length", mininterval=0.5) as bar:
        for attribute, faces in real.items():
            distances = []
            for factor in FACTORS:
                moved = w + factor * directions.lengths[attribute] * directions.rows[attribute]
                distances.append(frechet.frechet_distance(see(moved), faces))
                bar.update()
            lengths[attribute] *= _least(FACTORS, np.log(np.maximum(distances, 1e-9)))
    return lengths


def _least(x: np.ndarray, y: np.ndarray) -> float:
    """Returns where equally spaced values y of x are least: the vertex of the parabola through the least three."""
    at = int(np.argmin(y))
    if at in (0, len(y) - 1):
        return float(x[at])
    before, here, after = y[at - 1 : at + 2]
    return float(x[at] + 0.5 * (x[1] - x[0]) * (before - after) / (before - 2 * here + after))
