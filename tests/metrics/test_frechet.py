"""Fréchet distance: closed forms, scipy's matrix root, golden numbers."""

import pathlib

import numpy as np
import pytest
from scipy import linalg

from sdgan_jax.metrics import frechet

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "metrics.npz"


def test_commuting_covariances_have_a_closed_form():
    # Diagonal covariances: |m|^2 + sum (s_x - s_y)^2 of the standard deviations.
    value = frechet.gaussian_frechet_distance(
        np.zeros(3), np.diag([1.0, 4.0, 0.0]), np.array([1.0, 2.0, 2.0]), np.diag([9.0, 4.0, 25.0])
    )
    assert value == pytest.approx(9 + 4 + 0 + 25)


def test_general_covariances_against_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 12, 12))
    cov_a, cov_b, mean = a @ a.T, b @ b.T, rng.normal(size=12)
    expected = mean @ mean + np.trace(cov_a + cov_b) - 2 * np.trace(linalg.sqrtm(cov_a @ cov_b)).real
    assert frechet.gaussian_frechet_distance(mean, cov_a, np.zeros(12), cov_b) == pytest.approx(expected, rel=1e-9)


def test_golden_singular_covariances():
    golden = np.load(GOLDEN)
    value = frechet.frechet_distance(golden["fake"], golden["real"])
    # 1e-6: the reference clips the root of rounding-sized eigenvalues, which moves its 8th digit.
    assert value == pytest.approx(float(golden["frechet_distance"]), rel=1e-6)


def test_samples_shifted_and_scaled():
    x = np.random.default_rng(1).normal(size=(500, 6))
    assert frechet.frechet_distance(x, x) == pytest.approx(0.0, abs=1e-9)
    shift = np.arange(6.0)
    assert frechet.frechet_distance(x, x + shift) == pytest.approx(55.0)  # 0 + 1 + 4 + 9 + 16 + 25
    centred = x - x.mean(axis=0)
    expected = np.trace(np.cov(x, rowvar=False))  # S and 4S: sum (2 s - s)^2 = tr S
    assert frechet.frechet_distance(centred, 2 * centred) == pytest.approx(expected)


def test_bad_sets_are_refused():
    with pytest.raises(ValueError, match="one D"):
        frechet.frechet_distance(np.zeros((4, 3)), np.zeros((4, 2)))
