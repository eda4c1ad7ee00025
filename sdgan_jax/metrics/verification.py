"""Face verification: from the similarity of two faces, whether they are of one person."""

from __future__ import annotations

import math

import numpy as np

FOLDS = 10


def verification(similarities: np.ndarray, same: np.ndarray, folds: int = FOLDS) -> float:
    """Share of pairs that a threshold on the similarity judges right, cross-validated.

    The protocol of Labeled Faces in the Wild (Huang et al. 2007): each fold is judged by the threshold that is best on
    the others. As there, a fold holds its share of both kinds of pairs; the pairs of a kind are dealt to the folds in
    the order given.

    Args:
        similarities: float[N], higher for faces that are more alike.
        same: bool[N], whether the pair is of one person.
        folds: parts of the cross-validation.

    Returns:
        The mean accuracy over the folds, in [0,1]; 0.5 is chance where both kinds are equally many.

    Raises:
        ValueError: the lengths differ, or a fold would get no pair of a kind.
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
        judged = fold == held_out
        threshold = best_threshold(similarities[~judged], same[~judged])
        accuracies.append(np.mean((similarities[judged] > threshold) == same[judged]))
    return float(np.mean(accuracies))


def best_threshold(similarities: np.ndarray, same: np.ndarray) -> float:
    """The threshold above which to call a pair one person's, so that the most pairs are judged right.

    Args:
        similarities: float[N].
        same: bool[N].

    Returns:
        Half-way between two similarities, the lowest such place where several are as good; infinite where it is best
        to call all pairs the same thing.
    """
    order = np.argsort(similarities)
    ordered, positive = np.asarray(similarities, np.float64)[order], np.asarray(same)[order]
    # With the threshold below the k-th: the negatives before it and the positives from it on are judged right.
    before = lambda values: np.concatenate([[0], np.cumsum(values)])  # noqa: E731
    right = before(~positive) + positive.sum() - before(positive)
    edges = np.concatenate([[-np.inf], ordered, [np.inf]])
    right[edges[1:] == edges[:-1]] = -1  # no threshold lies between equal similarities
    k = int(right.argmax())
    return float((edges[k] + edges[k + 1]) / 2)


def tar_at_far(similarities: np.ndarray, same: np.ndarray, far: float = 1e-3) -> float:
    """True accept rate at a false accept rate: the share of one person's pairs that a strict threshold accepts.

    The threshold is the lowest at which at most a share `far` of the pairs of two people is accepted. It rests on
    `far` times as many pairs as there are of these, so that with a hundred times 1 / far it is known to about 10 %.

    Args:
        similarities: float[N], higher for faces that are more alike.
        same: bool[N], whether the pair is of one person.
        far: the false accept rate, in (0,1).

    Returns:
        The true accept rate, in [0,1].

    Raises:
        ValueError: the lengths differ, there are no pairs of one person, or so few of two people (less than 1 / far)
            that this rate cannot be told from 0.
    """
    similarities, same = _checked(similarities, same)
    negatives = np.sort(similarities[~same])[::-1]
    accepted = math.floor(far * len(negatives) + 1e-9)  # 0.001 · 1000 is to be 1
    if accepted < 1 or not same.any():
        raise ValueError(
            f"a false accept rate of {far:g} needs {math.ceil(1 / far - 1e-9)} pairs of two people and one of one "
            f"person; there are {len(negatives)} and {same.sum()}"
        )
    threshold = negatives[accepted] if accepted < len(negatives) else -np.inf
    return float(np.mean(similarities[same] > threshold))


def _checked(similarities: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    similarities, same = np.asarray(similarities, np.float64), np.asarray(same, bool)
    if similarities.ndim != 1 or similarities.shape != same.shape:
        raise ValueError(f"similarities {similarities.shape} and same {same.shape} must be of one length")
    if not np.isfinite(similarities).all():
        raise ValueError("similarities holds NaN or infinity")
    return similarities, same
