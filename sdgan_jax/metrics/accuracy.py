"""Attribute accuracy: the share of images in which a classifier recognises the requested attribute."""

from __future__ import annotations

import numpy as np


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts each pair of true and predicted class.

    Args:
        labels: int[N], ids of the true or requested attributes, in [0, num_classes).
        predictions: int[N], ids predicted by the classifier, in [0, num_classes).
        num_classes: number of classes C.

    Returns:
        int64[C,C]; rows are true classes, columns predicted classes.

    Raises:
        ValueError: the lengths differ or an id is out of range.
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
    """Returns the share of samples on the diagonal of a confusion matrix, in [0, 1].

    Args:
        confusion: int[C,C] as returned by `confusion_matrix`, not all 0.
    """
    return float(np.trace(confusion) / confusion.sum())


def accuracy_per_class(confusion: np.ndarray) -> np.ndarray:
    """Returns the recall of each class: the share of its samples that were predicted correctly.

    Args:
        confusion: int[C,C] as returned by `confusion_matrix`.

    Returns:
        float64[C] in [0, 1]; NaN for a class without samples.
    """
    counts = confusion.sum(axis=1)
    return np.where(counts > 0, np.diag(confusion) / np.maximum(counts, 1), np.nan)
