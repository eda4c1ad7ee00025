"""Inception score: closed forms, and torch-fidelity's."""

import numpy as np
import pytest

from sdgan_jax.metrics.inception_score import inception_score
from tests.metrics import references


def test_certain_and_even_classes_score_their_number():
    logits = 100.0 * np.eye(5)[np.arange(100) % 5]
    assert inception_score(logits) == pytest.approx((5.0, 0.0))
    assert inception_score(logits[:1].repeat(100, 0)) == pytest.approx((1.0, 0.0))
    assert inception_score(np.zeros((20, 7))) == pytest.approx((1.0, 0.0))


def test_two_classes_by_hand():
    # p = (3/4, 1/4) and (1/4, 3/4), mean 1/2 each: KL = 3/4 ln(3/2) + 1/4 ln(1/2)
    logits = np.log([[3.0, 1.0], [1.0, 3.0]]) + [[4.0], [-7.0]]  # a constant of a row changes nothing
    expected = np.exp(0.75 * np.log(1.5) + 0.25 * np.log(0.5))
    assert inception_score(logits, splits=1) == pytest.approx((expected, 0.0))
    mean, deviation = inception_score(np.concatenate([logits, [[0.0, 0.0]] * 2]), splits=2)
    assert (mean, deviation) == pytest.approx(((expected + 1) / 2, (expected - 1) / 2))


def test_classes_never_seen_do_not_count():
    assert inception_score([[0.0, 0.0, -1e4]], splits=1) == pytest.approx((1.0, 0.0))


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="N >= splits = 10"):
        inception_score(np.zeros((9, 4)))


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="logits are NaN or infinite"):
        inception_score([[0.0, np.nan]] * 10)


@pytest.mark.slow
def test_torch_fidelity_gives_the_same():
    torch = pytest.importorskip("torch")
    reference = references.load("torch_fidelity.metric_isc")
    logits = 3 * np.random.default_rng(0).normal(size=(107, 20))
    found = reference.isc_features_to_metric(torch.from_numpy(logits), splits=10, shuffle=False)
    assert inception_score(logits) == pytest.approx(tuple(found.values()), rel=1e-9)
