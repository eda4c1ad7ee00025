"""Checkpoints of rosinality: read as the public ones are (without noise, wrapped, bare, in parts), and written."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from sdgan_jax import pretrained
from sdgan_jax.config import Config, DiscriminatorConfig, GeneratorConfig
from sdgan_jax.importers import formats, rosinality
from sdgan_jax.importers.pickles import FileError
from sdgan_jax.networks import make_networks
from sdgan_jax.pretrained import archive
from sdgan_jax.training.gan import weights
from sdgan_jax.training.gan.state import init_state
from tests.importers import states, writer
from tests.nets import golden
from tests.training import tiny

WIDTHS, DIM = (8, 6, 10), 12
STATE = states.nvlabs_g(WIDTHS, DIM, 2)
G, D = states.rosinality_g(STATE), states.rosinality_d(states.nvlabs_d(WIDTHS))
W = STATE["mapping.w_avg"]
NO_D, NO_W = "the file has no discriminator", "the file has no average w; it was computed from 10000 latents"
NOT_SAID = "the file does not say whether its generator is the averaged one (g_ema); "
NO_NOISE = "the file has no noise buffers (noises.*); drawn from a fixed key, the same at every conversion"


def read(tmp_path, tree):
    (tmp_path / "x.pt").write_bytes(writer.torch_zip(tree))
    found, model = formats.read(tmp_path / "x.pt")
    assert found == "rosinality"
    return model


def module(state, every=1):
    """A state dict of DataParallel, or one of which only some keys are wrapped."""
    return {f"module.{key}" if i % every == 0 else key: array for i, (key, array) in enumerate(state.items())}


def under(prefix, state):
    return {prefix + key: array for key, array in state.items()}


def without_noise(state):
    return {key: array for key, array in state.items() if not key.startswith("noises.")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The arrays of the file that has all its parts."""
    model = read(tmp_path_factory.mktemp("whole"), {"g_ema": G, "d": D, "latent_avg": W})
    assert model.notes == []
    return archive.flatten(model.trees)


@pytest.mark.parametrize(
    ("tree", "notes"),
    [
        ({"g_ema": module(G), "d": module(D), "latent_avg": W}, []),
        ({"g_ema": module(G, 3), "d": D, "latent_avg": W}, []),
        ({"g_ema": under("module.module.", G), "d": under("_orig_mod.", D), "latent_avg": W[None]}, []),
        ({"g": {}, "g_ema": G, "d": D, "latent_avg": W, "args": None, "ada_aug_p": 0.1}, []),
        ({"g": G, "d": D, "latent_avg": W}, ["the file has no g_ema (the averaged generator); g was taken"]),
        (
            {"g_ema": None, "g": G, "latent_avg": W},
            ["the file has no g_ema (the averaged generator); g was taken", NO_D],
        ),
        (
            {"g_ema": G, "d": {"a": W}, "latent_avg": W},
            ["left out: d, which holds no discriminator of rosinality", NO_D],
        ),
        ({"params_ema": G, "params": states.rosinality_g(states.nvlabs_g(WIDTHS, DIM, 3)), "latent_avg": W}, [NO_D]),
        ({"model": {"g_ema": G, "d": D}, "latent_avg": W}, []),
        ({"generator": G, "discriminator": D, "latent_avg": W}, [NOT_SAID + "generator was taken"]),
        ({"state_dict": module(G), "latent_avg": W}, [NOT_SAID + "state_dict was taken", NO_D]),
        ({"state_dict": under("g_ema.", G) | under("d.", D) | under("g.", G), "latent_avg": W}, []),
        (G | {"latent_avg": W}, [NOT_SAID + "it is a bare state dict", NO_D]),
        (module(G) | {"module.latent_avg": W}, [NOT_SAID + "it is a bare state dict", NO_D]),
        (
            # An encoder such as pSp: its decoder is the generator, and its average w is repeated for each layer.
            {
                "state_dict": under("decoder.", G) | {"encoder.body.0.weight": W},
                "latent_avg": np.tile(W, (6, 1)),
                "opts": {"output_size": 16},
            },
            [NOT_SAID + "state_dict.decoder was taken", NO_D],
        ),
    ],
)
def test_networks_are_found_by_their_arrays(tmp_path, whole, tree, notes):
    model = read(tmp_path, tree)
    assert model.notes == notes
    ours = archive.flatten(model.trees)
    assert set(ours) == {path for path in whole if NO_D not in notes or not path.startswith("params_d/")}
    for path, array in ours.items():
        np.testing.assert_array_equal(array, whole[path], err_msg=path)


