"""Running moments: numpy's covariance of all vectors at once."""

import numpy as np
import pytest

from sdgan_jax.metrics import moments
from sdgan_jax.metrics.moments import Moments


@pytest.mark.parametrize("ddof", [0, 1])
def test_batches_of_any_size_give_the_covariance_of_all(ddof):
    """A mean of 1e5 at a spread of 1: sums of x xᵀ in float64 keep six digits of the covariance, these all."""
    x = np.random.default_rng(0).normal(1e5, 1.0, (300, 5))
    x[:, 1] += 0.5 * x[:, 0]
    joined = moments.merge_all(Moments.of(x[first:last]) for first, last in ((0, 1), (1, 120), (120, 121), (121, 300)))
    assert joined.count == 300
    np.testing.assert_allclose(joined.mean, x.mean(0), rtol=1e-13)
    np.testing.assert_allclose(joined.covariance(ddof), np.cov(x, rowvar=False, ddof=ddof), rtol=0, atol=1e-9)


def test_order_of_the_parts_does_not_matter():
    x = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    a, b = Moments.of(x[:20]), Moments.of(x[20:])
    np.testing.assert_allclose(a.merge(b).scatter, b.merge(a).scatter, rtol=1e-12)
    np.testing.assert_allclose(a.merge(b).mean, x.astype(np.float64).mean(0), rtol=1e-12)


def test_what_has_no_moments_is_refused():
    with pytest.raises(ValueError, match=r"\[N,D\] with N >= 1"):
        Moments.of(np.zeros((0, 3)))
    with pytest.raises(ValueError, match="moments of 3 and of 2 features"):
        Moments.of(np.zeros((2, 3))).merge(Moments.of(np.zeros((2, 2))))
    with pytest.raises(ValueError, match="at least 2 vectors, got 1"):
        Moments.of(np.zeros((1, 3))).covariance()
