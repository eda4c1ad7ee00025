"""Minibatch standard deviation, the discriminator's use of it, and the scales of the synthesis network."""

import jax
import numpy as np
import pytest
import scipy.signal

from sdgan_jax.config import DiscriminatorConfig, GeneratorConfig
from sdgan_jax.nets.discriminator import Discriminator
from sdgan_jax.nets.generator import Synthesis
from sdgan_jax.nets.layers import channels_at, minibatch_stddev


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def random_weights(shapes):
    leaves, tree = jax.tree.flatten(shapes)
    return jax.tree.unflatten(tree, [draw(*leaf.shape, seed=i) for i, leaf in enumerate(leaves)])


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
    x = draw(n, 2, 3, 4)
    y = np.asarray(minibatch_stddev(x, group))
    assert y.shape == (n, 2, 3, 5)
    np.testing.assert_array_equal(y[..., :4], x)
    for group_members in members:
        expected = np.std(x[group_members].astype(np.float64), axis=0).mean()
        np.testing.assert_allclose(y[group_members][..., 4], expected, rtol=1e-4, atol=2e-4)


def test_discriminator_judges_a_sample_with_its_strided_group():
    net = Discriminator(DiscriminatorConfig(64, 8, mbstd_group=2), num_attributes=3)
    images = draw(4, 8, 8, 3)
    variables = random_weights(jax.eval_shape(net.init, jax.random.key(0), images))
    judge = jax.jit(net.apply)
    logits, attributes = (np.asarray(x) for x in judge(variables, images))
    assert logits.shape == (4,) and attributes.shape == (4, 3)
    changed = images.copy()
    changed[1] *= 3.0  # samples 1 and 3 are a group, 0 and 2 the other
    other = np.asarray(judge(variables, changed)[0])
    np.testing.assert_allclose(other[[0, 2]], logits[[0, 2]], rtol=1e-5)
    assert abs(other[3] - logits[3]) > 1e-4


def test_channels():
    """Config-f: 512 up to 64 pixels, then halved with each doubling."""
    widths = [channels_at(r, 32768, 512) for r in (4, 64, 128, 256, 512, 1024)]
    assert widths == [512, 512, 256, 128, 64, 32]


@pytest.fixture(scope="module")
def synthesis():
    """A synthesis network for 8 pixels with random weights, noise strengths and biases too."""
    net = Synthesis(GeneratorConfig(6, 1, 0.01, 64, 8), resolution=8)
    w_plus = draw(2, 4, 6)
    variables = random_weights(jax.eval_shape(net.init, jax.random.key(0), w_plus))
    return jax.jit(net.apply), variables, w_plus


def doubled(image):
    """Zero insertion, then the filter [1,3,3,1] with gain 4."""
    wide = np.zeros((2 * image.shape[0], 2 * image.shape[1]))
    wide[::2, ::2] = image
    fir = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16.0
    return scipy.signal.convolve2d(np.pad(wide, ((2, 1), (2, 1))), fir, "valid")


def test_synthesis_adds_the_rgb_of_each_scale_to_the_smaller_image_doubled(synthesis):
    apply, variables, w_plus = synthesis
    small, image = (np.asarray(scale) for scale in apply(variables, w_plus))
    assert small.shape == (2, 4, 4, 3) and image.shape == (2, 8, 8, 3)
    mute = {key: value for key, value in variables["params"].items() if key != "rgb_8"}
    mute["rgb_8"] = jax.tree.map(np.zeros_like, variables["params"]["rgb_8"])
    _, before = apply(variables | {"params": mute}, w_plus)
    for n in range(2):
        for c in range(3):
            np.testing.assert_allclose(before[n, :, :, c], doubled(small[n, :, :, c]), rtol=1e-4, atol=1e-4)
    assert np.abs(image - before).max() > 0.1  # and the scale of 8 pixels adds something


def test_each_layer_listens_to_its_own_w(synthesis):
    """Layer 0: first convolution, 1: RGB at 4 and the up-convolution, 2: convolution at 8, 3: RGB at 8."""
    apply, variables, w_plus = synthesis
    small, image = apply(variables, w_plus)
    for layer, moves_small in enumerate((True, True, False, False)):
        changed = w_plus.copy()
        changed[:, layer] += 1.0
        other_small, other = apply(variables, changed)
        assert np.abs(other - image).max() > 1e-2
        assert (np.abs(other_small - small).max() > 1e-2) == moves_small
