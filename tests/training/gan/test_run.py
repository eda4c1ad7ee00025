"""The training loop on a tiny dataset: resuming, what is written, and how it ends early."""

import dataclasses
import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest
from PIL import Image

from sdgan_jax import config as c
from sdgan_jax.data import stream
from sdgan_jax.networks import make_networks
from sdgan_jax.training import checkpoint, sharding, shards
from sdgan_jax.training import workdir as workdir_lib
from sdgan_jax.training.gan import recipe, run, weights
from sdgan_jax.training.gan.state import init_state
from tests.training import tiny

STEPS, STOP = 5, 3


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return tiny.config(
        data_dir=str(tmp_path_factory.mktemp("data")),
        total_steps=STEPS,
        log_every=2,
        sample_every=4,
        checkpoint_every=2,
    )


@pytest.fixture(scope="module")
def straight(config, tmp_path_factory):
    """A run from the first step to the last."""
    workdir = tmp_path_factory.mktemp("straight")
    return workdir, jax.device_get(recipe.train(make_networks(config), workdir, score=lambda state: -float(state.step)))


def test_files(config, straight):
    workdir, state = straight
    assert state.step == STEPS
    samples = sorted(path.name for path in (workdir / "samples").iterdir())
    assert samples == [f"{sheet}_{step:06d}.png" for sheet in ("x_hat", "x_rec") for step in (4, 5)]
    with Image.open(workdir / "samples" / samples[0]) as sheet:
        assert sheet.width >= 3 * 8 and sheet.height >= 8 * 8  # a column an attribute, eight rows
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [2, 4, 5]
    assert [record["kimg"] for record in records] == [0.032, 0.064, 0.08]
    six = {"l_adv_g", "l_adv_d", "l_att_g", "l_att_d", "l_id_g", "l_rec_f"}
    for record in records:
        assert six <= set(record) and np.isfinite(list(record.values())).all()
    assert len(list(workdir.glob("events.out.tfevents.*"))) == 1
    assert workdir_lib.load_config(workdir, c.Config) == config
    with checkpoint.Checkpoints(workdir, config) as checkpoints:
        assert (checkpoints.latest_step, checkpoints.best_step) == (5, 2)  # 2 has the highest score


def test_stopped_by_sigterm_and_resumed_it_ends_bitwise_equal(config, straight, tmp_path, capfd):
    def terminate(state):
        if state.step == STOP - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return 0.0

    received = []
    previous = signal.signal(signal.SIGTERM, lambda *_: received.append(True))  # were the loop's own missing
    try:
        with pytest.raises(KeyboardInterrupt, match=f"stopped and saved at step {STOP}"):
            recipe.train(make_networks(config), tmp_path, score=terminate)
        assert not received
        os.kill(os.getpid(), signal.SIGTERM)
        assert received  # the handler from before is back
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir()) == [2, STOP]

    with (tmp_path / "metrics.jsonl").open("a") as file:  # as kill -9 leaves it
        file.write(json.dumps({"step": STOP + 1}) + "\n" + '{"step": ')
    state = jax.device_get(recipe.train(make_networks(config), tmp_path))
    assert f"Resuming at step {STOP}" in capfd.readouterr().out
    for (name, a), (_, b) in zip(tiny.named_leaves(state), tiny.named_leaves(straight[1]), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == [2, STOP, 4, STEPS]


@pytest.mark.slow
def test_a_copy_of_the_state_is_shared_by_another_number_of_devices_after_a_resume(
    config, straight, tmp_path, monkeypatch
):
    monkeypatch.setattr(shards, "LEAST", 64)

    def train(name, fsdp, total_steps=STEPS):
        nets = make_networks(dataclasses.replace(config, fsdp=fsdp, total_steps=total_steps))
        return jax.device_get(recipe.train(nets, tmp_path / name, score=lambda state: -float(state.step)))

    shared = train("straight", 2)
    train("two", 2, STOP)
    shutil.copytree(tmp_path / "two", tmp_path / "four")
    again, other = train("two", 2), train("four", 4)
    leaves = zip(*map(tiny.named_leaves, (again, shared, other, straight[1])), strict=True)
    for (name, resumed), (_, uninterrupted), (_, split), (_, whole) in leaves:
        np.testing.assert_array_equal(resumed, uninterrupted, err_msg=name)
        for found in (uninterrupted, split):
            np.testing.assert_allclose(found, whole, rtol=1e-5, atol=1e-5 * np.abs(whole).max(), err_msg=name)
    _, read = weights.read(tmp_path / "four")
    for (name, a), (_, b) in zip(tiny.named_leaves(read["ema_g"]), tiny.named_leaves(other.ema_g), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
    for sheet in sorted((straight[0] / "samples").iterdir()):
        with Image.open(sheet) as ours, Image.open(tmp_path / "straight" / "samples" / sheet.name) as theirs:
            assert np.abs(np.asarray(ours, int) - np.asarray(theirs, int)).max() <= 1, sheet.name


def test_only_what_trains_with_d_needs_groups_of_images(tmp_path):
    """Four images on four devices."""
    with pytest.raises(ValueError, match="config.batch_size is 4, 1 on each device, .* set --config.batch_size=16, or"):
        recipe.check(tiny.config(batch_size=4), tmp_path)
    encoder = c.StagedConfig(stages=("encoder",))
    run.check(tiny.config(batch_size=4, recipe="staged", latent_space="w", staged=encoder), tmp_path)


def test_offsets_of_removals_are_refused_where_nothing_teaches_them(tmp_path):
    """Batches of the recipe `joint` only have attributes to put on."""
    removal = {"fusion": c.FusionConfig(removal=True), "latent_space": "w"}
    with pytest.raises(ValueError, match="config.fusion.removal is true, .* set --config.fusion.removal=false"):
        recipe.check(tiny.config(**removal), tmp_path)
    run.check(tiny.config(**removal, recipe="staged"), tmp_path)
    run.check(tiny.config(**removal, fusion_every=0), tmp_path)  # the stage `gan`


def test_a_finished_run_is_left_alone(config, straight):
    workdir, expected = straight
    before = (workdir / "metrics.jsonl").read_bytes()
    state = recipe.train(make_networks(config), workdir)
    np.testing.assert_array_equal(state.w_avg, expected.w_avg)
    assert (workdir / "metrics.jsonl").read_bytes() == before


def test_nan_stops_the_run_and_the_last_good_checkpoint_stays(config, tmp_path):
    wild = dataclasses.replace(config, adam_d=c.AdamConfig(learning_rate=1e30), log_every=1, checkpoint_every=1)
    wild = dataclasses.replace(wild, rollbacks=1)
    words = r"^l_\w+ is (nan|inf) at step 2 after 1 rollbacks; the checkpoint of step 1"
    with pytest.raises(FloatingPointError, match=words) as raised:
        recipe.train(make_networks(wild), tmp_path)
    assert len(json.loads((tmp_path / "rollbacks.json").read_text())) == 1
    assert "\n" not in str(raised.value) and "--config.adam_g.learning_rate" in str(raised.value)
    mesh, batches = sharding.make_mesh(16), stream.train_iterator(config)
    target = jax.eval_shape(lambda: init_state(make_networks(wild)))
    target = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding.replicated(mesh)), target
    )
    with checkpoint.Checkpoints(tmp_path, wild) as checkpoints:
        state = checkpoints.restore(target, batches)
    assert state.step == 1 and batches.position == 1
    assert all(np.isfinite(leaf).all() for _, leaf in tiny.named_leaves(state.params_g))