def test_a_file_without_the_average_w_says_so(tmp_path):
    assert read(tmp_path, {"g_ema": G}).notes == [NO_D, NO_W]


def test_missing_noise_is_standard_normal_and_always_the_same(tmp_path, whole):
    model = read(tmp_path, {"g_ema": without_noise(G), "d": D, "latent_avg": W})
    assert model.notes == [NO_NOISE]
    ours, again = (
        archive.flatten(m.trees) for m in (model, read(tmp_path, module(without_noise(G)) | {"latent_avg": W}))
    )
    noise = {path: array for path, array in ours.items() if path.endswith("/noise")}
    sides = {"conv_4": 4, "conv_8_up": 8, "conv_8": 8, "conv_16_up": 16, "conv_16": 16}
    assert {path: array.shape for path, array in noise.items()} == {
        f"buffers_g/synthesis/{name}/noise": (side, side, 1) for name, side in sides.items()
    }
    for path, array in noise.items():
        np.testing.assert_array_equal(array, again[path])
    for path in set(ours) - set(noise):
        np.testing.assert_array_equal(ours[path], whole[path])
    numbers = np.concatenate([array.ravel() for array in noise.values()])  # 656: five standard errors and more
    assert abs(numbers.mean()) < 0.2 and abs(numbers.std() - 1) < 0.15 and abs((numbers**3).mean()) < 0.8
    assert len(np.unique(numbers)) == len(numbers)  # no buffer is another one again


def test_the_noise_of_some_layers_may_be_missing(tmp_path, whole):
    state = {key: array for key, array in G.items() if key != "noises.noise_2"}
    model = read(tmp_path, {"g_ema": state, "d": D, "latent_avg": W})
    assert model.notes == ["the file has no noises.noise_2; drawn from a fixed key, the same at every conversion"]
    ours = archive.flatten(model.trees)
    assert [p for p in whole if not np.array_equal(ours[p], whole[p])] == ["buffers_g/synthesis/conv_8/noise"]


