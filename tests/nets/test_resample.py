"""Resampling and convolution against scipy and TensorFlow's padding rule, derivatives against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.benchmark import hlo
from sdgan_jax.nets import resample
from tests.nets import derivatives
from tests.nets import scipy_convolutions as expected
from tests.random_arrays import noise

PLAIN = [resample.convolve_plain, resample.convolve_up_plain, resample.convolve_down_plain]
CHOSEN = {"convolve": resample.convolve, "convolve_up": resample.convolve_up, "convolve_down": resample.convolve_down}


@pytest.fixture(params=["cpu", "gpu"])
def backend(request, monkeypatch):
    """Lets `resample` choose its forms for this backend."""
    monkeypatch.setattr(jax, "default_backend", lambda: request.param)
    return request.param


@pytest.mark.parametrize("size", [(8, 12), (6, 5)])
def test_convolve(size):
    x, kernel = noise(2, *size, 3), noise(3, 3, 3, 4, seed=1)
    np.testing.assert_allclose(resample.convolve(x, kernel), expected.convolve(x, kernel), atol=1e-5)


@pytest.mark.parametrize("size", [1, 3])
def test_convolve_at_stride_2_keeps_every_other_pixel(size):
    x, kernel = noise(2, 8, 6, 3), noise(size, size, 3, 4, seed=1)
    np.testing.assert_allclose(resample.convolve(x, kernel, 2), expected.convolve(x, kernel, 2), atol=1e-5)


@pytest.mark.parametrize("size", [(6, 4), (5, 4)])
def test_convolve_up_is_transposed_convolution_then_filter(backend, size):
    x, kernel = noise(2, *size, 3), noise(3, 3, 3, 2, seed=1)
    np.testing.assert_allclose(resample.convolve_up(x, kernel), expected.convolve_up(x, kernel), atol=1e-5)


@pytest.mark.parametrize("size", [(8, 12), (8, 6)])
def test_convolve_down_is_filter_then_stride(backend, size):
    x, kernel = noise(2, *size, 3), noise(3, 3, 3, 2, seed=1)
    np.testing.assert_allclose(resample.convolve_down(x, kernel), expected.convolve_down(x, kernel), atol=1e-5)


@pytest.mark.parametrize(("operator", "side"), [(resample.convolve_up_plain, 16), (resample.convolve_down_plain, 32)])
def test_off_the_cpu_a_resampling_layer_multiplies_nine_times_a_pixel(operator, side, monkeypatch):
    """By phases it is 16 times for each pair of channels. Zeros between the pixels are not counted."""
    counts = {}
    for platform in ("cpu", "gpu"):
        monkeypatch.setattr(jax, "default_backend", lambda platform=platform: platform)
        shapes = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32), jax.ShapeDtypeStruct((3, 3, 3, 5), jnp.float32)
        lowered = jax.jit(lambda x, kernel: operator(x, kernel)).lower(*shapes)
        counts[platform] = hlo.Program(lowered.as_text(dialect="hlo")).flops() / (2 * 2 * 16 * 16 * 3 * 5)
    assert counts == {"cpu": pytest.approx(16, rel=0.15), "gpu": pytest.approx(9, rel=1e-6)}


def products(name, x, kernel):
    """The operations that multiply in the program of an operator."""
    program = str(jax.make_jaxpr(lambda a, b: CHOSEN[name](a, b))(x, kernel))
    return {operation for operation in ("conv_general_dilated", "dot_general") if operation in program}


@pytest.mark.parametrize("name", CHOSEN)
def test_the_winograd_form_is_chosen_where_it_pays(name, monkeypatch):
    """From 16 channels and 2^25 products of channels and pixels on, for whole tiles, in float32, on CPU."""
    low, kernel = (8, 16, 16), jax.ShapeDtypeStruct((3, 3, 128, 128), jnp.float32)

    def images(n, h, w, channels=128, dtype=jnp.float32):
        scale = 2 if name == "convolve_down" else 1
        return jax.ShapeDtypeStruct((n, scale * h, scale * w, channels), dtype)

    winograd, plain = {"dot_general"}, {"conv_general_dilated"}
    assert products(name, images(*low), kernel) == winograd
    assert products(name, images(7, 16, 16), kernel) == plain
    assert products(name, images(16, 16, 17), kernel) == plain
    narrow = jax.ShapeDtypeStruct((3, 3, 127, 128), jnp.float32)
    assert products(name, images(*low, channels=127), narrow) == plain
    for channels, form in ((16, winograd), (15, plain)):
        few = jax.ShapeDtypeStruct((3, 3, channels, channels), jnp.float32)
        assert products(name, images(128, 64, 64, channels=channels), few) == form
    half = jax.ShapeDtypeStruct(kernel.shape, jnp.bfloat16)
    assert products(name, images(*low, dtype=jnp.bfloat16), half) == plain
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert products(name, images(*low), kernel) == plain


def test_convolve_strided_adjoint():
    """<conv(x), y> = <x, adjoint(y)>, for every x one unit vector."""
    y, kernel = noise(1, 3, 2, 4), noise(3, 3, 2, 4, seed=1)
    units = jnp.eye(6 * 4 * 2).reshape(-1, 6, 4, 2)
    products = jnp.einsum("xhwc,hwc->x", resample.convolve_strided(units, kernel), y[0]).reshape(6, 4, 2)
    np.testing.assert_allclose(resample.convolve_strided_adjoint(y, kernel)[0], products, atol=1e-5)


def test_upsample_and_downsample():
    x = noise(2, 6, 4, 3)
    for i in range(2):
        for c in range(3):
            np.testing.assert_allclose(resample.upsample(x)[i, :, :, c], expected.upsample(x[i, :, :, c]), atol=1e-5)
            small = expected.downsample(x[i, :, :, c])
            np.testing.assert_allclose(resample.downsample(x)[i, :, :, c], small, atol=1e-5)


def test_box_downsample_takes_the_mean_of_2x2_pixels():
    x = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(resample.box_downsample(x)[0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]])


# From 33 × 33 channels on, kernel gradients are matrix products on CPU.
@pytest.mark.parametrize(("backend", "channels"), [("cpu", 2), ("cpu", 33), ("gpu", 2)], indirect=["backend"])
@pytest.mark.parametrize("operator", PLAIN)
def test_derivatives_to_second_order(backend, operator, channels):
    derivatives.check(operator, (2, 4, 4, channels), (3, 3, channels, channels + 1))


@pytest.mark.parametrize("operator", [*PLAIN, resample.convolve_strided])
def test_rounding_error(operator):
    x, kernel, operator = noise(2, 8, 8, 256), noise(3, 3, 256, 64, seed=1), jax.jit(operator)
    with jax.enable_x64(True):
        exact = np.asarray(operator(jnp.asarray(x, jnp.float64), jnp.asarray(kernel, jnp.float64)))
    assert np.abs(operator(x, kernel) - exact).max() < 3e-6 * np.abs(exact).max()


@pytest.mark.parametrize("operator", [*PLAIN, resample.convolve_strided])
def test_bfloat16(operator):
    x, kernel = noise(2, 8, 8, 16), noise(3, 3, 16, 4, seed=1)
    low = operator(jnp.asarray(x, jnp.bfloat16), jnp.asarray(kernel, jnp.bfloat16))
    full = operator(x, kernel)
    assert low.dtype == jnp.bfloat16
    assert np.abs(low.astype(jnp.float32) - full).max() < 0.03 * np.abs(full).max()


SAME = [("convolve_same", 1), ("convolve_same", 2), ("convolve_same_transposed", 1), ("convolve_same_transposed", 2)]


@pytest.mark.parametrize("size", [2, 4, 6])
@pytest.mark.parametrize(("name", "stride"), SAME)
@pytest.mark.parametrize(("c", "d"), [(3, 2), (2, 9), (9, 3), (8, 10)])  # thin on both sides, on one, on none
def test_same_padding_is_that_of_tensorflow(backend, name, stride, size, c, d):
    x, kernel = noise(2, 8, 12, c), noise(size, size, c, d, seed=1)
    kernel = kernel / np.float32(size * max(c, d) ** 0.5)  # sums, and so their rounding, are as large as one product
    if name == "convolve_same":
        same = jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    else:
        kernel = kernel.swapaxes(2, 3)
        same = jax.lax.conv_transpose(x, kernel, (stride, stride), "SAME", transpose_kernel=True)
    np.testing.assert_allclose(getattr(resample, name)(x, kernel, stride), same, atol=2e-5)


@pytest.mark.parametrize("name", ["convolve_same", "convolve_same_transposed"])
def test_images_with_odd_sides_have_no_blocks(name):
    x, kernel = noise(1, 7, 8, 3), noise(4, 4, 3, 3, seed=1)
    wide = getattr(resample, name)(np.pad(x, ((0, 0), (0, 3), (0, 0), (0, 0))), kernel)[:, :5]
    np.testing.assert_allclose(getattr(resample, name)(x, kernel)[:, :5], wide, atol=2e-5)


@pytest.mark.parametrize("channels", [2, 33])
@pytest.mark.parametrize(("name", "stride"), SAME)
def test_derivatives_of_same_padding(name, stride, channels):
    operator = getattr(resample, name)
    derivatives.check(lambda x, kernel: operator(x, kernel, stride), (2, 4, 4, channels), (4, 4, channels, channels))
