"""Files of every public format become models; foreign, wrong and hostile ones a line."""

import argparse
import os
import pickle

import jax
import numpy as np
import pytest

import sdgan_jax
from sdgan_jax.importers import formats
from sdgan_jax.importers.pickles import FileError
from sdgan_jax.networks import make_networks
from sdgan_jax.pretrained import archive
from sdgan_jax.training.gan import weights
from tests.importers import states, writer

WIDTHS, DIM, LAYERS, CLASSES = (8, 6, 10), 12, 2, 3
STATE_G, STATE_D = states.nvlabs_g(WIDTHS, DIM, LAYERS), states.nvlabs_d(WIDTHS)


def rosinality_tree(**more):
    g, d = states.rosinality_g(STATE_G), states.rosinality_d(STATE_D)
    return {"g_ema": g, "d": d, "latent_avg": STATE_G["mapping.w_avg"]} | more


def attributes(**of_module):
    """What a module's `__dict__` holds beside its arrays: the settings of layers, by the last part of their names."""

    def look_up(name):
        defaults = {
            "mbstd": {"group_size": 4},
            "fc0": {"bias_gain": 0.01, "activation": "lrelu", "weight_gain": np.float64(0.0005)},
            "conv0": {"activation": "lrelu", "conv_clamp": None},
        }
        last = name.split(".")[-1]
        return defaults.get(last, {}) | of_module.get(last, {})

    return look_up


def nvlabs_pickle(state_g=STATE_G, state_d=STATE_D, protocol=4, look_up=None, **more):
    """A snapshot of stylegan2-ada-pytorch; D's `mbstd` has no arrays, only a setting."""
    look_up = look_up or attributes()
    networks = {"G": None, "training_set_kwargs": {"class_name": "x"}, "augment_pipe": None}
    networks["G_ema"] = writer.nvlabs_network("Generator", state_g, look_up)
    if state_d is not None:
        networks["D"] = writer.nvlabs_network("Discriminator", state_d, look_up)
        fields = networks["D"].args[0]["state"]["_modules"]["b4"].args[0]["state"]
        fields["_modules"]["mbstd"] = writer.nvlabs_network("MinibatchStdLayer", {}, lambda name: look_up("mbstd"))
    return writer.dumps(networks | more, protocol)


def tf_pickle(state_g=STATE_G, state_d=STATE_D, arguments_g=(), arguments_d=(), protocol=4):
    own, mapping, synthesis = states.tf_g(state_g)

    def generator(own):
        components = {
            "mapping": writer.tf_network("G_mapping", mapping),
            "synthesis": writer.tf_network("G_synthesis", synthesis),
        }
        return writer.tf_network("G", own, components, resolution=16, **dict(arguments_g))

    d = writer.tf_network("D", states.tf_d(state_d), resolution=16, **dict(arguments_d))
    unused = generator({"lod": np.float32(0), "dlatent_avg": np.zeros(DIM, np.float32)})
    return writer.dumps((unused, d, generator(own)), protocol)


def read(tmp_path, data, form="auto", name="x"):
    (tmp_path / name).write_bytes(data)
    return formats.read(tmp_path / name, form)


def test_all_formats_give_the_same_model(tmp_path):
    """The three files hold one network, as their documentation says how; TensorFlow's biases are rounded once."""
    files = {
        "rosinality": [writer.torch_zip(rosinality_tree()), writer.torch_legacy(rosinality_tree())],
        "nvlabs": [nvlabs_pickle(protocol=protocol) for protocol in (2, 3, 4, 5)],
        "nvlabs_tf": [tf_pickle(protocol=protocol) for protocol in (2, 3, 4)],
    }
    reference = None
    for name, datas in files.items():
        for data in datas:
            found, model = read(tmp_path, data)
            assert (found, model.notes) == (name, [])
            arrays = archive.flatten(model.trees)
            reference = reference or (model.config, arrays)
            assert model.config == reference[0]
            assert set(arrays) == set(reference[1])
            for path, array in arrays.items():
                np.testing.assert_allclose(array, reference[1][path], rtol=0, atol=2e-7 if name == "nvlabs_tf" else 0)
    config = reference[0]
    assert (config.resolution, config.attributes, config.generator.latent_dim) == (16, ("none",), DIM)
    assert config.generator.mapping_layers == LAYERS
    assert config.generator.channels == config.discriminator.channels == WIDTHS  # no rule min(base / r, max)
    np.testing.assert_array_equal(reference[1]["w_avg"], STATE_G["mapping.w_avg"])


