"""Checkpoints out: the keys of the reference, the arrays bitwise, and what is said about the rest."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from sdgan_jax.config import Config, DiscriminatorConfig, GeneratorConfig
from sdgan_jax.importers import formats, rosinality
from sdgan_jax.networks import make_networks
from sdgan_jax.pretrained import archive
from sdgan_jax.training.gan import weights
from sdgan_jax.training.gan.state import init_state
from tests.importers import states, writer
from tests.nets import golden
from tests.training import tiny

torch = pytest.importorskip("torch")


def save(path, config, state, dropped=()):
    trees = {name: getattr(state, name) for name in weights.FIELDS if name not in dropped}
    return rosinality.write(path, config, trees)


def zeros(config):
    shapes = jax.eval_shape(lambda: init_state(make_networks(config)))
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def load(path):
    return torch.load(path, weights_only=True)


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
        {"discriminator": DiscriminatorConfig(channel_base=64, channel_max=8, multi_scale="lin_cat")},
    ],
    ids=["conditional", "adain", "multi-scale"],
)
def test_networks_that_the_format_does_not_know_are_refused(tmp_path, change):
    config = dataclasses.replace(tiny.config(), **change)
    with pytest.raises(ValueError, match="the model is no plain StyleGAN2: rosinality's networks have no"):
        save(tmp_path / "x.pt", config, zeros(config))
    assert not (tmp_path / "x.pt").exists()
