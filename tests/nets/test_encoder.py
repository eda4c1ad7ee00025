"""The encoder: its trunk and dense layers by hand, and the latents that it starts from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.config import EncoderConfig
from sdgan_jax.nets.encoder import Encoder
from sdgan_jax.nets.se_resnet import SEResNet
from tests.random_arrays import noise, weights

CONFIG = EncoderConfig(width=4, width_max=6, blocks=1, hidden=5, rank=2)


def folded(images, side):
    """Channel (i, j, c) of a folded pixel is channel c of the pixel in row i and column j of its block."""
    parts = [images[:, i::side, j::side] for i in range(side) for j in range(side)]
    return np.concatenate(parts, -1)


def dense(params, x):
    return x @ params["kernel"] / np.sqrt(x.shape[-1]) + params["bias"]


@pytest.mark.parametrize(
    ("size", "side", "widths", "strides"),
    [(8, 2, (4,), (1,)), (16, 4, (4,), (1,)), (64, 4, (4, 6, 6), (1, 2, 2))],
)
@pytest.mark.parametrize("exclusive", [True, False])
def test_the_latents_by_hand(size, side, widths, strides, exclusive):
    net, images = Encoder(CONFIG, 3, 7, num_attributes=4, exclusive=exclusive), noise(2, size, size, 3)
    params = weights(net, images)["params"]
    trunk = SEResNet(widths, strides, 1, pool=False, norm="group")
    features = np.asarray(jax.jit(trunk.apply)({"params": params["face"]}, folded(images, side)))
    assert features.shape == (2, 4, 4, widths[-1])
    hidden = dense(params["hidden"], features.reshape(2, -1))
    hidden = np.sqrt(2) * np.where(hidden >= 0, hidden, 0.2 * hidden)
    logits = dense(params["attribute"], hidden)
    odds = np.exp(logits)
    recognised = odds / odds.sum(1, keepdims=True) if exclusive else odds / (1 + odds)
    known = np.float32([[1, 0, 0, 0], [0, 1, 0, 1]])
    partly = np.float32([[np.nan, 1, 0, 0], [np.nan, np.nan, 1, np.nan]])
    both = np.where([[True, False, False, False], [True, True, False, True]], recognised, partly)
    for attributes, worn in (((), recognised), ((known,), known), ((partly,), both)):
        shared = dense(params["shared"], hidden) + worn[:, 1:] @ params["worn"]
        expected = np.stack(
            [shared + hidden @ params["down"][layer] / np.sqrt(5) @ params["up"][layer] for layer in range(3)], 1
        )
        found, seen = jax.jit(net.apply)({"params": params}, images, *attributes)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
        np.testing.assert_allclose(seen, logits, rtol=1e-3, atol=1e-4)


def test_a_fresh_encoder_gives_all_layers_one_w():
    net, images = Encoder(CONFIG, 3, 7, num_attributes=4, exclusive=True), noise(2, 8, 8, 3)
    found = np.asarray(jax.jit(lambda: net.apply(net.init(jax.random.key(0), images), images)[0])())
    assert found.shape == (2, 3, 7) and found.std(0).min() > 0
    np.testing.assert_array_equal(found, found[:, :1].repeat(3, 1))


def test_large_images_are_averaged_down_to_256_pixels():
    net, small = Encoder(CONFIG, 2, 3, num_attributes=4, exclusive=True), noise(1, 256, 256, 3)
    large = small.repeat(2, 1).repeat(2, 2)
    large += np.float32([1, -1]).repeat(1)[np.indices((512, 512)).sum(0) % 2][None, :, :, None]  # averages to 0
    variables = weights(net, small)
    encode = jax.jit(lambda *given: net.apply(*given)[0])
    expected = np.asarray(encode(variables, small))
    np.testing.assert_allclose(encode(variables, large), expected, atol=1e-3 * np.abs(expected).max())


def test_two_million_parameters_at_64_pixels():
    shapes = jax.eval_shape(
        Encoder(EncoderConfig(), 10, 512, num_attributes=6, exclusive=True).init,
        jax.random.key(0),
        jnp.zeros((1, 64, 64, 3)),
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) <= 2_010_000
