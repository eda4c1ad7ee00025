"""What the networks can be told to do otherwise: AdaIN, multi-scale gradients, bfloat16, clamping, remat, widths."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.config import DiscriminatorConfig, GeneratorConfig
from sdgan_jax.nets.discriminator import Discriminator, JoinRGB
from sdgan_jax.nets.generator import Synthesis
from sdgan_jax.nets.layers import AdaIN, EqualConv, dtype_at
from tests.training import tiny

G = GeneratorConfig(6, mapping_layers=1, channel_base=128, channel_max=16)
D = DiscriminatorConfig(channel_base=128, channel_max=16, mbstd_group=2)
RESOLUTION = 16


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    with tiny.quick_compilation():
        yield


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def random_weights(net, *inputs):
    leaves, tree = jax.tree.flatten(jax.eval_shape(net.init, jax.random.key(0), *inputs))
    return jax.tree.unflatten(tree, [draw(*leaf.shape, seed=i) for i, leaf in enumerate(leaves)])


W_PLUS, IMAGES = draw(2, 6, 6), np.tanh(draw(2, RESOLUTION, RESOLUTION, 3, seed=1))


def synthesis(**fields):
    """A synthesis network, and weights for it that a plain one can use too where the fields change no shape."""
    net = Synthesis(dataclasses.replace(G, **fields), RESOLUTION)
    return net, random_weights(net, W_PLUS)


def discriminator(**fields):
    net = Discriminator(dataclasses.replace(D, **fields), num_attributes=3)
    return net, random_weights(net, IMAGES)


def distance(a, b):
    """Largest difference as a share of the largest value."""
    return np.abs(np.asarray(a) - b).max() / np.abs(b).max()


def test_adain_gives_each_channel_the_deviation_and_mean_of_the_style():
    x, w = 3 * draw(2, 5, 5, 4) + 1, draw(2, 6, seed=1)
    variables = random_weights(AdaIN(), x, w)
    y = np.asarray(AdaIN().apply(variables, x, w), np.float64)
    for name, moment in (("scale", lambda a: a.std((1, 2))), ("shift", lambda a: a.mean((1, 2)))):
        dense = variables["params"][name]
        style = w.astype(np.float64) @ dense["kernel"] / np.sqrt(6) + dense["bias"]
        np.testing.assert_allclose(moment(y), np.abs(style) if name == "scale" else style, rtol=1e-3, atol=1e-5)
    centred = (x - x.mean((1, 2), keepdims=True)) / x.std((1, 2), keepdims=True)
    scale = (w @ variables["params"]["scale"]["kernel"] / np.sqrt(6) + variables["params"]["scale"]["bias"])[
        :, None, None
    ]
    np.testing.assert_allclose(y - y.mean((1, 2), keepdims=True), scale * centred, rtol=1e-3, atol=1e-3)


def test_a_fresh_adain_only_normalises():
    x = 3 * draw(2, 8, 8, 4) + 1
    fresh = AdaIN().init(jax.random.key(0), x, draw(2, 6))
    y = AdaIN().apply(fresh, x, np.zeros((2, 6), np.float32))
    np.testing.assert_allclose(np.mean(y, (1, 2)), 0.0, atol=1e-5)
    np.testing.assert_allclose(np.std(y, (1, 2)), 1.0, rtol=1e-3)


def test_a_generator_with_adain_draws_under_every_layers_style():
    net, variables = synthesis(style="adain")
    assert "affine" not in variables["params"]["conv_8"]["conv"] and "adain" in variables["params"]["conv_8"]
    apply = jax.jit(net.apply)
    images = apply(variables, W_PLUS)[-1]
    assert images.shape == (2, 16, 16, 3)
    for layer, listens in enumerate((True, True, True, True, True, False)):  # ToRGB, alone at the last, has no style
        changed = W_PLUS.copy()
        changed[:, layer] += 1.0
        assert (np.abs(apply(variables, changed)[-1] - images).max() > 1e-3) == listens, layer


@pytest.mark.parametrize("kind", ["simple", "lin_cat", "cat_lin"])
def test_join_rgb(kind):
    x, rgb = draw(1, 2, 2, 4), draw(1, 2, 2, 3, seed=1)
    variables = random_weights(JoinRGB(kind), x, rgb)
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
    """Cut the other scales: what is left moves the RGB layers up to this scale, and none above."""
    (net_g, variables_g), (net_d, variables_d) = synthesis(), discriminator(multi_scale=kind)

    def logits(params, kept):
        scales = net_g.apply(variables_g | {"params": params}, W_PLUS)
        scales = [scale if i == kept else jax.lax.stop_gradient(scale) for i, scale in enumerate(scales)]
        return net_d.apply(variables_d, scales)[0].sum()

    gradient = jax.jit(jax.grad(logits), static_argnums=1)
    for kept in range(3):
        moved = gradient(variables_g["params"], kept)
        reached = [bool(np.abs(moved[f"rgb_{size}"]["bias"]).max() > 1e-6) for size in (4, 8, 16)]
        assert reached == [size <= kept for size in range(3)], kept


def test_without_multi_scale_only_the_image_counts():
    net, variables = discriminator()
    small = [draw(2, size, size, 3) for size in (4, 8)]
    apply = jax.jit(net.apply)
    np.testing.assert_array_equal(apply(variables, [*small, IMAGES])[0], apply(variables, IMAGES)[0])


def test_real_images_enter_as_a_pyramid_of_box_averages():
    net, variables = discriminator(multi_scale="simple")
    pyramid = [IMAGES.reshape(2, r, 16 // r, r, 16 // r, 3).mean((2, 4)) for r in (4, 8)]
    apply = jax.jit(net.apply)
    expected = apply(variables, [*pyramid, IMAGES])[0]
    np.testing.assert_allclose(apply(variables, IMAGES)[0], expected, rtol=1e-4)
    other = apply(variables, [pyramid[0] + 1.0, pyramid[1], IMAGES])[0]
    assert np.abs(other - expected).max() > 1e-2


def test_which_resolutions_are_low_precision():
    """Of 256 pixels, four blocks are 32 to 256; 4×4 never is."""
    low = [r for r in (4, 8, 16, 32, 64, 128, 256) if dtype_at(r, 256, 4) == jnp.bfloat16]
    assert low == [32, 64, 128, 256]
    assert dtype_at(4, 8, 8) == jnp.float32 and dtype_at(256, 256, 0) == jnp.float32


def test_bfloat16_stays_close_to_float32():
    """A bfloat16 has 8 bits of mantissa: ten roundings in a row that all add up would be 10 / 256."""
    for make, inputs, pick in ((synthesis, W_PLUS, lambda out: out[-1]), (discriminator, IMAGES, lambda out: out[0])):
        net, variables = make()
        low, low_variables = make(low_precision_blocks=2, conv_clamp=256.0)
        assert jax.tree.map(jnp.shape, low_variables) == jax.tree.map(jnp.shape, variables)
        exact, rounded = (np.asarray(pick(jax.jit(n.apply)(variables, inputs))) for n in (net, low))
        assert rounded.dtype == np.float32
        assert 1e-4 < distance(rounded, exact) < 10 / 256
        half = jax.jit(make(low_precision_blocks=1)[0].apply)(variables, inputs)
        assert not np.array_equal(pick(half), rounded)


def test_gradients_in_bfloat16_point_where_those_in_float32_do():
    net, variables = discriminator()
    low, _ = discriminator(low_precision_blocks=2, conv_clamp=256.0)

    def gradient(n):
        return jax.jit(jax.grad(lambda v: n.apply(v, IMAGES)[0].sum()))(variables)["params"]

    exact, rounded = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient(n))]) for n in (net, low))
    assert np.dot(exact, rounded) / np.linalg.norm(exact) / np.linalg.norm(rounded) > 0.99


def test_clamping():
    x = 100 * draw(1, 4, 4, 2)
    free, clamped = EqualConv(3), EqualConv(3, clamp=5.0)
    variables = random_weights(free, x)
    expected = np.clip(free.apply(variables, x), -5.0, 5.0)
    assert (np.abs(expected) == 5.0).any()
    np.testing.assert_array_equal(clamped.apply(variables, x), expected)
    net, variables = synthesis(conv_clamp=0.01)
    assert np.abs(jax.jit(net.apply)(variables, W_PLUS)[0]).max() <= 0.01  # 4×4 is one clamped RGB


@pytest.mark.parametrize("make", [synthesis, discriminator])
def test_remat_changes_no_gradient(make):
    (net, variables), (lean, _) = make(), make(remat=True)
    inputs = W_PLUS if make is synthesis else IMAGES

    def loss(n):
        return lambda v: jnp.square(n.apply(v, inputs)[-1 if make is synthesis else 0]).sum()

    assert "remat" in str(jax.make_jaxpr(jax.grad(loss(lean)))(variables))
    expected = jax.jit(jax.grad(loss(net)))(variables)
    for a, b in zip(*map(jax.tree.leaves, (jax.jit(jax.grad(loss(lean)))(variables), expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * max(1.0, np.abs(b).max()))


def test_explicit_widths_replace_the_rule():
    _, variables = synthesis(channels=(5, 7, 3))
    shapes = {name: variables["params"][name]["conv"]["kernel"].shape for name in ("conv_4", "conv_8_up", "conv_16")}
    assert shapes == {"conv_4": (3, 3, 5, 5), "conv_8_up": (3, 3, 5, 7), "conv_16": (3, 3, 3, 3)}
    _, variables = discriminator(channels=(5, 7, 3))
    assert variables["params"]["block_8"]["conv_1"]["kernel"].shape == (3, 3, 3, 7)
    assert variables["params"]["conv_4"]["kernel"].shape == (3, 3, 6, 5)
