"""Resampling and convolution against scipy, and their derivatives against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from jax.test_util import check_grads

from sdgan_jax.nets import resample, winograd

FORMS = {"winograd": ("cpu", 1), "plain": ("cpu", 10**9), "elsewhere": ("gpu", 1)}
OPERATORS = [resample.convolve, resample.convolve_up, resample.convolve_down]
FIR = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64.0


@pytest.fixture(params=FORMS)
def form(request, monkeypatch):
    """Every form that `resample` may choose."""
    backend, fewest = FORMS[request.param]
    monkeypatch.setattr(resample, "BACKEND", backend)
    monkeypatch.setattr(resample, "WINOGRAD_CHANNELS", fewest)
    monkeypatch.setattr(resample, "WINOGRAD_PIXELS", fewest)
    return request.param


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


@pytest.mark.parametrize("size", [(8, 12), (6, 5)])  # the second is of no tiles: a plain form at any rate
def test_convolve(form, size):
    x, kernel = images(2, *size, 3), images(3, 3, 3, 4, seed=1)
    expected = per_channel(x, kernel, lambda a, k: scipy.signal.correlate2d(a, k, "same"))
    np.testing.assert_allclose(resample.convolve(x, kernel), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(6, 4), (5, 4)])
def test_convolve_up_is_transposed_convolution_then_filter(form, size):
    x, kernel = images(2, *size, 3), images(3, 3, 3, 2, seed=1)

    def reference(a, k):
        full = scipy.signal.convolve2d(zero_inserted(a)[:-1, :-1], k)  # what a stride-2 transposed convolution gives
        return scipy.signal.convolve2d(np.pad(full, 1), 4 * FIR, "valid")

    np.testing.assert_allclose(resample.convolve_up(x, kernel), per_channel(x, kernel, reference), atol=1e-5)


@pytest.mark.parametrize("size", [(8, 12), (8, 6)])
def test_convolve_down_is_filter_then_stride(form, size):
    x, kernel = images(2, *size, 3), images(3, 3, 3, 2, seed=1)

    def reference(a, k):
        blurred = scipy.signal.convolve2d(np.pad(a, 2), FIR, "valid")
        return scipy.signal.correlate2d(blurred, k, "valid")[::2, ::2]

    np.testing.assert_allclose(resample.convolve_down(x, kernel), per_channel(x, kernel, reference), atol=1e-5)


def test_convolve_strided_drops_every_other_pixel(form):
    x, kernel = images(2, 8, 6, 3), images(3, 3, 3, 4, seed=1)
    expected = per_channel(x, kernel, lambda a, k: scipy.signal.correlate2d(a, k, "same")[::2, ::2])
    np.testing.assert_allclose(resample.convolve_strided(x, kernel), expected, atol=1e-5)


def test_convolve_strided_adjoint(form):
    """<conv(x), y> = <x, adjoint(y)>, for every x one unit vector."""
    y, kernel = images(1, 3, 2, 4), images(3, 3, 2, 4, seed=1)
    units = jnp.eye(6 * 4 * 2).reshape(-1, 6, 4, 2)
    expected = jnp.einsum("xhwc,hwc->x", resample.convolve_strided(units, kernel), y[0]).reshape(6, 4, 2)
    np.testing.assert_allclose(resample.convolve_strided_adjoint(y, kernel)[0], expected, atol=1e-5)


def test_upsample_and_downsample():
    x = images(2, 6, 4, 3)
    for i in range(2):
        for c in range(3):
            up = scipy.signal.convolve2d(np.pad(zero_inserted(x[i, :, :, c]), ((2, 1), (2, 1))), 4 * FIR, "valid")
            down = scipy.signal.convolve2d(np.pad(x[i, :, :, c], 1), FIR, "valid")[::2, ::2]
            np.testing.assert_allclose(resample.upsample(x)[i, :, :, c], up, atol=1e-5)
            np.testing.assert_allclose(resample.downsample(x)[i, :, :, c], down, atol=1e-5)


@pytest.mark.parametrize("operator", OPERATORS)
def test_derivatives_to_second_order(form, operator):
    with jax.enable_x64(True):
        x, kernel = jnp.asarray(images(2, 4, 4, 2), jnp.float64), jnp.asarray(images(3, 3, 2, 3), jnp.float64)
        check_grads(lambda a, k: jnp.sin(operator(a, k)), (x, kernel), order=2, modes=["rev"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("operator", [*OPERATORS, resample.convolve_strided])
def test_rounding_error(form, operator):
    x, kernel = images(2, 8, 8, 256), images(3, 3, 256, 64, seed=1)
    with jax.enable_x64(True):
        exact = np.asarray(operator(jnp.asarray(x, jnp.float64), jnp.asarray(kernel, jnp.float64)))
    assert np.abs(operator(x, kernel) - exact).max() < 3e-6 * np.abs(exact).max()


@pytest.mark.parametrize("operator", [*OPERATORS, resample.convolve_strided])
def test_bfloat16(form, operator):
    x, kernel = images(2, 8, 8, 16), images(3, 3, 16, 4, seed=1)
    low = operator(jnp.asarray(x, jnp.bfloat16), jnp.asarray(kernel, jnp.bfloat16))
    full = operator(x, kernel)
    assert low.dtype == jnp.bfloat16
    assert np.abs(low.astype(jnp.float32) - full).max() < 0.03 * np.abs(full).max()


@pytest.mark.parametrize(
    "transform", [winograd._CONVOLVE_IN, winograd._CONVOLVE_OUT, winograd._UP_IN, winograd._UP_OUT]
)
def test_analyse_and_synthesise_are_adjoint(transform):
    x = images(2, 8, 16, 3)
    points = winograd.analyse(x, transform)
    y = images(*points.shape, seed=1)
    np.testing.assert_allclose((points * y).sum(), (x * winograd.synthesise(y, transform)).sum(), rtol=1e-3)


SAME = [("convolve_same", 1), ("convolve_same", 2), ("convolve_same_transposed", 1), ("convolve_same_transposed", 2)]


@pytest.mark.parametrize("size", [2, 4, 6])
@pytest.mark.parametrize(("name", "stride"), SAME)
def test_same_padding_is_that_of_tensorflow(form, name, stride, size):
    x, kernel = images(2, 8, 12, 3), images(size, size, 3, 2, seed=1)
    if name == "convolve_same":
        expected = jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    else:
        kernel = kernel.swapaxes(2, 3)
        expected = jax.lax.conv_transpose(x, kernel, (stride, stride), "SAME", transpose_kernel=True)
    np.testing.assert_allclose(getattr(resample, name)(x, kernel, stride), expected, atol=2e-5)


@pytest.mark.parametrize("few", [0, 32])
@pytest.mark.parametrize(("name", "stride"), SAME)
def test_derivatives_of_same_padding(name, stride, few, monkeypatch):
    monkeypatch.setattr(resample, "FEW_CHANNELS", few)
    operator = getattr(resample, name)
    with jax.enable_x64(True):
        x, kernel = jnp.asarray(images(2, 4, 4, 2), jnp.float64), jnp.asarray(images(4, 4, 2, 2), jnp.float64)
        check_grads(
            lambda a, k: jnp.sin(operator(a, k, stride)), (x, kernel), order=2, modes=["rev"], atol=1e-4, rtol=1e-4
        )
