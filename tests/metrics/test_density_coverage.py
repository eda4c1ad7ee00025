"""Density and coverage: by hand, against all distances at once, and golden numbers."""

import numpy as np
import pytest
from scipy.spatial import distance

from sdgan_jax.metrics.density_coverage import density_coverage
from tests.metrics import golden_sets


def test_a_line_by_hand():
    real = np.array([[0.0], [1.0], [3.0]])  # radii at k = 1: 1, 1, 2: balls [-1, 1], [0, 2], [1, 5]
    fake = np.array([[0.5], [1.5], [9.0], [-7.0]])  # in 2, 2, 0 and 0 balls; each ball has one
    assert density_coverage(real, fake, k=1) == (1.0, 1.0)
    assert density_coverage(real, fake[[1, 2, 3]], k=1) == (2 / 3, 2 / 3)


@pytest.mark.parametrize("block", [7, 1000])
def test_blocks_of_any_size_follow_the_definition(block):
    rng = np.random.default_rng(0)
    real, fake = rng.normal(100.0, 1.0, (90, 4)), rng.normal(100.6, 0.7, (61, 4))
    radii = np.sort(distance.cdist(real, real), axis=1)[:, 5]  # column 0 is the vector itself
    inside = distance.cdist(fake, real) <= radii
    expected = inside.sum() / (5 * 61), inside.any(0).mean()
    assert 0.5 < expected[0] and 0.2 < expected[1] < 1
    assert density_coverage(real, fake, block=block) == pytest.approx(expected)


def test_golden():
    arrays, numbers = golden_sets.load()
    expected = numbers["prdc_density_f64"], numbers["prdc_coverage_f64"]
    assert density_coverage(arrays["real"], arrays["fake"], k=3) == pytest.approx(expected, abs=1e-12)


def test_outliers_of_the_real_set_do_not_raise_density_as_they_raise_precision():
    """A single real vector far away has a ball that holds all; it counts as one of k."""
    rng = np.random.default_rng(1)
    real, fake = np.concatenate([rng.normal(size=(50, 4)), [[100.0] * 4]]), rng.normal(20.0, 1.0, (30, 4))
    assert density_coverage(real, fake) == pytest.approx((0.2, 1 / 51))


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="k is 5, with 5 and 9 samples"):
        density_coverage(np.zeros((5, 2)), np.zeros((9, 2)))