@pytest.mark.parametrize(
    ("widths", "expected"),
    [
        ((512, 512, 512, 512), (32768, 512, ())),
        ((512, 512, 512, 512, 256), (16384, 512, ())),
        ((512, 512, 512, 512, 256, 128, 64), (16384, 512, ())),
        ((512, 512, 512, 512, 512, 256, 128, 64, 32), (32768, 512, ())),
        ((64, 64, 32), (512, 64, ())),
        ((8, 6, 10), (32768, 512, (8, 6, 10))),
    ],
)
def test_channel_rules(widths, expected):
    from sdgan_jax.config import GeneratorConfig
    from sdgan_jax.importers.assembly import channel_rule

    config = GeneratorConfig(**channel_rule(list(widths)))
    assert (config.channel_base, config.channel_max, config.channels) == expected


def test_settings_of_layers_are_read(tmp_path):
    look_up = attributes(mbstd={"group_size": 8}, fc0={"bias_gain": np.float64(0.02)}, conv0={"conv_clamp": 256})
    _, model = read(tmp_path, nvlabs_pickle(look_up=look_up))
    assert model.config.discriminator.mbstd_group == 8
    assert model.config.generator.mapping_lr_mul == 0.02
    assert model.config.generator.conv_clamp == model.config.discriminator.conv_clamp == 256
    arguments = {"mapping_lrmul": 0.02, "conv_clamp": None}, {"mbstd_group_size": 8, "architecture": "resnet"}
    _, model = read(tmp_path, tf_pickle(arguments_g=arguments[0], arguments_d=arguments[1]))
    assert (model.config.generator.mapping_lr_mul, model.config.discriminator.mbstd_group) == (0.02, 8)


def test_parts_that_are_missing(tmp_path):
    tree = rosinality_tree()
    _, model = read(tmp_path, writer.torch_zip({"g": tree["g_ema"], "latent_avg": tree["latent_avg"][None]}))
    assert "params_d" not in model.trees
    assert model.notes == [
        "the file has no g_ema (the averaged generator); g was taken",
        "the file has no discriminator",
    ]
    _, model = read(tmp_path, nvlabs_pickle(state_d=None))
    assert model.notes == ["the file has no discriminator"]


def test_the_average_w_is_computed_where_the_file_has_none(tmp_path):
    tree = rosinality_tree()
    del tree["latent_avg"]
    _, model = read(tmp_path, writer.torch_zip(tree))
    assert model.notes == ["the file has no average w; it was computed from 10000 latents"]
    z = np.random.default_rng(5).standard_normal((20_000, DIM)).astype(np.float32)
    x = z / np.sqrt(np.mean(z**2, 1, keepdims=True) + 1e-8)
    for i in range(LAYERS):
        x = x @ (STATE_G[f"mapping.fc{i}.weight"].T * 0.01 / np.sqrt(DIM)) + 0.01 * STATE_G[f"mapping.fc{i}.bias"]
        x = np.where(x > 0, x, 0.2 * x) * np.sqrt(2)
    deviation = x.std(0) / np.sqrt(10_000)
    assert (np.abs(model.trees["w_avg"] - x.mean(0)) < 6 * deviation).all()


