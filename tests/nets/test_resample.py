"""Resampling and convolution against scipy, and their derivatives against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from jax.test_util import check_grads

from sdgan_jax.nets import resample

FIR = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64.0


def images(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def per_channel(x, kernel, combine):
    """Applies `combine(channel, 2-D kernel)` and sums over input channels."""
    n, c, d = x.shape[0], x.shape[3], kernel.shape[3]
    return np.stack(
        [
            np.stack([sum(combine(x[i, :, :, a], kernel[:, :, a, b]) for a in range(c)) for b in range(d)], -1)
            for i in range(n)
        ]
    )


def zero_inserted(x):
    wide = np.zeros((2 * x.shape[0], 2 * x.shape[1]))
    wide[::2, ::2] = x
    return wide


def test_convolve():
    x, kernel = images(2, 6, 5, 3), images(3, 3, 3, 4, seed=1)
    expected = per_channel(x, kernel, lambda a, k: scipy.signal.correlate2d(a, k, "same"))
    np.testing.assert_allclose(resample.convolve(x, kernel), expected, atol=1e-5)


def test_convolve_up_is_transposed_convolution_then_filter():
    x, kernel = images(2, 5, 4, 3), images(3, 3, 3, 2, seed=1)

    def reference(a, k):
        full = scipy.signal.convolve2d(zero_inserted(a)[:-1, :-1], k)  # what a stride-2 transposed convolution gives
        return scipy.signal.convolve2d(np.pad(full, 1), 4 * FIR, "valid")

    np.testing.assert_allclose(resample.convolve_up(x, kernel), per_channel(x, kernel, reference), atol=1e-5)


def test_convolve_down_is_filter_then_stride():
    x, kernel = images(2, 8, 6, 3), images(3, 3, 3, 2, seed=1)

    def reference(a, k):
        blurred = scipy.signal.convolve2d(np.pad(a, 2), FIR, "valid")
        return scipy.signal.correlate2d(blurred, k, "valid")[::2, ::2]

    np.testing.assert_allclose(resample.convolve_down(x, kernel), per_channel(x, kernel, reference), atol=1e-5)


def test_upsample_and_downsample():
    x = images(2, 6, 4, 3)
    for i in range(2):
        for c in range(3):
            up = scipy.signal.convolve2d(np.pad(zero_inserted(x[i, :, :, c]), ((2, 1), (2, 1))), 4 * FIR, "valid")
            down = scipy.signal.convolve2d(np.pad(x[i, :, :, c], 1), FIR, "valid")[::2, ::2]
            np.testing.assert_allclose(resample.upsample(x)[i, :, :, c], up, atol=1e-5)
            np.testing.assert_allclose(resample.downsample(x)[i, :, :, c], down, atol=1e-5)


@pytest.mark.parametrize("form", [resample.convolve, resample.convolve_up, resample.convolve_down])
def test_derivatives_to_second_order(form):
    with jax.enable_x64(True):
        x, kernel = jnp.asarray(images(2, 4, 4, 2), jnp.float64), jnp.asarray(images(3, 3, 2, 3), jnp.float64)
        check_grads(lambda a, k: jnp.sin(form(a, k)), (x, kernel), order=2, modes=["rev"], atol=1e-4, rtol=1e-4)
