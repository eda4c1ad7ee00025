"""Fréchet distance: closed forms, scipy's matrix root, golden numbers."""

import pathlib

import numpy as np
import pytest
from scipy import linalg

from sdgan_jax.metrics import frechet, moments
from sdgan_jax.metrics.moments import Moments
from tests.metrics import references

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


@pytest.mark.parametrize("ddof", [0, 1])
def test_both_divisors(ddof):
    """Isotropic sets: |m|² + D (s_x - s_y)²; the divisor N makes each variance (N - 1) / N times as large."""
    x = np.random.default_rng(2).normal(size=(40, 1))
    y = 3 * x[:20] + 5
    deviations = [np.sqrt(np.square(s - s.mean()).sum() / (len(s) - ddof)) for s in (x, y)]
    expected = (x.mean() - y.mean()) ** 2 + (deviations[0] - deviations[1]) ** 2
    assert frechet.frechet_distance(x, y, ddof) == pytest.approx(expected, rel=1e-12)


def test_running_sums_give_the_golden_distance():
    golden = np.load(GOLDEN)
    parts = {
        kind: [Moments.of(golden[kind][first : first + 7]) for first in range(0, 40, 7)] for kind in ("real", "fake")
    }
    value = frechet.moments_frechet_distance(*(moments.merge_all(parts[kind]) for kind in ("fake", "real")))
    assert value == pytest.approx(float(golden["frechet_distance"]), rel=1e-6)


def test_moments_of_too_few_samples_are_refused():
    one, two = Moments.of(np.zeros((1, 3))), Moments.of(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="at least 2 samples"):
        frechet.moments_frechet_distance(one, two)


@pytest.mark.slow
def test_torch_fidelity_gives_the_same():
    reference = references.load("torch_fidelity.metric_fid")
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(200, 30)), rng.normal(0.2, 1.3, size=(150, 30))
    stats = [{"mu": s.mean(0), "sigma": np.cov(s, rowvar=False)} for s in (x, y)]
    expected = reference.fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    assert frechet.frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_clean_fid_gives_the_same():
    reference = references.load("cleanfid.fid")
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(200, 30)), rng.normal(0.2, 1.3, size=(150, 30))
    expected = reference.fid_from_feats(x, y)
    assert frechet.frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)
