"""Inception v3: its layers against scipy and numpy, and the whole against torch-fidelity."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.importers import inception as importer
from sdgan_jax.nets import inception
from tests.importers import metric_states
from tests.nets import torch_packages
from tests.nets.scipy_convolutions import convolve
from tests.random_arrays import distance, noise, weights


class Mix(nn.Module):
    """A module of `inception.mix` alone."""

    @nn.compact
    def __call__(self, x):
        return inception.mix(x, {"a": 4, "b": 3}, {"c": 5})


def test_sizes_are_those_of_the_published_network():
    """21,751,136 weights of convolutions and 17,216 channels, as counted by Keras, and the dense layer."""
    images = jnp.zeros((2, 299, 299, 3))
    outputs, variables = jax.eval_shape(inception.Inception().init_with_output, jax.random.key(0), images)
    assert [output.shape for output in outputs] == [(2, 2048), (2, 1008)]
    count = sum(leaf.size for leaf in jax.tree.leaves(variables))
    assert count == 21_751_136 + 17_216 + 2048 * 1008


@pytest.mark.parametrize(
    ("size", "stride", "padding"),
    [((3, 3), 1, "SAME"), ((3, 3), 1, "VALID"), ((3, 3), 2, "VALID"), ((1, 7), 1, "SAME"), ((7, 1), 1, "SAME")],
)
def test_a_convolution_is_that_of_scipy(size, stride, padding):
    x, net = noise(2, 9, 8, 3), inception.Conv(4, size, stride, padding)
    variables = weights(net, x)
    params = variables["params"]
    expected = convolve(x, params["kernel"])
    if padding == "VALID":
        expected = expected[:, 1:-1, 1:-1][:, ::stride, ::stride]
    assert distance(net.apply(variables, x), np.maximum(expected + params["bias"], 0)) < 1e-6


def test_convolutions_of_one_input_are_each_their_own():
    x, net = noise(2, 5, 4, 6), Mix()
    variables = weights(net, x)
    mean = np.stack(
        [[x[:, max(0, i - 1) : i + 2, max(0, j - 1) : j + 2].mean((1, 2)) for j in range(4)] for i in range(5)]
    ).transpose(2, 0, 1, 3)
    for output, (name, source) in zip(net.apply(variables, x), (("a", x), ("b", x), ("c", mean)), strict=True):
        params = variables["params"][name]
        assert distance(output, np.maximum(source @ params["kernel"][0, 0] + params["bias"], 0)) < 1e-6


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match=r"images must be \[N,299,299,3\], got \[1, 256, 256, 3\]"):
        inception.Inception().init(jax.random.key(0), jnp.zeros((1, 256, 256, 3)))


@pytest.mark.slow
def test_features_and_logits_are_those_of_torch_fidelity(tmp_path):
    """Of random weights, written by torch to a file; torch-fidelity leaves images of 299 pixels as they are."""
    torch = torch_packages.load("torch_fidelity")
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    state = metric_states.inception()
    torch.save({key: torch.as_tensor(array) for key, array in state.items()}, tmp_path / "x.pth")
    reference = FeatureExtractorInceptionV3("x", ["2048", "logits_unbiased"], str(tmp_path / "x.pth"))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 299, 299, 3), np.uint8)
    expected = reference(torch.as_tensor(pixels.transpose(0, 3, 1, 2).copy()))
    images = (pixels.astype(np.float32) - 128) / 128
    outputs = jax.jit(inception.Inception().apply)(importer.variables_of(state), images)
    for output, theirs in zip(outputs, expected, strict=True):
        assert distance(output, theirs.numpy()) < 5e-6
