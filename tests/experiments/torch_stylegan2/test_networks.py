"""The networks of the PyTorch peer against those of `sdgan_jax.nets`, with the same weights."""

import dataclasses

import jax
import numpy as np
import pytest

from sdgan_jax import config as c
from sdgan_jax.networks import make_networks
from tests.benchmark.plain import PLAIN
from tests.training import tiny


def to_torch(tree, width):
    """Parameters of `sdgan_jax.nets` with the names and layouts of the peer; `width` channels at 4×4."""
    arrays = {}
    for name, array in tiny.named_leaves(tree):
        if name == "dense/kernel":  # rows (H,W,C) here, (C,H,W) in torch
            array = array.reshape(4, 4, width, -1).transpose(2, 0, 1, 3).reshape(array.shape)
        axes = {4: (3, 2, 0, 1), 3: (2, 0, 1), 2: (1, 0)}.get(array.ndim, (0,) * array.ndim)
        arrays[name.replace("kernel", "weight").replace("/", ".")] = array.transpose(axes).copy()
    return arrays


@pytest.fixture(scope="module")
def shared():
    """Random weights, and the images from w+ with constant noise and the logits of photos that they give in JAX."""
    config = dataclasses.replace(
        PLAIN, resolution=16, generator=c.GeneratorConfig(12, 2, channel_base=128, channel_max=32)
    )
    state, nets, rng = tiny.random_state(config), make_networks(config), np.random.default_rng(3)
    z, photos = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 12), (8, 16, 16, 3)))
    variables = {"params": state.params_g, "buffers": state.buffers_g}
    w = jax.jit(lambda z: nets.map(variables, z))(z)
    w_plus = np.asarray(w)[:, None] + 0.1 * rng.standard_normal((4, config.num_layers, 12)).astype(np.float32)
    images = jax.jit(lambda w_plus: nets.synthesize(variables, w_plus, "const"))(w_plus)
    logits = jax.jit(lambda photos: nets.discriminate(state.params_d, photos)[0])(photos)
    return config, state, (z, w, w_plus, images, photos, logits)


@pytest.mark.parametrize("form", ["grouped convolution", "scaled activations", "scaled activations, channels last"])
def test_the_torch_networks_are_ours(form, shared):
    torch = pytest.importorskip("torch")
    from experiments.torch_stylegan2 import training

    config, state, (z, w, w_plus, images, photos, logits) = shared
    theirs = training.Training(config, form, threads=1)
    for network, tree in ((theirs.generator, state.params_g), (theirs.discriminator, state.params_d)):
        arrays = {name: torch.from_numpy(array) for name, array in to_torch(tree, width=32).items()}
        network.load_state_dict(arrays, strict=True)
    noises = {name: array for name, array in tiny.named_leaves(state.buffers_g["synthesis"])}
    order = ["conv_4", "conv_8_up", "conv_8", "conv_16_up", "conv_16"]
    drawn = [torch.from_numpy(noises[f"{name}/noise"].transpose(2, 0, 1)[None]) for name in order]
    with torch.no_grad():
        assert_close(theirs.generator.mapping(torch.from_numpy(z)), w)
        made = theirs.generator.synthesis(torch.from_numpy(w_plus), drawn)
        assert_close(made, np.asarray(images).transpose(0, 3, 1, 2))
        assert_close(theirs.discriminator(torch.from_numpy(photos.transpose(0, 3, 1, 2).copy())), logits)


def assert_close(theirs, ours):
    ours = np.asarray(ours)
    np.testing.assert_allclose(theirs.numpy(), ours, rtol=1e-5, atol=1e-5 * np.abs(ours).max())
