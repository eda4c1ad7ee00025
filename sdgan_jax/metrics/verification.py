"""Face verification: deciding from the similarity of two faces if they show one person."""

from __future__ import annotations

import math

import numpy as np

FOLDS = 10


def verification(similarities: np.ndarray, same: np.ndarray, folds: int = FOLDS) -> float:
    """Computes the cross-validated accuracy of a threshold on the similarity.

    This is the protocol of Labeled Faces in the Wild (Huang et al. 2007): each fold is classified with the best
    threshold of the other folds. Each fold contains its share of both kinds of pairs; the pairs of each kind are dealt
    to the folds in their order.

    Args:
        similarities: float[N], higher for faces that are more alike.
        same: bool[N], true for pairs of one person.
        folds: number of parts of the cross-validation.

    Returns:
        The mean accuracy over the folds, in [0,1]; 0.5 is chance where both kinds are equally many.

    Raises:
        ValueError: the lengths differ, a similarity is not finite, or a fold would get no pair of a kind.
    """
    similarities, same = _checked(similarities, same)
    fewest = min(same.sum(), (~same).sum())
    if fewest < folds:
        raise ValueError(f"verification in {folds} folds needs {folds} pairs of each kind; there are {fewest} of one")
    fold = np.empty(len(same), np.int64)
    for kind in (True, False):
        fold[same == kind] = np.arange((same == kind).sum()) % folds
    accuracies = []
    for held_out in range(folds):
        tested = fold == held_out
        threshold = best_threshold(similarities[~tested], same[~tested])
        accuracies.append(np.mean((similarities[tested] > threshold) == same[tested]))
    return float(np.mean(accuracies))


def best_threshold(similarities: np.ndarray, same: np.ndarray) -> float:
    """Returns the threshold that classifies the most pairs correctly; pairs above it count as one person.

    Args:
        similarities: float[N].
        same: bool[N], true for pairs of one person.

    Returns:
        The midpoint of two neighbouring similarities, the lowest of equally good ones; infinite if it is best to put
        all pairs into one class.
    """
    order = np.argsort(similarities)
    ordered, positive = np.asarray(similarities, np.float64)[order], np.asarray(same)[order]
    # A threshold below the k-th is right for the negatives before it and for the positives from it on.
    before = lambda values: np.concatenate([[0], np.cumsum(values)])  # noqa: E731
    right = before(~positive) + positive.sum() - before(positive)
    edges = np.concatenate([[-np.inf], ordered, [np.inf]])
    right[edges[1:] == edges[:-1]] = -1  # no threshold lies between equal similarities
    k = int(right.argmax())
    return float((edges[k] + edges[k + 1]) / 2)


def tar_at_far(similarities: np.ndarray, same: np.ndarray, far: float = 1e-3) -> float:
    """Computes the true accept rate at a false accept rate.

    The threshold is the lowest that accepts at most the share `far` of the pairs of two people. It is determined by
    `far` · (number of such pairs) samples; with 100 / far pairs it is known to about 10 %.

    Args:
        similarities: float[N], higher for faces that are more alike.
        same: bool[N], true for pairs of one person.
        far: the false accept rate, in (0,1).

    Returns:
        The true accept rate, in [0,1].

    Raises:
        ValueError: the lengths differ, a similarity is not finite, there is no pair of one person, or there are fewer
            than 1 / far pairs of two people, which cannot distinguish this rate from 0.
    """
    similarities, same = _checked(similarities, same)
    negatives = np.sort(similarities[~same])[::-1]
    accepted = math.floor(far * len(negatives) + 1e-9)  # rounds 0.001 · 1000 to 1
    if accepted < 1 or not same.any():
        raise ValueError(
            f"a false accept rate of {far:g} needs {math.ceil(1 / far - 1e-9)} pairs of two people and one of one "
            f"person; there are {len(negatives)} and {same.sum()}"
        )
    threshold = negatives[accepted] if accepted < len(negatives) else -np.inf
    return float(np.mean(similarities[same] > threshold))


def _checked(similarities: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns both as float64[N] and bool[N]; raises ValueError for other shapes and for values that are not finite."""
    similarities, same = np.asarray(similarities, np.float64), np.asarray(same, bool)
    if similarities.ndim != 1 or similarities.shape != same.shape:
        raise ValueError(f"similarities {similarities.shape} and same {same.shape} must be of one length")
    if not np.isfinite(similarities).all():
        raise ValueError("similarities contains NaN or infinity")
    return similarities, same
