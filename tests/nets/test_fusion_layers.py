"""Layers of the fusion networks against closed forms in numpy and scipy."""

import jax
import numpy as np
import pytest
import scipy.special

from sdgan_jax.nets.fusion_layers import (
    LocallyConnected,
    Modulation,
    ReflectConv,
    Regressor,
    Resampling,
    StyleEncoder,
    normalise_instance,
    normalise_vectors,
)
from tests.nets import scipy_convolutions
from tests.random_arrays import noise, weights


def test_reflect_conv_mirrors_the_image_at_its_edges():
    x, layer = noise(2, 4, 5, 3), ReflectConv(2)
    params = weights(layer, x)["params"]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    inner = scipy_convolutions.convolve(padded, params["conv"]["kernel"] / np.sqrt(27))[:, 1:-1, 1:-1]
    np.testing.assert_allclose(layer.apply({"params": params}, x), inner + params["conv"]["bias"], atol=1e-5)


def test_resampling_is_a_strided_convolution_and_its_adjoint():
    """<down(x), y> = <x, up(y)> with one kernel, whose scale is the square root of 9 times the input's channels."""
    x, y, kernel = noise(1, 8, 6, 3), noise(1, 4, 3, 5, seed=1), noise(3, 3, 3, 5, seed=2)
    variables = {"params": {"kernel": kernel}}
    down, up = Resampling(5).apply(variables, x), Resampling(3, up=True).apply(variables, y)
    np.testing.assert_allclose(down, scipy_convolutions.convolve(x, kernel / np.sqrt(27), 2), atol=1e-5)
    assert up.shape == x.shape
    np.testing.assert_allclose(np.sqrt(27) * (down * y).sum(), np.sqrt(45) * (x * up).sum(), rtol=1e-3)


def test_the_style_encoder_halves_the_side_and_is_bounded():
    net, maps = StyleEncoder((4, 5, 6, 7), 8), noise(2, 16, 16, 9)
    variables = weights(net, maps)
    codes = np.asarray(jax.jit(net.apply)(variables, maps))
    assert codes.shape == (2, 8, 8, 8) and np.abs(codes).max() < 1
    # Instance normalisation after a layer without a bias removes a factor of the maps.
    np.testing.assert_allclose(jax.jit(net.apply)(variables, 3 * maps), codes, atol=1e-3)


@pytest.mark.parametrize("with_codes", [False, True])
def test_modulation_blends_codes_and_face(with_codes):
    face, plane, layer = noise(1, 4, 4, 3), noise(1, 4, 4, 5, seed=1) if with_codes else None, Modulation(2, size=3)
    params = weights(layer, face, plane)["params"]

    def conv(name, x):
        kernel = params[name]["kernel"] / np.sqrt(9 * x.shape[-1])
        return scipy_convolutions.convolve(x, kernel) + params[name]["bias"]

    shared = np.maximum(conv("shared", face), 0)
    for name, actual in zip(("gamma", "beta"), layer.apply({"params": params}, face, plane), strict=True):
        expected = conv(f"{name}_face", shared)
        if with_codes:
            share = scipy.special.expit(params[f"{name}_blend"])
            expected = share * conv(f"{name}_codes", plane) + (1 - share) * expected
        np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_the_regressor_is_a_product_for_each_position():
    x, net = noise(2, 3, 2, 4), Regressor(num_layers=5, features=7)
    kernels = {"local": noise(6, 4, 7, seed=1), "layers": noise(7, 6, 5, seed=2)}
    params = {name: {"kernel": kernel} for name, kernel in kernels.items()}
    scale, bias = noise(5, 1, seed=3), noise(5, 1, seed=4)
    actual = jax.jit(net.apply)({"params": params | {"scale": scale, "bias": bias}}, x)
    hidden = np.maximum(np.einsum("npc,pcd->npd", x.reshape(2, 6, 4), kernels["local"]) / 2, 0)
    vectors = np.maximum(np.einsum("npd,dpl->nld", hidden, kernels["layers"]) / np.sqrt(6), 0)
    normal = (vectors - vectors.mean(-1, keepdims=True)) / np.sqrt(vectors.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(actual, scale * normal + bias, rtol=1e-4, atol=1e-4)


def test_each_position_has_its_own_dense_layer():
    x, kernel = noise(2, 4, 3), noise(4, 3, 5, seed=1)
    actual = LocallyConnected(5).apply({"params": {"kernel": kernel}}, x)
    for position in range(4):
        np.testing.assert_allclose(actual[:, position], x[:, position] @ kernel[position] / np.sqrt(3), rtol=1e-5)


def test_normalisations():
    x, vectors = 3 * noise(2, 4, 5, 3) + 1, 3 * noise(2, 6, 7) + 1
    expected = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
    np.testing.assert_allclose(normalise_instance(x), expected, atol=1e-5)
    expected = (vectors - vectors.mean(-1, keepdims=True)) / np.sqrt(vectors.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(normalise_vectors(vectors), expected, atol=1e-5)
