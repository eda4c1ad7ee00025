"""Model directories: written, read, refused, started from."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from sdgan_jax import config as c
from sdgan_jax.training import checkpoint
from sdgan_jax.training import workdir as workdir_lib
from sdgan_jax.training.gan import weights
from tests.training import tiny


def trees_of(state):
    """Returns the arrays of a model: the averaged generator with its noise, D, F, average w and basis."""
    names = ("ema_g", "buffers_g", "params_d", "params_f", "w_avg", "basis")
    return {name: getattr(state, name) for name in names}


@pytest.fixture
def config():
    return tiny.config()


@pytest.fixture
def trees(config):
    return trees_of(tiny.random_state(config, seed=1))


def start(config, model):
    """Returns the basis of a run that starts from a model, and what is said about it."""
    state, report = weights.start_from(tiny.random_state(config), config, model)
    return np.asarray(state.basis), report


def test_float32_comes_back_bitwise(config, trees, tmp_path):
    weights.write(tmp_path / "a" / "model", config, trees)
    nets, read = weights.read(tmp_path / "a" / "model")
    assert nets.config == config
    assert jax.tree.structure(read) == jax.tree.structure(trees)
    for (name, a), (_, b) in zip(tiny.named_leaves(read), tiny.named_leaves(trees), strict=True):
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, b, err_msg=name)


def test_float16_comes_back_rounded_at_half_the_size(config, trees, tmp_path):
    weights.write(tmp_path / "full", config, trees)
    weights.write(tmp_path / "half", config, trees, np.float16)
    sizes = [(tmp_path / name / "weights.safetensors").stat().st_size for name in ("full", "half")]
    assert sizes[1] < 0.8 * sizes[0]  # the names of the arrays weigh something here
    _, read = weights.read(tmp_path / "half")
    for (name, a), (_, b) in zip(tiny.named_leaves(read), tiny.named_leaves(trees), strict=True):
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, b.astype(np.float16).astype(np.float32), err_msg=name)


def test_the_old_format_is_read_with_one_line_unless_the_new_one_is_there(config, trees, tmp_path, capsys):
    weights.write(tmp_path, config, trees)
    (tmp_path / "weights.safetensors").unlink()
    np.savez_compressed(tmp_path / "weights.npz", **dict(tiny.named_leaves(trees)))
    _, read = weights.read(tmp_path)
    for (name, a), (_, b) in zip(tiny.named_leaves(read), tiny.named_leaves(trees), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
    printed = capsys.readouterr().err
    assert printed.startswith(f"{tmp_path}/weights.npz is in the old format; rewrite it by ")
    assert printed.count("\n") == 1
    weights.write(tmp_path, config, trees | {"w_avg": trees["w_avg"] + 1})
    np.testing.assert_array_equal(weights.read(tmp_path)[1]["w_avg"], trees["w_avg"] + 1)
    assert capsys.readouterr().err == ""


def test_an_archive_that_does_not_fit_its_config_is_refused_in_one_line(config, trees, tmp_path):
    weights.write(tmp_path, config, trees)
    values = json.loads((tmp_path / "config.json").read_text())
    values["generator"]["latent_dim"] = 20
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(
        ValueError, match=r"weights\.safetensors does not fit its config\.json: \d+ arrays differ"
    ) as raised:
        weights.read(tmp_path)
    assert "\n" not in str(raised.value)

    del trees["basis"], trees["params_d"]["realness"]["bias"]
    weights.write(tmp_path, config, trees)
    with pytest.raises(ValueError, match="2 arrays differ, basis, params_d/realness/bias"):
        weights.read(tmp_path)


def test_a_directory_without_a_model_is_refused(config, tmp_path):
    with pytest.raises(FileNotFoundError, match="has no config.json"):
        weights.read(tmp_path)
    workdir_lib.save_config(tmp_path, config)
    with pytest.raises(FileNotFoundError, match="neither weights.safetensors nor a checkpoint"):
        weights.read(tmp_path)


def test_a_workdir_is_read_like_a_model_directory(config, tmp_path):
    class Position:
        position, skipped, dataset = 0, (), "faces"

    state = jax.device_put(tiny.random_state(config, seed=2), jax.devices()[0])
    with checkpoint.Checkpoints(tmp_path, config) as checkpoints:
        checkpoints.save(1, state, Position())
    nets, read = weights.read(tmp_path)
    assert nets.config == config
    for (name, a), (_, b) in zip(tiny.named_leaves(read), tiny.named_leaves(trees_of(state)), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


def test_one_checkpoint_of_a_workdir_is_read_and_started_from(config, tmp_path):
    class Position:
        position, skipped, dataset = 0, (), "faces"

    first, second = (jax.device_put(tiny.random_state(config, seed), jax.devices()[0]) for seed in (2, 3))
    with checkpoint.Checkpoints(tmp_path, config) as checkpoints:
        checkpoints.save(1, first, Position())
        checkpoints.save(2, second, Position())
    for path, state in ((tmp_path, second), (tmp_path / "checkpoints" / "1", first)):
        _, trees = weights.read(path)
        np.testing.assert_array_equal(trees["basis"], state.basis)
        started, report = weights.start_from(tiny.random_state(config), config, path)
        np.testing.assert_array_equal(started.basis, state.basis)
        assert report.startswith(f"Starting from {path}\n")
    with pytest.raises(FileNotFoundError, match="holds no checkpoint of step 7; there are 1, 2"):
        weights.read(tmp_path / "checkpoints" / "7")


def test_start_from_a_file_of_weights_points_to_its_conversion(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pt").write_bytes(b"PK")
    with pytest.raises(FileNotFoundError, match="x.pt is a file of weights, .* --source=x.pt --out=x`, then give x"):
        weights.start_from(tiny.random_state(config), config, "x.pt")


def test_start_from_takes_what_fits_and_says_so(config, trees, tmp_path):
    weights.write(tmp_path, config, trees)
    fresh = tiny.random_state(config)
    state, report = weights.start_from(fresh, config, tmp_path)
    for (name, a), (_, b) in zip(tiny.named_leaves(trees_of(state)), tiny.named_leaves(trees), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
    for a, b in zip(jax.tree.leaves(state.params_g), jax.tree.leaves(trees["ema_g"]), strict=True):
        np.testing.assert_array_equal(a, b)
    assert state.step == 0 and jax.tree.structure(state) == jax.tree.structure(fresh)
    count = len(jax.tree.leaves(trees["params_f"]))
    assert f"params_f: {count} of {count} arrays taken\n" in report and "basis: 1 of 1 arrays taken\n" in report
    assert report.endswith("attributes: none, mask, beard taken")


def test_start_from_another_space_leaves_the_last_layer_of_the_regressor_alone(config, trees, tmp_path):
    """A model in z regresses one vector, a run in w+ one for each layer: all else is taken."""
    weights.write(tmp_path, config, trees)
    config = dataclasses.replace(config, latent_space="w")
    fresh = tiny.random_state(config)
    state, report = weights.start_from(fresh, config, tmp_path)
    ours, new, old = (tree["regressor"] for tree in (state.params_f, fresh.params_f, trees["params_f"]))
    np.testing.assert_array_equal(ours["layers"]["kernel"], new["layers"]["kernel"])
    np.testing.assert_array_equal(ours["local"]["kernel"], old["local"]["kernel"])
    np.testing.assert_array_equal(state.params_f["embedding"], trees["params_f"]["embedding"])
    count = len(jax.tree.leaves(trees["params_f"]))
    line = f"params_f: {count - 3} of {count} arrays taken; new: regressor/"
    assert line in report


def test_a_basis_moves_latents_as_far_as_in_its_model(config, trees, tmp_path):
    weights.write(tmp_path, dataclasses.replace(config, basis_length=8.0), trees)
    ours = dataclasses.replace(config, basis_length=2.0)
    moves = [length * np.asarray(found) for length, found in ((8.0, trees["basis"]), (2.0, start(ours, tmp_path)[0]))]
    np.testing.assert_allclose(moves[1], moves[0], rtol=1e-6)
    assert np.isfinite(start(dataclasses.replace(config, basis_length=0.0), tmp_path)[0]).all()


def test_a_basis_of_the_other_space_is_new(config, trees, tmp_path):
    weights.write(tmp_path, config, trees)
    ours = dataclasses.replace(config, latent_space="w")
    basis, report = start(ours, tmp_path)
    np.testing.assert_array_equal(basis, tiny.random_state(ours).basis)
    assert "basis: 0 of 1 arrays taken; new: basis, since that of the model lies in z, not in w\n" in report


def test_start_from_a_smaller_model_takes_the_layers_they_share(config, trees, tmp_path):
    weights.write(tmp_path, config, trees)
    larger = dataclasses.replace(config, resolution=16, fusion=c.FusionConfig(width=8, width_max=8, blocks=1, kernel=3))
    fresh = tiny.random_state(larger)
    state, report = weights.start_from(fresh, larger, tmp_path)
    old, new = trees["ema_g"]["synthesis"], state.params_g["synthesis"]
    np.testing.assert_array_equal(new["conv_8"]["conv"]["kernel"], old["conv_8"]["conv"]["kernel"])
    np.testing.assert_array_equal(new["rgb_16"]["bias"], fresh.params_g["synthesis"]["rgb_16"]["bias"])
    ours, theirs = len(jax.tree.leaves(fresh.params_g)), len(jax.tree.leaves(trees["ema_g"]))
    assert ours > theirs and f"params_g: {theirs} of {ours} arrays taken; new: synthesis/conv_16" in report


def test_start_from_other_attributes_goes_by_their_names(config, trees, tmp_path):
    """From (none, mask, beard) to (none, hat, beard): the head, the embedding and the basis of hat are new."""
    weights.write(tmp_path, config, trees)
    config = dataclasses.replace(config, attributes=("none", "hat", "beard", "mask"))
    fresh = tiny.random_state(config)
    state, report = weights.start_from(fresh, config, tmp_path)
    np.testing.assert_array_equal(
        state.basis, [trees["basis"][0], fresh.basis[1], trees["basis"][2], trees["basis"][1]]
    )
    for name, rows in (("kernel", np.transpose), ("bias", np.asarray)):
        head, old, new = (rows(tree["attribute"][name]) for tree in (state.params_d, trees["params_d"], fresh.params_d))
        np.testing.assert_array_equal(head, [old[0], new[1], old[2], old[1]])
    embedding, old, new = (tree["embedding"] for tree in (state.params_f, trees["params_f"], fresh.params_f))
    np.testing.assert_array_equal(embedding, [new[0], old[1], old[0]])
    assert report.endswith("attributes: none, beard, mask taken; hat new")


def test_feature_heads_know_attributes_by_their_names():
    ours, theirs = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    found = weights._fit("params_d/features_16/attribute/kernel", ours, theirs[[0, 2]], [0, 1], [0, 1])
    np.testing.assert_array_equal(found, [theirs[0], theirs[2], ours[2]])
    found = weights._fit("params_d/features_8/attribute/kernel", ours, theirs, [0, 1, 2], [0, 2, 1])
    np.testing.assert_array_equal(found, theirs[[0, 2, 1]])


def test_a_basis_is_not_taken_from_a_model_that_shares_no_attribute(config, trees, tmp_path):
    weights.write(tmp_path, config, trees)
    config = dataclasses.replace(config, attributes=("none", "hat", "scarf"))
    fresh = tiny.random_state(config)
    state, report = weights.start_from(fresh, config, tmp_path)
    np.testing.assert_array_equal(state.basis, fresh.basis)
    assert "basis: 0 of 1 arrays taken" in report and report.endswith("attributes: none taken; hat, scarf new")


def test_start_from_weights_without_discriminator(config, trees, tmp_path):
    del trees["params_d"], trees["params_f"]
    weights.write(tmp_path, config, trees)
    assert set(weights.read(tmp_path)[1]) == {"ema_g", "buffers_g", "w_avg", "basis"}
    fresh = tiny.random_state(config)
    state, report = weights.start_from(fresh, config, tmp_path)
    for field in ("params_d", "params_f"):
        assert all(map(np.array_equal, jax.tree.leaves(getattr(state, field)), jax.tree.leaves(getattr(fresh, field))))
    assert "params_d: 0 of " in report


def test_start_from_a_model_that_fits_nowhere_is_refused(config, trees, tmp_path):
    weights.write(tmp_path, config, trees)
    other = dataclasses.replace(config, generator=c.GeneratorConfig(20, 1, 1.0, 48, 6))
    with pytest.raises(ValueError, match="nothing of its generator fits this config"):
        weights.start_from(tiny.random_state(other), other, tmp_path)


@pytest.mark.parametrize("fields", [{"resolution": 16}, {"generator": c.GeneratorConfig(12, 2, 1.0, 64, 8)}])
def test_a_frozen_generator_must_fit_as_a_whole(config, trees, tmp_path, fields):
    """A layer of its own at random would stay random."""
    weights.write(tmp_path, config, trees)
    larger = dataclasses.replace(config, **fields)
    weights.start_from(tiny.random_state(larger), larger, tmp_path)
    with pytest.raises(ValueError, match=r"ema_g/\S+ does not fit, and this training would leave it random; compare"):
        weights.start_from(tiny.random_state(larger), larger, tmp_path, frozen=("ema_g",))


def test_attributes_that_a_frozen_generator_has_not_learned_move_nothing(config, trees, tmp_path):
    """A later training of G starts with rows for them."""
    weights.write(tmp_path / "old", config, trees)
    config = dataclasses.replace(config, attributes=("none", "hat", "mask"))
    state, _ = weights.start_from(tiny.random_state(config), config, tmp_path / "old", frozen=("ema_g",))
    np.testing.assert_array_equal(state.basis, [trees["basis"][0], 0 * trees["basis"][0], trees["basis"][1]])
    weights.write(tmp_path / "new", config, trees_of(state))
    fresh = tiny.random_state(config)
    again, _ = weights.start_from(fresh, config, tmp_path / "new")
    np.testing.assert_array_equal(again.basis, [fresh.basis[0], fresh.basis[1], trees["basis"][1]])
