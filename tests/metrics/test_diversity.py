"""Diversity: closed forms."""

import numpy as np
import pytest
from scipy import special
from scipy.spatial import distance

from sdgan_jax.metrics import diversity


def test_triangle_by_hand():
    features = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]], np.float32)  # sides 3, 4, 5
    assert diversity.mean_pairwise_distance(features) == pytest.approx(4.0)


def test_equal_samples_have_none():
    features = np.tile(np.random.default_rng(0).normal(size=(1, 128)), (10, 1)) * 1e3
    assert diversity.mean_pairwise_distance(features) == 0.0


def test_gaussian_has_the_expected_distance():
    dim = 16  # the distance of two N(0, I) samples is sqrt(2) times a chi variable: mean 2 G((d+1)/2) / G(d/2)
    expected = 2.0 * np.exp(special.gammaln((dim + 1) / 2) - special.gammaln(dim / 2))
    for n in (200, 800):  # whatever the number of samples
        features = np.random.default_rng(n).normal(size=(n, dim))
        assert diversity.mean_pairwise_distance(features) == pytest.approx(expected, rel=0.02)
        assert diversity.mean_pairwise_distance(features) == pytest.approx(distance.pdist(features).mean(), rel=1e-12)


def test_one_sample_is_refused():
    with pytest.raises(ValueError, match="N >= 2"):
        diversity.mean_pairwise_distance(np.zeros((1, 4)))
