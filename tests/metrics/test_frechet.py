"""Fréchet distance: closed forms, scipy's matrix root, golden numbers."""

import numpy as np
import pytest
from scipy import linalg

from sdgan_jax.metrics import frechet, moments
from sdgan_jax.metrics.moments import Moments
from tests.metrics import golden_sets, references


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


@pytest.mark.parametrize("name", ["torch_fidelity_f64", "pytorch_fid_f64", "eigh_f64", "torch_fidelity_f32"])
def test_golden(name):
    arrays, numbers = golden_sets.load()
    # 1e-7: a mean in float32 moves the 7th digit.
    bound = 1e-7 if name.endswith("f32") else 1e-10
    assert frechet.frechet_distance(arrays["fake"], arrays["real"]) == pytest.approx(numbers[f"fid_{name}"], rel=bound)


@pytest.mark.parametrize("name", ["torch_fidelity_f64", "pytorch_fid_f64", "eigh_f64"])
def test_golden_singular_covariances(name):
    arrays, numbers = golden_sets.load()
    value = frechet.frechet_distance(arrays["fake"][:40], arrays["real"][:40])
    # 1e-7: the references differ by 1e-8, as each has its way with eigenvalues as small as the rounding.
    assert value == pytest.approx(numbers[f"fid_rankdef_first40_{name}"], rel=1e-7)


@pytest.mark.parametrize(("n", "m", "ddof"), [(2, 30, 1), (30, 2, 0), (12, 14, 1), (16, 16, 0)])
def test_a_few_samples_have_the_distance_of_their_moments(n, m, ddof):
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=(n, 16)), 2 * rng.normal(size=(m, 16)) + 1
    expected = frechet.moments_frechet_distance(Moments.of(x), Moments.of(y), ddof)
    # 1e-7: the roots of eigenvalues as small as the rounding.
    assert frechet.frechet_distance(x, y, ddof) == pytest.approx(expected, rel=1e-7)


def test_two_pairs_have_a_closed_form():
    # Covariances of rank one: the trace of (v vᵀ w wᵀ)^½ is |v·w|.
    x, y = np.random.default_rng(3).normal(size=(2, 2, 9))
    (v, w), mean = ((each[0] - each[1]) / np.sqrt(2) for each in (x, y)), x.mean(0) - y.mean(0)
    expected = mean @ mean + v @ v + w @ w - 2 * abs(v @ w)
    assert frechet.frechet_distance(x, y) == pytest.approx(expected, rel=1e-12)


def test_golden_identical_sets():
    arrays, numbers = golden_sets.load()
    value = frechet.frechet_distance(arrays["real"], arrays["real"])
    assert value == pytest.approx(numbers["fid_identical_sets_f64"], abs=1e-10) and value >= 0


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
    arrays, numbers = golden_sets.load()
    parts = {
        kind: [Moments.of(arrays[kind][first : first + 7]) for first in range(0, len(arrays[kind]), 7)]
        for kind in ("real", "fake")
    }
    sums = {kind: moments.merge_all(parts[kind]) for kind in parts}
    for kind, found in sums.items():
        np.testing.assert_allclose(found.mean, arrays[f"mu_{kind}"], rtol=1e-12, atol=1e-14)
    value = frechet.moments_frechet_distance(sums["fake"], sums["real"])
    assert value == pytest.approx(numbers["fid_torch_fidelity_f64"], rel=1e-10)


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