def test_a_training_checkpoint_of_torch(tmp_path):
    """Optimisers and options beside the networks, written by torch itself."""
    torch = pytest.importorskip("torch")
    tree = rosinality_tree()
    module = torch.nn.Linear(3, 2)
    optimiser = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    saved = {
        name: {key: torch.from_numpy(np.array(array)) for key, array in tree[name].items()} for name in ("g_ema", "d")
    }
    saved |= {"g": saved["g_ema"], "g_optim": optimiser.state_dict(), "d_optim": optimiser.state_dict()}
    saved |= {"args": argparse.Namespace(size=16, path="data"), "ada_aug_p": 0.3}
    for new in (True, False):
        torch.save(saved, tmp_path / "x.pt", _use_new_zipfile_serialization=new)
        found, model = formats.read(tmp_path / "x.pt")
        _, expected = read(tmp_path, writer.torch_zip(tree))
        assert found == "rosinality"
        ours, theirs = (archive.flatten({k: m.trees[k] for k in ("ema_g", "params_d")}) for m in (model, expected))
        for path, array in ours.items():
            np.testing.assert_array_equal(array, theirs[path])


def changed(state, **changes):
    return {key: changes.get(key.replace(".", "_"), array) for key, array in state.items()}


G_NAN = changed(STATE_G, synthesis_b8_conv0_bias=np.full(6, np.nan, np.float32))
WEB = b"<!DOCTYPE html><html>Quota exceeded</html>"


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: b"", "x is empty; known are .pt of rosinality, .pkl of NVlabs"),
        (lambda: b"hello", "x is no file of weights; known are"),
        (lambda: WEB, "x is a web page, so the download failed"),
        (lambda: b"version https://git-lfs.github.com/spec/v1\noid", "x is a Git LFS pointer; fetch the file"),
        (lambda: pickle.dumps({"a": 1}), "x is a pickle, but holds no networks of NVlabs"),
        (lambda: pickle.dumps((1, 2, 3)), "x is a pickle, but holds no networks of NVlabs"),
        (lambda: pickle.dumps({"G_ema": 5}), "x is damaged: a network is no module of PyTorch"),
        (
            lambda: writer.torch_zip({"state_dict": {"a": np.ones(2, np.float32)}}),
            "x is a file of torch, but of no network that is known: it holds state_dict (a, …); known are",
        ),
        (lambda: writer.torch_zip(rosinality_tree())[:-500], "x is cut off or damaged"),
        (lambda: writer.torch_legacy(rosinality_tree())[:-500], "x is cut off; download it again"),
        (lambda: nvlabs_pickle()[:-500], "x is cut off or damaged"),
        (
            lambda: nvlabs_pickle(G_NAN),
            "x: the generator holds NaN or infinity; 1 not finite (synthesis.b8.conv0.bias)",
        ),
        (lambda: nvlabs_pickle(STATE_G | {"synthesis.input.freqs": np.ones(3, np.float32)}), "x holds a StyleGAN3;"),
        (
            lambda: nvlabs_pickle(look_up=attributes(b8={"architecture": "orig"})),
            "x: synthesis.b8 has the architecture 'orig'; only skip can be read",
        ),
        (
            lambda: nvlabs_pickle(look_up=attributes(fc0={"activation": "relu"})),
            "x: mapping.fc0 has the activation 'relu'; only lrelu and linear can be read",
        ),
        (
            lambda: nvlabs_pickle(changed(STATE_G, synthesis_b8_resample_filter=np.ones((4, 4), np.float32))),
            "x: the filter synthesis.b8.resample_filter is not [1,3,3,1]",
        ),
        (lambda: tf_pickle(arguments_g={"architecture": "resnet"}), "x: architecture is 'resnet'; only 'skip' can be"),
        (lambda: tf_pickle(arguments_d={"resample_kernel": [1, 2, 1]}), "x: its resampling filter is not [1,3,3,1]"),
        (
            lambda: tf_pickle(state_d=STATE_D | {"b4.fc.weight": STATE_D["b4.fc.weight"][:, :-16]}),
            "x: the discriminator is not a StyleGAN2 that fits together; "
            "1 misshaped (4x4/Dense0/weight is [112, 8], expected [128, 8])",
        ),
        (
            lambda: writer.torch_zip(rosinality_tree(latent_avg=np.ones(5, np.float32))),
            "x: the average w is [5] or not finite; it must be [12]",
        ),
    ],
)
def test_other_files_get_one_line(tmp_path, monkeypatch, make, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").write_bytes(make())
    with pytest.raises(FileError) as raised:
        formats.read("x")
    assert str(raised.value).startswith(line)
    assert str(raised.value).isprintable()
    assert os.listdir() == ["x"]


def test_missing_unexpected_and_misshaped_keys_are_counted_and_named(tmp_path):
    tree = rosinality_tree()
    state = tree["g_ema"]
    for i in range(5):
        state[f"extra.{i}"] = np.ones(2, np.float32)
    del state["convs.0.noise.weight"], state["style.1.bias"]
    state["to_rgb1.bias"] = np.ones((1, 4, 1, 1), np.float32)
    with pytest.raises(FileError) as raised:
        read(tmp_path, writer.torch_zip(tree))
    assert str(raised.value) == (
        f"{tmp_path / 'x'}: the generator is not a StyleGAN2 that fits together; 2 missing (style.1.bias, "
        "convs.0.noise.weight); 5 unexpected (extra.0, extra.1, extra.2, and 2 more); "
        "1 misshaped (to_rgb1.bias is [1, 4, 1, 1], expected [1, 3, 1, 1])"
    )


def test_a_file_that_is_not_there_or_of_another_format(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        formats.read(tmp_path / "none")
    with pytest.raises(FileError, match="is a folder"):
        formats.read(tmp_path)
    with pytest.raises(FileError, match="is of the format rosinality, not nvlabs; leave --format=auto"):
        read(tmp_path, writer.torch_zip(rosinality_tree()), "nvlabs")


def test_the_source_code_in_a_file_is_not_run(tmp_path, monkeypatch):
    """Each module of the pickle carries code that would make a file."""
    monkeypatch.chdir(tmp_path)
    assert b"touch hacked" in nvlabs_pickle() and b"touch hacked" in tf_pickle()
    read(tmp_path, nvlabs_pickle())
    read(tmp_path, tf_pickle())
    assert os.listdir() == ["x"]


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
    state_g, state_d = states.nvlabs_g(WIDTHS, DIM, LAYERS, CLASSES), states.nvlabs_d(WIDTHS, CLASSES)
    _, imported = read(tmp_path, nvlabs_pickle(state_g, state_d))
    assert imported.config.generator.label_dim == imported.config.discriminator.label_dim == CLASSES
    weights.write(tmp_path / "model", imported.config, imported.trees)
    model = sdgan_jax.load(tmp_path / "model")
    rng = np.random.default_rng(0)
    z, label = rng.standard_normal((4, DIM)).astype(np.float32), np.array([2, 0, 1, 2])
    one_hot = np.eye(CLASSES)[label]

    x = np.concatenate((normalise(z), normalise(dense(state_g, "mapping.embed", one_hot))), 1)
    for i in range(LAYERS):
        x = lrelu(dense(state_g, f"mapping.fc{i}", x, 0.01))
    for given in (label, one_hot.astype(np.float32)):
        np.testing.assert_allclose(model.map(z, given), x, rtol=0, atol=1e-5 * np.abs(x).max())
    with pytest.raises(ValueError, match="label"):
        model.map(z)
    assert model.generate(z, label=label).shape == (4, 16, 16, 3)

    images = np.tanh(rng.standard_normal((4, 16, 16, 3))).astype(np.float32)
    outputs, one = [], None
    for i in range(WIDTHS[0]):
        plain = {key: array for key, array in state_d.items() if not key.startswith("mapping")}
        plain |= {f"b4.out.{part}": state_d[f"b4.out.{part}"][i : i + 1] for part in ("weight", "bias")}
        _, imported = read(tmp_path, nvlabs_pickle(STATE_G, plain))
        trees = jax.tree.map(jax.numpy.asarray, imported.trees)
        one = one or sdgan_jax.Model(make_networks(imported.config), trees)
        one.take(trees)
        outputs.append(one.discriminate(images)[0])
    mapped = normalise(dense(state_d, "mapping.embed", one_hot))
    for i in range(8):
        mapped = lrelu(dense(state_d, f"mapping.fc{i}", mapped, 0.01))
    expected = (np.stack(outputs, 1) * mapped).sum(1) / np.sqrt(WIDTHS[0])
    logits, nothing = model.discriminate(images, label=label)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert nothing is None
