"""Within-class diversity: the mean feature distance between faces that share an attribute.

Accuracy alone rewards a generator that always produces the same face with a recognisable attribute; its diversity is 0.
Divided by the diversity of real images of the class, the number is the share of the real variety that is reproduced.
"""

from __future__ import annotations

import numpy as np


def mean_pairwise_distance(features: np.ndarray) -> float:
    """Computes the mean Euclidean distance over all unordered pairs of different samples.

        2 / (N (N - 1)) * sum over i < j of |f_i - f_j|

    No sample is paired with itself, so that the expectation does not depend on N.

    Args:
        features: float[N,D], features of one class, N >= 2.

    Returns:
        The mean distance, >= 0, in the unit of the features; 0 when all samples are equal.

    Raises:
        ValueError: there are fewer than two samples.
    """
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"features must be [N,D] with N >= 2 to have a pair, got shape {features.shape}")
    total = 0.0
    for i in range(len(features) - 1):  # explicit differences give exactly 0 for equal samples, unlike a Gram matrix
        total += np.sqrt(np.square(features[i + 1 :] - features[i]).sum(axis=1)).sum()
    return float(2.0 * total / (len(features) * (len(features) - 1)))
