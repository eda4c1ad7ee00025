"""Pickles of stylegan2-ada-pytorch: settings of layers, conditional networks, forms that are refused."""

import jax
import numpy as np
import pytest

import sdgan_jax
from sdgan_jax.importers.pickles import FileError
from sdgan_jax.networks import make_networks
from sdgan_jax.training.gan import weights
from tests.importers import files, states


def test_settings_of_layers_are_read(tmp_path):
    look_up = files.attributes(mbstd={"group_size": 8}, fc0={"bias_gain": np.float64(0.02)}, conv0={"conv_clamp": 256})
    model = files.read(tmp_path, files.nvlabs_pickle(look_up=look_up))
    assert model.config.discriminator.mbstd_group == 8
    assert model.config.generator.mapping_lr_mul == 0.02
    assert model.config.generator.conv_clamp == model.config.discriminator.conv_clamp == 256


def test_a_file_without_a_discriminator(tmp_path):
    assert files.read(tmp_path, files.nvlabs_pickle(state_d=None)).notes == ["the file has no discriminator"]


def changed(state, **changes):
    return {key: changes.get(key.replace(".", "_"), array) for key, array in state.items()}


G_NAN = changed(files.STATE_G, synthesis_b8_conv0_bias=np.full(6, np.nan, np.float32))


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (
            lambda: files.nvlabs_pickle(G_NAN),
            "x: the generator holds NaN or infinity; 1 not finite (synthesis.b8.conv0.bias)",
        ),
        (
            lambda: files.nvlabs_pickle(files.STATE_G | {"synthesis.input.freqs": np.ones(3, np.float32)}),
            "x holds a StyleGAN3;",
        ),
        (
            lambda: files.nvlabs_pickle(look_up=files.attributes(b8={"architecture": "orig"})),
            "x: synthesis.b8 has the architecture 'orig'; only skip can be read",
        ),
        (
            lambda: files.nvlabs_pickle(look_up=files.attributes(fc0={"activation": "relu"})),
            "x: mapping.fc0 has the activation 'relu'; only lrelu and linear can be read",
        ),
        (
            lambda: files.nvlabs_pickle(
                changed(files.STATE_G, synthesis_b8_resample_filter=np.ones((4, 4), np.float32))
            ),
            "x: the filter synthesis.b8.resample_filter is not [1,3,3,1]",
        ),
    ],
)
def test_other_networks_are_refused(tmp_path, make, line):
    with pytest.raises(FileError) as raised:
        files.read(tmp_path, make())
    assert str(raised.value).startswith(f"{tmp_path}/{line}")


def lrelu(x):
    return np.where(x > 0, x, 0.2 * x) * np.sqrt(2)


def normalise(x):
    return x / np.sqrt(np.mean(x**2, 1, keepdims=True) + 1e-8)


def dense(state, name, x, lr_mul=1.0):
    weight, bias = (state[f"{name}.{part}"].astype(np.float64) for part in ("weight", "bias"))
    return x @ (weight.T * lr_mul / np.sqrt(x.shape[1])) + lr_mul * bias


def test_conditional_networks(tmp_path):
    """Against numpy: the label's embedding beside z, and D's features projected on the mapped label.

    D's features are those of a plain discriminator, one output after the other, which the golden files hold.
    """
    state_g, state_d = (
        states.nvlabs_g(files.WIDTHS, files.DIM, files.LAYERS, files.CLASSES),
        states.nvlabs_d(files.WIDTHS, files.CLASSES),
    )
    imported = files.read(tmp_path, files.nvlabs_pickle(state_g, state_d))
    assert imported.config.generator.label_dim == imported.config.discriminator.label_dim == files.CLASSES
    weights.write(tmp_path / "model", imported.config, imported.trees)
    model = sdgan_jax.load(tmp_path / "model")
    rng = np.random.default_rng(0)
    z, label = rng.standard_normal((4, files.DIM)).astype(np.float32), np.array([2, 0, 1, 2])
    one_hot = np.eye(files.CLASSES)[label]

    x = np.concatenate((normalise(z), normalise(dense(state_g, "mapping.embed", one_hot))), 1)
    for i in range(files.LAYERS):
        x = lrelu(dense(state_g, f"mapping.fc{i}", x, 0.01))
    for given in (label, one_hot.astype(np.float32)):
        np.testing.assert_allclose(model.map(z, given), x, rtol=0, atol=1e-5 * np.abs(x).max())
    with pytest.raises(ValueError, match="label"):
        model.map(z)
    assert model.generate(z, label=label).shape == (4, 16, 16, 3)

    images = np.tanh(rng.standard_normal((4, 16, 16, 3))).astype(np.float32)
    outputs, one = [], None
    for i in range(files.WIDTHS[0]):
        plain = {key: array for key, array in state_d.items() if not key.startswith("mapping")}
        plain |= {f"b4.out.{part}": state_d[f"b4.out.{part}"][i : i + 1] for part in ("weight", "bias")}
        imported = files.read(tmp_path, files.nvlabs_pickle(files.STATE_G, plain))
        trees = jax.tree.map(jax.numpy.asarray, imported.trees)
        one = one or sdgan_jax.Model(make_networks(imported.config), trees)
        one.take(trees)
        outputs.append(one.discriminate(images)[0])
    mapped = normalise(dense(state_d, "mapping.embed", one_hot))
    for i in range(8):
        mapped = lrelu(dense(state_d, f"mapping.fc{i}", mapped, 0.01))
    expected = (np.stack(outputs, 1) * mapped).sum(1) / np.sqrt(files.WIDTHS[0])
    logits, nothing = model.discriminate(images, label=label)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert nothing is None
