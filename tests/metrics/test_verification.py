"""Verification: counted by hand, and closed forms of two Gaussians."""

import numpy as np
import pytest
import scipy.stats

from sdgan_jax.metrics import verification as metric


def test_best_threshold_lies_where_the_most_are_right():
    similarities = np.array([0.9, 0.1, 0.4, 0.6, 0.5, 0.2])
    same = np.array([True, False, True, False, True, False])
    # In order: 0.1 -, 0.2 -, 0.4 +, 0.5 +, 0.6 -, 0.9 +: between 0.2 and 0.4 only 0.6 is wrong.
    assert metric.best_threshold(similarities, same) == pytest.approx(0.3)
    assert metric.best_threshold(similarities, np.ones(6, bool)) == -np.inf
    assert metric.best_threshold(similarities, np.zeros(6, bool)) == np.inf
    # Equal similarities cannot be told apart: both are accepted, or none.
    assert metric.best_threshold(np.array([0.5, 0.5, 0.5]), np.array([True, False, True])) == -np.inf
    # Of 0.1 -, 0.5 -, 0.5 +, 0.9 + three are right above 0.3 as well as above 0.7; a line between the 0.5 is none.
    tied = np.array([0.1, 0.5, 0.5, 0.9]), np.array([False, False, True, True])
    assert metric.best_threshold(*tied) == pytest.approx(0.3)


def test_a_fold_is_judged_by_the_threshold_of_the_others():
    """Two folds: pairs 0, 2 of each kind, and 1. Neither fold's own threshold, 0.2 and 0.7, fits the other."""
    similarities = np.array([0.3, 0.8, 0.1, 0.6])
    same = np.array([True, True, False, False])
    # Fold 0 (0.3 same, 0.1 not) is judged by 0.7: half right. Fold 1 (0.8 same, 0.6 not) by 0.2: half right.
    assert metric.verification(similarities, same, folds=2) == 0.5
    assert metric.verification(np.array([0.35, 0.4, 0.1, 0.2]), same, folds=2) == 1.0


def test_accuracy_of_two_gaussians():
    """N(1,1) against N(-1,1): the best threshold is 0, and right with probability Phi(1)."""
    rng = np.random.default_rng(0)
    same = np.arange(40_000) % 2 == 0
    similarities = rng.standard_normal(40_000) + np.where(same, 1, -1)
    expected = scipy.stats.norm.cdf(1)
    assert metric.verification(similarities, same) == pytest.approx(expected, abs=4 * 0.5 / np.sqrt(40_000))
    threshold = scipy.stats.norm.isf(0.01, -1)
    expected = scipy.stats.norm.sf(threshold, 1)
    assert metric.tar_at_far(similarities, same, 0.01) == pytest.approx(expected, abs=0.02)


def test_tar_at_far_counts():
    negatives = np.linspace(0, 0.999, 1000)
    positives = np.array([0.9985, 0.9995, 0.4, 0.998])
    similarities = np.concatenate([negatives, positives])
    same = np.arange(1004) >= 1000
    # One false accept is allowed: the threshold is the second highest negative, 0.998.
    assert metric.tar_at_far(similarities, same) == 2 / 4
    assert metric.tar_at_far(similarities, same, 0.5) == 3 / 4  # above 0.499
    order = np.random.default_rng(0).permutation(1004)
    assert metric.tar_at_far(similarities[order], same[order]) == 2 / 4


def test_too_few_pairs_are_refused():
    with pytest.raises(ValueError, match="0.001 needs 1000 pairs of two people and one of one person; there are 999"):
        metric.tar_at_far(np.zeros(1000), np.arange(1000) == 0)
    with pytest.raises(ValueError, match="there are 1000 and 0"):
        metric.tar_at_far(np.zeros(1000), np.zeros(1000, bool))
    with pytest.raises(ValueError, match="10 pairs of each kind; there are 9"):
        metric.verification(np.zeros(30), np.arange(30) < 9)
    with pytest.raises(ValueError, match="one length"):
        metric.verification(np.zeros(3), np.zeros(4, bool))
    with pytest.raises(ValueError, match="NaN"):
        metric.verification(np.full(3, np.nan), np.zeros(3, bool))
