"""Within-class diversity: how different the faces are that share an attribute.

Accuracy alone rewards a generator that draws one good mask for ever. The mean distance between two different
samples of a class falls to 0 for such a generator; beside the same number for real images of the class, it
says how much of the real variety is there.
"""

from __future__ import annotations

import numpy as np


def mean_pairwise_distance(features: np.ndarray) -> float:
    """Mean Euclidean distance over all unordered pairs of different samples.

        2 / (N (N - 1)) * sum over i < j of |f_i - f_j|

    A mean over pairs, each sample never with itself, so its expectation does not depend on N.

    Args:
        features: float[N,D], the features of one class, N >= 2.

    Returns:
        The mean distance, >= 0, in the unit of the features; 0 when all samples are equal.

    Raises:
        ValueError: when there are fewer than two samples.
    """
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"features must be [N,D] with N >= 2 to have a pair, got shape {features.shape}")
    total = 0.0
    for i in range(len(features) - 1):  # differences, not the Gram matrix: equal samples give exactly 0
        total += np.sqrt(np.square(features[i + 1 :] - features[i]).sum(axis=1)).sum()
    return float(2.0 * total / (len(features) * (len(features) - 1)))
