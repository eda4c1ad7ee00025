"""The loop on a network of one number: sums of batches that can be done by hand."""

import dataclasses
import json

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.config.networks import IdentityConfig
from sdgan_jax.training import loop, sharding


def config(total_steps=6):
    """A config of a network by itself; the loop reads only the fields given here."""
    every = {"log_every": 2, "sample_every": 3, "checkpoint_every": 2}
    return IdentityConfig(batch_size=4, total_steps=total_steps, keep_checkpoints=1, **every)


class State(flax.struct.PyTreeNode):
    step: jax.Array
    total: jax.Array


class Batches:
    """The batch at position p is four rows of p."""

    position = 0

    def __next__(self):
        self.position += 1
        return {"x": np.full(4, self.position - 1, np.float32)}

    def close(self):
        pass


def step(state, batch):
    total = state.total + jax.lax.psum(batch["x"].sum(), sharding.AXIS) / 4
    even = jnp.float32(state.step % 2 == 0)  # 1 on the steps that measure it
    metrics = {"total": jnp.stack((total, jnp.ones(()))), "even": jnp.stack((total * even, even))}
    return State(state.step + 1, total), metrics


def make(settings, **others):
    return loop.Run(
        config=settings,
        init=lambda: State(jnp.zeros((), jnp.int32), jnp.zeros(())),
        step=step,
        batches=Batches(),
        put=sharding.put_rows,
        draw_sheets=lambda state: {"grey": np.full((2, 2, 3), int(state.total), np.uint8)},
        headline=("total",),
        remedy="do better",
        **others,
    )


def test_steps_records_and_sheets(tmp_path):
    state = loop.run(make(config()), tmp_path)
    assert int(state.step) == 6 and float(state.total) == 0 + 1 + 2 + 3 + 4 + 5
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(r["step"], r["total"], r["even"]) for r in records] == [(2, 0.5, 0.0), (4, 4.5, 3.0), (6, 12.5, 10.0)]
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["grey_000003.png", "grey_000006.png"]


def test_a_resumed_training_sees_the_batches_that_follow(tmp_path):
    loop.run(make(config(total_steps=4)), tmp_path)
    state = loop.run(make(config(total_steps=6)), tmp_path)
    assert int(state.step) == 6 and float(state.total) == 15


def test_the_best_score_is_kept_beside_the_newest(tmp_path):
    scores = {2: 1.0, 4: 3.0, 6: 2.0}
    loop.run(make(config(), score=lambda state: scores[int(state.step)]), tmp_path)
    assert {path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()} == {"4", "6"}


def test_numbers_of_a_measure_are_written_and_rank_the_checkpoints(tmp_path):
    distances = {2: 9.0, 4: 1.0, 6: 5.0}
    measure = loop.Measure(lambda state: {"distance": distances[int(state.step)]}, lambda values: -values["distance"])
    loop.run(make(config(), score=measure), tmp_path)
    assert {path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()} == {"4", "6"}
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {r["step"]: r["distance"] for r in records if "distance" in r} == distances


def test_what_is_watched_is_written_with_the_sheets(tmp_path):
    loop.run(make(config(), watch=lambda state: {"half": float(state.total) / 2}), tmp_path)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {r["step"]: r["half"] for r in records if "half" in r} == {3: 1.5, 6: 7.5}


def test_a_loss_that_is_not_finite_ends_it(tmp_path):
    wild = dataclasses.replace(
        make(config()),
        step=lambda state, batch: (
            State(state.step + 1, state.total),
            {"loss": jnp.stack((jnp.where(state.step == 3, jnp.nan, 0.0), jnp.ones(())))},
        ),
    )
    with pytest.raises(FloatingPointError, match="loss is nan at step 4; the checkpoint of step 2 is kept; do better"):
        loop.run(wild, tmp_path)
