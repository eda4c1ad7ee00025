"""StyleGAN2's layers against closed forms in numpy and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.nets.layers import (
    AdaIN,
    EqualConv,
    EqualDense,
    ModulatedConv,
    channels_at,
    dtype_at,
    leaky_relu,
    minibatch_stddev,
    normalise,
)
from tests.nets import scipy_convolutions
from tests.random_arrays import noise, weights


def test_channels():
    """Config-f: 512 up to 64 pixels, then halved with each doubling; explicit widths replace the rule."""
    sizes = (4, 64, 128, 256, 512, 1024)
    assert [channels_at(size, 32768, 512) for size in sizes] == [512, 512, 256, 128, 64, 32]
    assert [channels_at(size, 32768, 512, (5, 7, 3)) for size in (4, 8, 16)] == [5, 7, 3]


def test_low_precision_resolutions():
    """Of 256 pixels, four blocks are 32 to 256; 4×4 never is."""
    low = [r for r in (4, 8, 16, 32, 64, 128, 256) if dtype_at(r, 256, 4) == jnp.bfloat16]
    assert low == [32, 64, 128, 256]
    assert dtype_at(4, 8, 8) == jnp.float32 and dtype_at(256, 256, 0) == jnp.float32


def test_leaky_relu_and_normalise():
    np.testing.assert_allclose(leaky_relu(np.float32([-1, 0, 2])), np.sqrt(2) * np.array([-0.2, 0, 2]), rtol=1e-6)
    np.testing.assert_allclose(
        normalise(np.float32([[3, 4], [-2, 0]])), [[3 / 12.5**0.5, 4 / 12.5**0.5], [-(2**0.5), 0]]
    )


def test_dense_scales_kernel_and_bias_at_run_time():
    x, layer = noise(3, 5), EqualDense(4, lr_mul=0.5, bias_init=2.0)
    variables = weights(layer, x)
    kernel, bias = variables["params"]["kernel"], variables["params"]["bias"]
    np.testing.assert_allclose(layer.apply(variables, x), x @ kernel * 0.5 / np.sqrt(5) + 0.5 * bias, atol=1e-5)
    fresh = layer.init(jax.random.key(0), np.zeros((1, 4096)))
    assert np.std(fresh["params"]["kernel"]) == pytest.approx(2.0, rel=0.05)  # 1 / lr_mul
    np.testing.assert_array_equal(layer.apply(fresh, np.zeros((1, 4096))), np.full((1, 4), 2.0))


@pytest.mark.parametrize("direction", ["", "up", "down"])
def test_convolution(direction):
    x, layer = noise(2, 4, 6, 3), EqualConv(4, **({direction: True} if direction else {}))
    params = weights(layer, x)["params"]
    name = f"convolve_{direction}" if direction else "convolve"
    convolved = getattr(scipy_convolutions, name)(x, params["kernel"] / np.sqrt(27)) + params["bias"]
    expected = np.where(convolved > 0, 1, 0.2) * convolved * np.sqrt(2)
    np.testing.assert_allclose(jax.jit(layer.apply)({"params": params}, x), expected, atol=1e-5)


def test_convolution_1x1_down_filters_first():
    x, layer = noise(1, 4, 6, 2), EqualConv(3, size=1, down=True, use_bias=False, activate=False)
    kernel = weights(layer, x)["params"]["kernel"]
    small = np.stack([scipy_convolutions.downsample(x[0, :, :, c]) for c in range(2)], -1)
    expected = small @ kernel[0, 0] / np.sqrt(2)
    np.testing.assert_allclose(layer.apply({"params": {"kernel": kernel}}, x)[0], expected, atol=1e-5)


def test_convolution_clamps_its_result():
    x = 100 * noise(1, 4, 4, 2)
    free, clamped = EqualConv(3), EqualConv(3, clamp=5.0)
    variables = weights(free, x)
    expected = np.clip(free.apply(variables, x), -5.0, 5.0)
    assert (np.abs(expected) == 5.0).any()
    np.testing.assert_array_equal(clamped.apply(variables, x), expected)


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
def test_modulated_convolution_uses_the_weights_of_each_sample(up, demodulate):
    """Every sample alone, with its own modulated and normalised kernel, as the paper defines the layer."""
    x, w, layer = noise(2, 4, 4, 3), noise(2, 5, seed=1), ModulatedConv(4, up=up, demodulate=demodulate)
    params = weights(layer, x, w)["params"]
    style = w @ params["affine"]["kernel"] / np.sqrt(5) + params["affine"]["bias"]
    convolve = scipy_convolutions.convolve_up if up else scipy_convolutions.convolve
    actual = jax.jit(layer.apply)({"params": params}, x, w)
    for sample in range(2):
        kernel = params["kernel"] / np.sqrt(27) * style[sample][:, None]
        if demodulate:
            kernel = kernel / np.sqrt(np.square(kernel).sum((0, 1, 2)) + 1e-8)
        np.testing.assert_allclose(actual[sample], convolve(x[sample : sample + 1], kernel)[0], atol=1e-4)


def test_adain_gives_each_channel_the_deviation_and_mean_of_the_style():
    x, w = 3 * noise(2, 5, 5, 4) + 1, noise(2, 6, seed=1)
    variables = weights(AdaIN(), x, w)
    y = np.asarray(AdaIN().apply(variables, x, w), np.float64)
    styles = {}
    for name in ("scale", "shift"):
        dense = variables["params"][name]
        styles[name] = w.astype(np.float64) @ dense["kernel"] / np.sqrt(6) + dense["bias"]
    centred = (x - x.mean((1, 2), keepdims=True)) / x.std((1, 2), keepdims=True)
    expected = styles["scale"][:, None, None] * centred + styles["shift"][:, None, None]
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-3)


def test_a_fresh_adain_only_normalises():
    x = 3 * noise(2, 8, 8, 4) + 1
    fresh = AdaIN().init(jax.random.key(0), x, noise(2, 6))
    y = AdaIN().apply(fresh, x, np.zeros((2, 6), np.float32))
    np.testing.assert_allclose(np.mean(y, (1, 2)), 0.0, atol=1e-5)
    np.testing.assert_allclose(np.std(y, (1, 2)), 1.0, rtol=1e-3)


@pytest.mark.parametrize(
    ("n", "group", "members"),
    [
        (8, 4, [[0, 2, 4, 6], [1, 3, 5, 7]]),
        (4, 4, [[0, 1, 2, 3]]),
        (6, 4, [[0, 2, 4], [1, 3, 5]]),  # 4 does not divide 6
        (2, 4, [[0, 1]]),
        (5, 4, [[0], [1], [2], [3], [4]]),
    ],
)
def test_minibatch_stddev(n, group, members):
    x = noise(n, 2, 3, 4)
    y = np.asarray(minibatch_stddev(x, group))
    assert y.shape == (n, 2, 3, 5)
    np.testing.assert_array_equal(y[..., :4], x)
    for group_members in members:
        expected = np.std(x[group_members].astype(np.float64), axis=0).mean()
        np.testing.assert_allclose(y[group_members][..., 4], expected, rtol=1e-4, atol=2e-4)
