"""Discriminator: groups of the standard deviation, multi-scale gradients, and the options of the config."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from sdgan_jax.config import DiscriminatorConfig, GeneratorConfig
from sdgan_jax.nets.discriminator import Discriminator, FeatureHead, JoinRGB, ResidualBlock
from sdgan_jax.nets.generator import Synthesis
from tests.nets import scipy_convolutions
from tests.random_arrays import distance, noise, weights

CONFIG = DiscriminatorConfig(channel_base=128, channel_max=16, mbstd_group=2)
RESOLUTION = 16
IMAGES = np.tanh(noise(2, RESOLUTION, RESOLUTION, 3, seed=1))


def make(**fields):
    """A discriminator and random weights, the same for all fields that change no shape."""
    net = Discriminator(dataclasses.replace(CONFIG, **fields), num_attributes=3)
    return net, weights(net, IMAGES)


def test_the_logits_of_a_sample_depend_on_its_strided_group():
    net = Discriminator(DiscriminatorConfig(64, 8, mbstd_group=2), num_attributes=3)
    images = noise(4, 8, 8, 3)
    variables, apply = weights(net, images), jax.jit(net.apply)
    logits, attributes = (np.asarray(x) for x in apply(variables, images))
    assert logits.shape == (4,) and attributes.shape == (4, 3)
    changed = images.copy()
    changed[1] *= 3.0  # samples 1 and 3 are a group, 0 and 2 the other
    other = np.asarray(apply(variables, changed)[0])
    np.testing.assert_allclose(other[[0, 2]], logits[[0, 2]], rtol=1e-5)
    assert abs(other[3] - logits[3]) > 1e-4


def test_the_skip_of_a_block_is_not_clamped():
    """As in NVlabs' stylegan2-ada-pytorch, where `conv_clamp` applies to all convolutions of D but this one."""
    block, x = ResidualBlock(3, 5, clamp=0.01), noise(2, 8, 8, 3)
    variables = weights(block, x)
    small = np.stack([np.stack([scipy_convolutions.downsample(x[n, :, :, c]) for c in range(3)], -1) for n in range(2)])
    expected = small @ variables["params"]["skip"]["kernel"][0, 0] / np.sqrt(3.0)
    difference = np.abs(np.sqrt(2.0) * block.apply(variables, x) - expected)
    assert np.abs(expected).max() > 0.5 and difference.max() < 0.0101  # the clamped convolutions add only this


def test_a_feature_head():
    """Without a halving: 1×1 to the width, the deviation of the group, 3×3, dense layers and projection, by scipy."""
    head, x, attributes = FeatureHead(3, group=2), noise(2, 4, 4, 5), np.eye(4, dtype=np.float32)[[1, 3]]
    params = weights(head, x, attributes)["params"]

    def activate(y):
        return np.where(y >= 0, y, 0.2 * y) * np.sqrt(2.0)

    hidden = activate(x @ params["project"]["kernel"][0, 0] / np.sqrt(5) + params["project"]["bias"])
    deviation = np.full((2, 4, 4, 1), np.sqrt(hidden.var(0) + 1e-8).mean())
    hidden = np.concatenate((hidden, deviation), -1)
    kernel = params["conv"]["kernel"] / np.sqrt(9 * 4)
    correlated = [
        sum(signal.correlate(hidden[n, :, :, c], kernel[:, :, c, d], "same") for c in range(4))
        for n in range(2)
        for d in range(3)
    ]
    hidden = activate(np.stack(correlated).reshape(2, 3, 4, 4).transpose(0, 2, 3, 1) + params["conv"]["bias"])

    def dense(y, layer):
        return y @ layer["kernel"] / np.sqrt(y.shape[1]) + layer["bias"]

    hidden = activate(dense(hidden.reshape(2, -1), params["dense"]))
    given = dense(attributes, params["attribute"])
    expected = dense(hidden, params["realness"])[:, 0] + (given * hidden).sum(1) / np.sqrt(3)
    np.testing.assert_allclose(head.apply({"params": params}, x, attributes), expected, rtol=1e-4, atol=1e-4)


