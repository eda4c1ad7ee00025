"""Monotonicity of an edit: whether a classifier's probability rises steadily with the edit's strength."""

from __future__ import annotations

import numpy as np


def rises(values: np.ndarray, tolerance: float) -> np.ndarray:
    """Marks the sequences that rise monotonically.

    A sequence rises if no value is lower than the greatest one before it by more than the tolerance, and the last one
    is higher than the first by more than the tolerance. A constant sequence therefore does not rise.

    Args:
        values: f[S,N], N sequences of S >= 2 values.
        tolerance: >= 0, in the unit of the values.

    Returns:
        bool[N].

    Raises:
        ValueError: there are fewer than two values.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or len(values) < 2:
        raise ValueError(f"values must be [S,N] with S >= 2, got {values.shape}")
    falls = np.maximum.accumulate(values) - values
    return (falls.max(0) <= tolerance) & (values[-1] - values[0] > tolerance)
