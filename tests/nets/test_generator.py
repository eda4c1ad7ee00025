"""Mapping and synthesis network: skip connections, styles of the layers, noise, and the options of the config."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.benchmark import hlo
from sdgan_jax.config import GeneratorConfig
from sdgan_jax.nets import backend
from sdgan_jax.nets.generator import Generator, Mapping, Synthesis
from tests.nets import scipy_convolutions
from tests.random_arrays import distance, noise, weights

CONFIG = GeneratorConfig(6, mapping_layers=1, channel_base=128, channel_max=16)
RESOLUTION = 16
W_PLUS = noise(2, 6, 6)


def make(**fields):
    """A synthesis network and random weights, the same for all fields that change no shape."""
    net = Synthesis(dataclasses.replace(CONFIG, **fields), RESOLUTION)
    return net, weights(net, W_PLUS)


def test_mapping_joins_latent_and_label():
    """Both are divided by their root mean square, joined, and passed through dense layers."""
    net, z, label = Mapping(5, 1, 0.01, label_dim=3), noise(2, 4), noise(2, 3, seed=1)
    params = weights(net, z, label)["params"]
    scaled = lambda x: x / np.sqrt(np.square(x).mean(-1, keepdims=True))  # noqa: E731
    embedded = label @ params["embed"]["kernel"] / np.sqrt(3) + params["embed"]["bias"]
    joined = np.concatenate((scaled(z), scaled(embedded)), -1)
    dense = 0.01 * (joined @ params["dense_0"]["kernel"] / np.sqrt(9) + params["dense_0"]["bias"])
    expected = np.sqrt(2) * np.where(dense > 0, dense, 0.2 * dense)
    np.testing.assert_allclose(net.apply({"params": params}, z, label), expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"this network is conditional and needs a label \[N,3\]"):
        net.apply({"params": params}, z)


@pytest.fixture(scope="module")
def synthesis():
    """A synthesis network for 8 pixels with random weights, noise strengths and biases included."""
    net = Synthesis(GeneratorConfig(6, 1, 0.01, 64, 8), resolution=8)
    w_plus = noise(2, 4, 6)
    return jax.jit(net.apply), weights(net, w_plus), w_plus


def test_synthesis_adds_the_rgb_of_each_scale_to_the_smaller_image_doubled(synthesis):
    apply, variables, w_plus = synthesis
    small, image = (np.asarray(scale) for scale in apply(variables, w_plus))
    assert small.shape == (2, 4, 4, 3) and image.shape == (2, 8, 8, 3)
    mute = variables["params"] | {"rgb_8": jax.tree.map(np.zeros_like, variables["params"]["rgb_8"])}
    _, before = apply(variables | {"params": mute}, w_plus)
    for n in range(2):
        for c in range(3):
            doubled = scipy_convolutions.upsample(small[n, :, :, c])
            np.testing.assert_allclose(before[n, :, :, c], doubled, rtol=1e-4, atol=1e-4)
    assert np.abs(image - before).max() > 0.1  # the scale of 8 pixels adds something


def test_each_layer_uses_its_own_w(synthesis):
    """Layer 0: first convolution, 1: RGB at 4 and the up-convolution, 2: convolution at 8, 3: RGB at 8."""
    apply, variables, w_plus = synthesis
    small, image = apply(variables, w_plus)
    for layer, moves_small in enumerate((True, True, False, False)):
        changed = w_plus.copy()
        changed[:, layer] += 1.0
        other_small, other = apply(variables, changed)
        assert np.abs(other - image).max() > 1e-2
        assert (np.abs(other_small - small).max() > 1e-2) == moves_small


def test_noise_of_a_key_is_one_normal_draw_for_all_layers_of_its_sample():
    net, variables = make()
    apply = jax.jit(net.apply)
    keys = jax.random.split(jax.random.key(0), 2)
    drawn, swapped = apply(variables, W_PLUS, keys)[-1], apply(variables, W_PLUS[::-1], keys[::-1])[-1]
    np.testing.assert_allclose(swapped, drawn[::-1], rtol=1e-3, atol=1e-3)
    assert distance(apply(variables, W_PLUS, keys[::-1])[-1], drawn) > 1e-3
    bound = net.bind(variables)
    parts = bound._noises(keys)
    assert [part.shape for part in parts] == [(2, size, size, 1) for size in (4, 8, 8, 16, 16)]
    expected = jax.random.normal(keys[1], (16 + 2 * 64 + 2 * 256,))
    np.testing.assert_array_equal(np.concatenate([part[1].reshape(-1) for part in parts]), expected)


@pytest.mark.parametrize("platform", ["cpu", "tpu"])
def test_noise_is_the_same_in_the_form_of_every_platform(platform):
    net, variables = make()
    keys = jax.random.split(jax.random.key(0), 3)
    with backend.compiling_for(platform):
        parts = net.bind(variables)._noises(keys)
    expected = [jax.random.normal(key, (16 + 2 * 64 + 2 * 256,)) for key in keys]
    np.testing.assert_array_equal(np.concatenate([part.reshape(3, -1) for part in parts], 1), expected)


def test_noise_is_drawn_once_for_all_layers_and_both_passes(synthesis):
    """The inverse error function that makes normal numbers is computed in one kernel, not in each that reads noise."""
    net, variables, w_plus = Synthesis(GeneratorConfig(6, 1, 0.01, 64, 8), resolution=8), *synthesis[1:]
    keys = jax.random.split(jax.random.key(0), 2)
    loss = jax.grad(lambda w: jnp.square(net.apply(variables, w, keys)[-1]).sum())
    program = hlo.Program(jax.jit(loss).lower(w_plus).compile().as_text())
    assert len({one.computation for one in program.instructions if "erf_inv" in one.scope}) == 1


def test_generator_maps_then_synthesises():
    net, z = Generator(CONFIG, 8), noise(2, 6)
    variables = weights(net, z)
    map_z, synthesize = (jax.jit(functools.partial(net.apply, method=name)) for name in ("map", "synthesize"))
    w_plus = np.repeat(np.asarray(map_z(variables, z))[:, None], 4, axis=1)
    expected = synthesize(variables, w_plus)[-1]
    np.testing.assert_allclose(jax.jit(net.apply)(variables, z), expected, rtol=1e-4, atol=1e-4)


def test_adain_applies_the_style_of_every_layer():
    net, variables = make(style="adain")
    assert "affine" not in variables["params"]["conv_8"]["conv"] and "adain" in variables["params"]["conv_8"]
    apply = jax.jit(net.apply)
    images = apply(variables, W_PLUS)[-1]
    assert images.shape == (2, 16, 16, 3)
    for layer, used in enumerate((True, True, True, True, True, False)):  # the last one is ToRGB's, without a style
        changed = W_PLUS.copy()
        changed[:, layer] += 1.0
        assert (np.abs(apply(variables, changed)[-1] - images).max() > 1e-3) == used, layer


def test_bfloat16_stays_close_to_float32():
    """A bfloat16 has 8 bits of mantissa: ten roundings in a row that all add up would be 10 / 256."""
    net, variables = make()
    low, low_variables = make(low_precision_blocks=2, conv_clamp=256.0)
    assert jax.tree.map(jnp.shape, low_variables) == jax.tree.map(jnp.shape, variables)
    exact, rounded = (np.asarray(jax.jit(n.apply)(variables, W_PLUS)[-1]) for n in (net, low))
    assert rounded.dtype == np.float32
    assert 1e-4 < distance(rounded, exact) < 10 / 256
    half = jax.jit(make(low_precision_blocks=1)[0].apply)(variables, W_PLUS)[-1]
    assert not np.array_equal(half, rounded)


def test_clamping():
    net, variables = make(conv_clamp=0.01)
    assert np.abs(jax.jit(net.apply)(variables, W_PLUS)[0]).max() <= 0.01  # 4×4 is one clamped RGB


def test_remat_changes_no_gradient():
    (net, variables), (lean, _) = make(), make(remat=True)

    def loss(n):
        return lambda v: jnp.square(n.apply(v, W_PLUS)[-1]).sum()

    assert "remat" in str(jax.make_jaxpr(jax.grad(loss(lean)))(variables))
    expected = jax.jit(jax.grad(loss(net)))(variables)
    for a, b in zip(*map(jax.tree.leaves, (jax.jit(jax.grad(loss(lean)))(variables), expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * max(1.0, np.abs(b).max()))


def test_explicit_widths_replace_the_rule():
    _, variables = make(channels=(5, 7, 3))
    shapes = {name: variables["params"][name]["conv"]["kernel"].shape for name in ("conv_4", "conv_8_up", "conv_16")}
    assert shapes == {"conv_4": (3, 3, 5, 5), "conv_8_up": (3, 3, 5, 7), "conv_16": (3, 3, 3, 3)}