def test_feature_heads_add_logits_and_leave_the_others_alone():
    plain, variables = make()
    net = Discriminator(dataclasses.replace(CONFIG, feature_heads=4), num_attributes=3)
    features = [noise(2, 8, 8, 5, seed=2), noise(2, 4, 4, 3, seed=3)]
    given = np.eye(3, dtype=np.float32)[[0, 2]]
    fresh = jax.jit(net.init)(jax.random.key(0), IMAGES, given, features)["params"]
    logits, attributes = jax.jit(net.apply)({"params": fresh | variables["params"]}, IMAGES, given, features)
    expected, expected_attributes = jax.jit(plain.apply)(variables, IMAGES)
    assert logits.shape == (2, 3)
    np.testing.assert_allclose(logits[:, 0], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(attributes, expected_attributes, rtol=1e-5, atol=1e-6)
    for column, size in ((1, 8), (2, 4)):  # each head sees its own features
        head = {"params": fresh[f"features_{size}"]}
        alone = FeatureHead(4, CONFIG.mbstd_group).apply(head, features[column - 1], given)
        np.testing.assert_allclose(logits[:, column], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["simple", "lin_cat", "cat_lin"])
def test_join_rgb(kind):
    x, rgb = noise(1, 2, 2, 4), noise(1, 2, 2, 3, seed=1)
    variables = weights(JoinRGB(kind), x, rgb)
    kernel = variables["params"]["conv"]["kernel"][0, 0] if kind != "simple" else None
    bias = variables["params"]["conv"]["bias"] if kind != "simple" else None
    expected = {
        "simple": lambda: np.concatenate((x, rgb), -1),
        "lin_cat": lambda: np.concatenate((x, rgb @ kernel / np.sqrt(3) + bias), -1),
        "cat_lin": lambda: np.concatenate((x, rgb), -1) @ kernel / np.sqrt(7) + bias,
    }[kind]()
    np.testing.assert_allclose(JoinRGB(kind).apply(variables, x, rgb), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["simple", "lin_cat", "cat_lin"])
def test_the_gradient_of_each_scale_reaches_the_rgb_of_that_scale(kind):
    """With the other scales cut, the gradient reaches the RGB layers up to this scale, and none above."""
    net_g = Synthesis(GeneratorConfig(6, mapping_layers=1, channel_base=128, channel_max=16), RESOLUTION)
    w_plus = noise(2, 6, 6)
    variables_g, (net_d, variables_d) = weights(net_g, w_plus), make(multi_scale=kind)

    def logits(params, kept):
        scales = net_g.apply(variables_g | {"params": params}, w_plus)
        scales = [scale if i == kept else jax.lax.stop_gradient(scale) for i, scale in enumerate(scales)]
        return net_d.apply(variables_d, scales)[0].sum()

    gradient = jax.jit(jax.grad(logits), static_argnums=1)
    for kept in range(3):
        moved = gradient(variables_g["params"], kept)
        reached = [bool(np.abs(moved[f"rgb_{size}"]["bias"]).max() > 1e-6) for size in (4, 8, 16)]
        assert reached == [size <= kept for size in range(3)], kept


def test_without_multi_scale_only_the_image_counts():
    net, variables = make()
    small = [noise(2, size, size, 3) for size in (4, 8)]
    apply = jax.jit(net.apply)
    np.testing.assert_array_equal(apply(variables, [*small, IMAGES])[0], apply(variables, IMAGES)[0])


def test_real_images_enter_as_a_pyramid_of_box_averages():
    net, variables = make(multi_scale="simple")
    pyramid = [IMAGES.reshape(2, r, 16 // r, r, 16 // r, 3).mean((2, 4)) for r in (4, 8)]
    apply = jax.jit(net.apply)
    expected = apply(variables, [*pyramid, IMAGES])[0]
    np.testing.assert_allclose(apply(variables, IMAGES)[0], expected, rtol=1e-4)
    other = apply(variables, [pyramid[0] + 1.0, pyramid[1], IMAGES])[0]
    assert np.abs(other - expected).max() > 1e-2


def test_bfloat16_stays_close_to_float32():
    """A bfloat16 has 8 bits of mantissa: ten roundings in a row that all add up would be 10 / 256."""
    net, variables = make()
    low, low_variables = make(low_precision_blocks=2, conv_clamp=256.0)
    assert jax.tree.map(jnp.shape, low_variables) == jax.tree.map(jnp.shape, variables)
    exact, rounded = (np.asarray(jax.jit(n.apply)(variables, IMAGES)[0]) for n in (net, low))
    assert rounded.dtype == np.float32
    assert 1e-4 < distance(rounded, exact) < 10 / 256
    half = jax.jit(make(low_precision_blocks=1)[0].apply)(variables, IMAGES)[0]
    assert not np.array_equal(half, rounded)


def test_gradients_in_bfloat16_point_where_those_in_float32_do():
    net, variables = make()
    low, _ = make(low_precision_blocks=2, conv_clamp=256.0)

    def gradient(n):
        return jax.jit(jax.grad(lambda v: n.apply(v, IMAGES)[0].sum()))(variables)["params"]

    exact, rounded = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient(n))]) for n in (net, low))
    assert np.dot(exact, rounded) / np.linalg.norm(exact) / np.linalg.norm(rounded) > 0.99


def test_remat_changes_no_gradient():
    (net, variables), (lean, _) = make(), make(remat=True)

    def loss(n):
        return lambda v: jnp.square(n.apply(v, IMAGES)[0]).sum()

    assert "remat" in str(jax.make_jaxpr(jax.grad(loss(lean)))(variables))
    expected = jax.jit(jax.grad(loss(net)))(variables)
    for a, b in zip(*map(jax.tree.leaves, (jax.jit(jax.grad(loss(lean)))(variables), expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * max(1.0, np.abs(b).max()))


def test_explicit_widths_replace_the_rule():
    _, variables = make(channels=(5, 7, 3))
    assert variables["params"]["block_8"]["conv_1"]["kernel"].shape == (3, 3, 3, 7)
    assert variables["params"]["conv_4"]["kernel"].shape == (3, 3, 6, 5)


def test_a_label_is_projected_on_the_features():
    """The logit of a conditional network is <features, mapped label> / sqrt(C): linear in the last dense layer."""
    net, label = Discriminator(dataclasses.replace(CONFIG, label_dim=2), num_attributes=1), noise(2, 2, seed=3)
    params = weights(net, IMAGES, label)["params"]
    params["label_mapping"] = jax.tree.map(lambda x: 100 * x, params["label_mapping"])  # its lr_mul is 0.01
    variables, apply = {"params": params}, jax.jit(net.apply)
    logits, attributes = apply(variables, IMAGES, label)
    assert logits.shape == (2,) and attributes is None
    doubled = params | {"realness": jax.tree.map(lambda x: 2 * x, params["realness"])}
    np.testing.assert_allclose(apply({"params": doubled}, IMAGES, label)[0], 2 * logits, rtol=1e-4)
    assert distance(apply(variables, IMAGES, -label)[0], logits) > 0.01
