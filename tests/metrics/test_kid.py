"""KID: by hand, by its expectation, and against golden numbers."""

import inspect

import numpy as np
import pytest

from sdgan_jax.metrics import kid
from tests.metrics import golden_sets, references


def test_two_pairs_by_hand():
    x = np.array([[1.0], [2.0]])  # k(1, 2) = 3^3 = 27
    y = np.array([[0.0], [-1.0]])  # k(0, -1) = 1
    # k_xy: (1·0 + 1)^3 = 1, (1·-1 + 1)^3 = 0, (2·0 + 1)^3 = 1, (2·-1 + 1)^3 = -1: mean 1/4
    assert kid.polynomial_mmd(x, y) == pytest.approx(27 + 1 - 2 * 0.25)


def test_golden():
    arrays, numbers = golden_sets.load()
    pairs = zip(arrays["kid_idx_fake"], arrays["kid_idx_real"], strict=True)
    values = [kid.polynomial_mmd(arrays["fake"][i], arrays["real"][j]) for i, j in pairs]
    np.testing.assert_allclose(values, arrays["kid_per_subset_f64"], atol=1e-13)
    for name, bound in (("f64", 1e-13), ("f32", 1e-7)):
        assert np.mean(values) == pytest.approx(numbers[f"kid_mean_{name}"], abs=bound)
        assert np.std(values) == pytest.approx(numbers[f"kid_std_{name}"], abs=bound)
    whole, whole_of = kid.kernel_distance(arrays["fake"], arrays["real"][:400]), numbers["kid_one_subset_first400_f64"]
    assert whole == pytest.approx((whole_of, 0.0), abs=1e-13)


def test_unbiased_and_grows_with_the_shift():
    rng = np.random.default_rng(0)
    same = [kid.polynomial_mmd(rng.normal(size=(20, 8)), rng.normal(size=(30, 8))) for _ in range(400)]
    assert abs(np.mean(same)) < 4 * np.std(same) / np.sqrt(len(same))
    x, y = rng.normal(size=(300, 8)), rng.normal(size=(300, 8))
    distances = [kid.kernel_distance(x, y + shift, subsets=10, subset_size=100)[0] for shift in (0.0, 0.5, 1.0)]
    assert distances[0] < 0.05 < distances[1] < distances[2]


def test_subsets():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(50, 4)), rng.normal(size=(60, 4)) + 0.3
    mean, deviation = kid.kernel_distance(x, y, subsets=400, subset_size=25, seed=3)
    assert deviation > 0
    # Every pair is equally likely in a subset, so their mean is the estimate on the whole sets.
    assert mean == pytest.approx(kid.polynomial_mmd(x, y), abs=4 * deviation / np.sqrt(400))
    assert kid.kernel_distance(x, y, subsets=5, subset_size=25, seed=3) == kid.kernel_distance(x, y, 5, 25, 3)
    mean, deviation = kid.kernel_distance(x[:50], y[:50], subset_size=1000)  # both whole: one subset
    assert mean == pytest.approx(kid.polynomial_mmd(x[:50], y[:50])) and deviation == 0


def test_bad_sets_are_refused():
    with pytest.raises(ValueError, match="one D"):
        kid.polynomial_mmd(np.zeros((4, 3)), np.zeros((4, 2)))
    with pytest.raises(ValueError, match="at least 2 samples"):
        kid.kernel_distance(np.zeros((1, 3)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="subset_size 1"):
        kid.kernel_distance(np.zeros((4, 3)), np.zeros((4, 3)), subset_size=1)


def test_the_defaults_are_those_of_published_kids():
    parameters = inspect.signature(kid.kernel_distance).parameters
    assert (parameters["subsets"].default, parameters["subset_size"].default) == (100, 1000)


@pytest.mark.slow
def test_torch_fidelity_gives_the_same():
    torch = pytest.importorskip("torch")
    reference = references.load("torch_fidelity.metric_kid")
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(50, 16)), rng.normal(0.3, 1.0, size=(50, 16))
    found = reference.kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=1, kid_subset_size=50, kid_kernel="poly", verbose=False
    )
    assert kid.polynomial_mmd(x, y) == pytest.approx(found["kernel_inception_distance_mean"], rel=1e-9)