@pytest.mark.parametrize(
    ("tree", "line"),
    [
        ({"d": D}, "x.pt holds a discriminator (d) but no generator; give a file with a generator"),
        (D, "x.pt holds a discriminator but no generator; give a file with a generator"),
        ({"state_dict": module(D)}, "x.pt holds a discriminator (state_dict) but no generator; give a file with a gen"),
        (
            {"g_ema": {key: array for key, array in G.items() if "convs" not in key}},
            "x.pt: the generator is cut short: it has no layers above 4×4 (convs.0.conv.weight, …)",
        ),
        (
            {"g_ema": {"a.weight": W}, "g_optim": {"state": {}}},
            "x.pt is a file of torch, but of an unknown network: it holds g_ema (a.weight, …), g_optim (state",
        ),
        (
            {"params_ema": {"style_mlp.1.weight": W}},
            "x.pt is a file of torch, but of an unknown network: it holds params_ema (style_mlp.1.weight, …); ",
        ),
        ({}, "x.pt is a file of torch, but of an unknown network: it holds an empty dict; known are"),
        ({"g_ema": G | {"module.input.input": W}}, "x.pt holds input.input twice, with and without `module.`"),
        (STATE, "x.pt holds arrays of stylegan2-ada-pytorch without the settings of its layers; give its .pkl"),
    ],
)
def test_files_without_a_generator_get_one_line(tmp_path, monkeypatch, tree, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pt").write_bytes(writer.torch_zip(tree))
    with pytest.raises(FileError) as raised:
        formats.read("x.pt")
    assert str(raised.value).startswith(line), raised.value


def save(path, config, state, dropped=()):
    trees = {name: getattr(state, name) for name in weights.FIELDS if name not in dropped}
    return rosinality.write(path, config, trees)


def zeros(config):
    shapes = jax.eval_shape(lambda: init_state(make_networks(config)))
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def load(path):
    return pytest.importorskip("torch").load(path, weights_only=True)


def test_in_out_in_is_bitwise(tmp_path):
    state_g, state_d = states.nvlabs_g((8, 6, 10), 12, 3), states.nvlabs_d((8, 6, 10))
    tree = {"g_ema": states.rosinality_g(state_g), "d": states.rosinality_d(state_d)}
    tree["latent_avg"] = state_g["mapping.w_avg"]
    (tmp_path / "a.pt").write_bytes(writer.torch_zip(tree))
    _, first = formats.read(tmp_path / "a.pt")
    weights.write(tmp_path / "model", first.config, first.trees)
    nets, trees = weights.read(tmp_path / "model")
    rosinality.write(tmp_path / "b.pt", nets.config, trees)
    written = load(tmp_path / "b.pt")
    assert set(written) == set(tree)
    for part in ("g_ema", "d"):
        assert set(written[part]) == set(tree[part])
        for key, array in tree[part].items():
            assert written[part][key].is_contiguous()
            np.testing.assert_array_equal(written[part][key].numpy(), array, err_msg=key)
    np.testing.assert_array_equal(written["latent_avg"].numpy(), tree["latent_avg"])
    _, second = formats.read(tmp_path / "b.pt")
    assert second.config == first.config
    again = archive.flatten(second.trees)
    for path, array in archive.flatten(first.trees).items():
        np.testing.assert_array_equal(again[path], array, err_msg=path)


def test_keys_and_shapes_at_256(tmp_path):
    """The 135 entries of the generator and the 50 of the discriminator of the reference."""
    config = Config(resolution=256, attributes=("none",), dataset="megn/rendered_256")
    assert save(tmp_path / "x.pt", config, zeros(config), dropped=("params_f",)) == []
    written = load(tmp_path / "x.pt")
    lists = json.loads((golden.FOLDER / "keys_rosinality_256.json").read_text())
    for part, name in (("g_ema", "g256"), ("d", "d256")):
        assert {key: list(value.shape) for key, value in written[part].items()} == dict(lists[name])
    kept = golden.load("rosinality_g32")[1]["convs.0.conv.blur.kernel"]
    np.testing.assert_array_equal(written["g_ema"]["convs.0.conv.blur.kernel"].numpy(), kept)
    kept = golden.load("rosinality_d32")[1]["convs.1.skip.0.kernel"]
    np.testing.assert_array_equal(written["d"]["convs.1.skip.0.kernel"].numpy(), kept)


def test_what_a_checkpoint_cannot_hold_is_said(tmp_path):
    config = dataclasses.replace(
        tiny.config(),
        generator=dataclasses.replace(tiny.config().generator, mapping_lr_mul=0.1),
        discriminator=dataclasses.replace(tiny.config().discriminator, mbstd_group=2, conv_clamp=256.0),
    )
    notes = save(tmp_path / "x.pt", config, tiny.random_state(config))
    for part in (
        "the attribute head of D",
        "the prior basis B and the fusion network F",
        "minibatch groups of 2",
        "lr_mlp=0.1",
        "do not clamp",
        "must be given the channels",
    ):
        assert [note for note in notes if part in note], part
    written = load(tmp_path / "x.pt")
    assert set(written) == {"g_ema", "d", "latent_avg"}
    assert not [key for key in written["d"] if "attribute" in key]
    save(tmp_path / "x.pt", config, tiny.random_state(config), dropped=("params_d",))
    assert set(load(tmp_path / "x.pt")) == {"g_ema", "latent_avg"}


@pytest.mark.parametrize(
    "change",
    [
        {"generator": GeneratorConfig(channel_base=64, channel_max=8, latent_dim=12, label_dim=3)},
        {"generator": GeneratorConfig(channel_base=64, channel_max=8, latent_dim=12, style="adain")},
    ],
    ids=["conditional", "adain"],
)
def test_generators_that_the_format_does_not_know_are_refused(tmp_path, change):
    config = dataclasses.replace(tiny.config(), **change)
    with pytest.raises(ValueError, match="the generator is not a plain StyleGAN2's: rosinality's has no"):
        save(tmp_path / "x.pt", config, zeros(config))
    assert not (tmp_path / "x.pt").exists()


@pytest.mark.parametrize("kind", ["in the box", "multi-scale"])
def test_a_discriminator_that_the_format_does_not_know_is_left_out(tmp_path, kind):
    """The model in the box has heads on frozen features; its G is written, and draws the same images when read."""
    network = DiscriminatorConfig(channel_base=64, channel_max=8, multi_scale="lin_cat")
    config = dataclasses.replace(tiny.config(), discriminator=network)
    trees = {name: getattr(zeros(config), name) for name in weights.FIELDS}
    if kind == "in the box":
        nets, trees = weights.read(pretrained.SHIPPED_MODEL)
        config = nets.config
    notes = rosinality.write(tmp_path / "x.pt", config, trees)
    assert notes[0].startswith("left out: D, which is not a plain StyleGAN2's: rosinality's has no params_d/")
    assert not [note for note in notes[1:] if " D" in note]
    assert set(load(tmp_path / "x.pt")) == {"g_ema", "latent_avg"}
    _, again = formats.read(tmp_path / "x.pt")
    for name in ("ema_g", "buffers_g"):
        ours, theirs = archive.flatten(trees[name]), archive.flatten(again.trees[name])
        for path, array in theirs.items():
            np.testing.assert_array_equal(array, ours[path], err_msg=path)
