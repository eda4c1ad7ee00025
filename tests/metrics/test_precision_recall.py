"""Precision and recall: by hand, by symmetry, and against all distances at once."""

import numpy as np
import pytest
from scipy.spatial import distance

from sdgan_jax.metrics.precision_recall import find_in_manifolds, precision_recall
from tests.metrics import golden_sets, references


def by_all_distances(real, fake, k):
    """The definition, with scipy's distances in float64."""
    radii = [np.sort(distance.cdist(s, s), axis=1)[:, k] for s in (real, fake)]  # column 0 is the vector itself
    between = distance.cdist(fake, real)
    return (between <= radii[0]).any(1).mean(), (between <= radii[1][:, None]).any(0).mean()


def test_a_line_by_hand():
    real = np.array([[0.0], [1.0], [3.0]])  # radii at k = 1: 1, 1, 2: the manifold is [-1, 5]
    fake = np.array([[-2.0], [1.5], [2.0], [9.0]])  # radii 3.5, 0.5, 0.5, 7: [-5.5, 1.5] and [1, 2.5] and [2, 16]
    assert precision_recall(real, fake, k=1) == (0.5, 1.0)
    assert precision_recall(fake, real, k=1) == (1.0, 0.5)
    assert precision_recall(real, fake[1:3], k=1) == (1.0, 1 / 3)  # [1, 2.5] holds 1 alone


@pytest.mark.parametrize("block", [7, 50, 1000])
def test_blocks_of_any_size_follow_the_definition(block):
    rng = np.random.default_rng(0)
    real, fake = rng.normal(100.0, 1.0, (90, 4)), rng.normal(100.6, 0.7, (61, 4))
    expected = by_all_distances(real, fake, 3)
    assert 0.2 < expected[0] < 1 and 0.2 < expected[1] < 1
    assert precision_recall(real, fake, block=block) == pytest.approx(expected)


def test_golden():
    arrays, numbers = golden_sets.load()
    precise, recalled = find_in_manifolds(arrays["real"], arrays["fake"])
    np.testing.assert_array_equal(precise, arrays["precision_mask"])
    np.testing.assert_array_equal(recalled, arrays["recall_mask"])
    found = {k: precision_recall(arrays["real"], arrays["fake"], k) for k in (3, 5)}
    for name, k in (
        ("precision_torch_fidelity_f64", 3),
        ("precision_torch_fidelity_f32", 3),
        ("prdc_precision_f64", 3),
        ("precision_numpy_f64", 3),
        ("precision_kynkaat_k3_f32", 3),
        ("precision_kynkaat_k5_f32", 5),
    ):
        expected = numbers[name], numbers[name.replace("precision", "recall")]
        assert found[k] == pytest.approx(expected, abs=1e-7), name


def test_the_same_set_another_order_and_a_far_one():
    x = np.random.default_rng(1).normal(size=(60, 8))
    assert precision_recall(x, x) == (1.0, 1.0)
    assert precision_recall(x, x[::-1]) == (1.0, 1.0)
    assert precision_recall(x, x + 100) == (0.0, 0.0)


def test_one_face_again_and_again_is_precise_and_recalls_little():
    rng = np.random.default_rng(2)
    real = rng.normal(size=(200, 8))
    precision, recall = precision_recall(real, real[:1] + 0.01 * rng.normal(size=(50, 8)))
    assert precision == 1.0 and recall <= 1 / 200


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="k is 3, with 3 and 9 samples"):
        precision_recall(np.zeros((3, 2)), np.zeros((9, 2)))
    with pytest.raises(ValueError, match="one D"):
        precision_recall(np.zeros((9, 2)), np.zeros((9, 3)))


@pytest.mark.slow
def test_torch_fidelity_gives_the_same():
    torch = pytest.importorskip("torch")
    reference = references.load("torch_fidelity.metric_prc")
    rng = np.random.default_rng(3)
    real, fake = rng.normal(size=(300, 32)).astype(np.float32), rng.normal(0.2, 0.8, (250, 32)).astype(np.float32)
    found = reference.calculate_precision_recall_full(torch.from_numpy(fake), torch.from_numpy(real))
    assert precision_recall(real, fake) == pytest.approx(found, abs=1e-6)
