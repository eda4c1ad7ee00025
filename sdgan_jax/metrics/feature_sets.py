"""Check of two sets of features that a metric compares."""

from __future__ import annotations

from typing import Any

import numpy as np


def checked(x: Any, y: Any, dtype: type[np.floating] | None = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Returns two sets of features as arrays.

    Args:
        x: float[N,D], N >= 2.
        y: float[M,D], M >= 2.
        dtype: type of the arrays that are returned; None leaves theirs.

    Raises:
        ValueError: the shapes do not fit, a set has fewer than two samples, or a feature is NaN or infinite.
    """
    x, y = np.asarray(x, dtype), np.asarray(y, dtype)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"features must be [N,D] and [M,D] with one D, got {x.shape} and {y.shape}")
    if min(len(x), len(y)) < 2:
        raise ValueError(f"each set needs at least 2 samples, got {len(x)} and {len(y)}")
    for features in (x, y):
        if bad := int((~np.isfinite(features)).any(axis=1).sum()):
            raise ValueError(f"features of {bad} of {len(features)} samples are NaN or infinite; leave these out")
    return x, y
