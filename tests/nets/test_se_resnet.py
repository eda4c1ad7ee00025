"""Residual trunks: blocks and normalisations against numpy and scipy. `test_sfn` compares whole trunks with torch."""

import jax
import numpy as np
import pytest
import scipy.special

from sdgan_jax.nets.se_resnet import Block, Norm, ResNet, SEBlock, SEResNet, SqueezeExcitation
from tests.nets.scipy_convolutions import convolve
from tests.random_arrays import noise, weights


def conv(params, x, stride=1):
    kernel = params["kernel"]
    return convolve(x, kernel / np.sqrt(np.prod(kernel.shape[:3])), stride)


def norm(params, x):
    return x * params["scale"] + params["bias"]


@pytest.mark.parametrize(("features", "stride"), [(3, 1), (4, 2)])
def test_basic_block(features, stride):
    x, block = noise(2, 4, 6, 3), Block(features, stride)
    params = weights(block, x)["params"]
    y = np.maximum(norm(params["norm_0"], conv(params["conv_0"], x, stride)), 0)
    shortcut = norm(params["shortcut_norm"], conv(params["shortcut"], x, stride)) if stride == 2 else x
    expected = np.maximum(norm(params["norm_1"], conv(params["conv_1"], y)) + shortcut, 0)
    np.testing.assert_allclose(block.apply({"params": params}, x), expected, atol=1e-4)


def prelu(params, x):
    return np.where(x >= 0, x, params["slope"] * x)


def excited(params, x):
    """`x` scaled by a sigmoid of two dense layers of its channels' means."""
    dense = lambda p, y: y @ p["kernel"] / np.sqrt(y.shape[-1]) + p["bias"]  # noqa: E731
    hidden = prelu(params["prelu"], dense(params["squeeze"], x.mean((1, 2))))
    return x * scipy.special.expit(dense(params["excite"], hidden))[:, None, None]


@pytest.mark.parametrize(("features", "stride"), [(3, 1), (4, 2)])
def test_block_with_squeeze_and_excitation(features, stride):
    x, block = noise(2, 4, 6, 3), SEBlock(features, stride)
    params = weights(block, x)["params"]
    y = norm(params["norm_1"], conv(params["conv_0"], norm(params["norm_0"], x)))
    y = norm(params["norm_2"], conv(params["conv_1"], prelu(params["prelu"], y), stride))
    shortcut = norm(params["shortcut_norm"], conv(params["shortcut"], x, stride)) if stride == 2 else x
    expected = prelu(params["prelu"], excited(params["excitation"], y) + shortcut)
    np.testing.assert_allclose(block.apply({"params": params}, x), expected, atol=1e-4)


def test_squeeze_reduces_channels_by_16_but_not_below_4():
    for channels, reduced in ((8, 4), (64, 4), (128, 8)):
        variables = weights(SqueezeExcitation(), noise(1, 2, 2, channels))
        assert variables["params"]["squeeze"]["kernel"].shape == (channels, reduced)


def test_group_normalisation_uses_groups_of_one_sample():
    """Groups of up to 16 channels that divide the width: of 32 channels two groups, of 24 three of 8."""
    for channels, size in ((32, 16), (24, 8)):
        x = 3 * noise(2, 4, 5, channels) + 1
        params = weights(Norm("group"), x)["params"]
        groups = x.reshape(2, 20, channels // size, size).astype(np.float64)
        centred = groups - groups.mean((1, 3), keepdims=True)
        normal = (centred / np.sqrt(groups.var((1, 3), keepdims=True) + 1e-5)).reshape(x.shape)
        expected = normal * params["scale"] + params["bias"]
        np.testing.assert_allclose(Norm("group").apply({"params": params}, x), expected, atol=1e-4)


@pytest.mark.parametrize("trunk", [SEResNet, ResNet])
def test_trunks_divide_the_side_and_treat_samples_alone(trunk):
    net, images = trunk((8, 16), (1, 2), 1, norm="group"), noise(2, 16, 16, 3)
    variables = weights(net, images)
    features = np.asarray(jax.jit(net.apply)(variables, images))
    side = 16 // (4 if trunk is SEResNet else 2)  # max-pooling halves it once more
    assert features.shape == (2, side, side, 16)
    assert (features >= 0).all() == (trunk is ResNet)
    changed = jax.jit(net.apply)(variables, np.stack((images[0], 2 * images[1] + 1)))
    np.testing.assert_allclose(changed[0], features[0], rtol=1e-3, atol=1e-3)
