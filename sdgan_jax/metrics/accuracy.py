"""Attribute accuracy: how often a classifier sees the attribute that was asked for."""

from __future__ import annotations

import numpy as np


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts of each (asked for, seen) pair.

    Args:
        labels: int[N], ids of the true attributes (or those asked for), in [0, num_classes).
        predictions: int[N], ids that the classifier saw, in [0, num_classes).
        num_classes: number of classes C.

    Returns:
        int64[C,C]; row = true class, column = predicted class.

    Raises:
        ValueError: when the lengths differ or an id is out of range.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape or labels.ndim != 1:
        raise ValueError(f"labels {labels.shape} and predictions {predictions.shape} must be of one length")
    for name, ids in (("labels", labels), ("predictions", predictions)):
        if ids.size and (ids.min() < 0 or ids.max() >= num_classes):
            raise ValueError(f"{name} has ids from {ids.min()} to {ids.max()}; they must be in 0..{num_classes - 1}")
    flat = np.bincount(labels * num_classes + predictions, minlength=num_classes**2)
    return flat.reshape(num_classes, num_classes)


def accuracy(confusion: np.ndarray) -> float:
    """Share of all samples on the diagonal of a confusion matrix, in [0, 1].

    Args:
        confusion: int[C,C] as `confusion_matrix` returns it, not empty.
    """
    return float(np.trace(confusion) / confusion.sum())


def accuracy_per_class(confusion: np.ndarray) -> np.ndarray:
    """Share of each true class that was seen as such (its recall).

    Args:
        confusion: int[C,C] as `confusion_matrix` returns it.

    Returns:
        float64[C] in [0, 1]; NaN for a class without samples.
    """
    counts = confusion.sum(axis=1)
    return np.where(counts > 0, np.diag(confusion) / np.maximum(counts, 1), np.nan)
