"""The loop on a network of one number: sums of batches that can be done by hand."""

import dataclasses
import gzip
import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.config.networks import IdentityConfig
from sdgan_jax.pretrained import directories
from sdgan_jax.training import loop, sharding
from tests.ports import free_port


def config(total_steps=6):
    """A config of a network by itself; the loop reads only the fields given here."""
    every = {"log_every": 2, "sample_every": 3, "checkpoint_every": 2}
    return IdentityConfig(batch_size=4, total_steps=total_steps, keep_checkpoints=1, **every)


class State(flax.struct.PyTreeNode):
    step: jax.Array
    total: jax.Array


class Batches:
    """The batch at position p is four rows of p; the images 7 and 8 are found broken in the batches 2 and 3."""

    position, broken, max_skipped, dataset = 0, (), 100, "numbers"

    def __init__(self):
        self.skipped = set()

    def __next__(self):
        self.position += 1
        self.skipped |= {image for image in self.broken if self.position == image - 4}
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
        step=others.pop("step", step),
        batches=others.pop("batches", Batches()),
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


def test_another_length_is_said_where_the_learning_rate_falls_to_its_end(tmp_path, capsys):
    line = "note: this run was to end at step 4, and now at step 6; its learning rate falls to 0 at the last step"
    for falls in (True, False):
        folder = tmp_path / str(falls)
        for steps in (4, 4, 6, 6):
            loop.run(dataclasses.replace(make(config(steps)), falls=falls), folder)
        printed = capsys.readouterr().out
        assert (printed.count(line), printed.count("note: ")) == ((1, 1) if falls else (0, 0))


def test_a_training_that_is_over_says_so(tmp_path, capsys):
    loop.run(make(config()), tmp_path)
    capsys.readouterr()
    loop.run(make(config(total_steps=4)), tmp_path)
    assert "Trained to step 6 before, and config.total_steps is 4" in capsys.readouterr().out


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


def test_goodput_continues_over_restarts(tmp_path):
    """Checkpoints are at the steps 2, 4, 6; a second start in the middle keeps the time of the first one."""
    loop.run(make(config(total_steps=4)), tmp_path)
    first = json.loads((tmp_path / "goodput.json").read_text())
    loop.run(make(config(total_steps=6)), tmp_path)
    second = json.loads((tmp_path / "goodput.json").read_text())
    assert second["first_start"] == first["first_start"] and list(second["seconds"]) == ["0", "2", "4", "6"]
    assert second["seconds"]["4"] == first["seconds"]["4"] < second["seconds"]["6"]


def test_a_profile_shows_the_steps_by_their_numbers(tmp_path, capfd):
    """Of six steps the fourth and the fifth are traced, after three that may wait for compilation."""
    loop.run(make(dataclasses.replace(config(), profile_steps=2)), tmp_path)
    (trace,) = (tmp_path / "profile").glob("**/perfetto_trace.json.gz")
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    steps = {int(event["args"]["step_num"]) for event in events if event.get("name") == "train"}
    assert steps == {4, 5}
    assert list((tmp_path / "profile").glob("**/*.xplane.pb"))  # what XProf reads
    assert f"Profile:     steps 4 to 5; open {trace} at https://ui.perfetto.dev" in capfd.readouterr().out


def wild(when):
    """A step after n rollbacks: its loss is NaN at step 4 where `when(n)`, and it adds 10 n to the total."""

    def reseed(rollbacks):
        def step_then(state, batch):
            state, metrics = step(state, batch)
            nan = jnp.where((state.step == 4) & when(rollbacks), jnp.nan, 0.0)
            metrics["loss"] = jnp.stack((nan, jnp.ones(())))
            return state.replace(total=state.total + 10 * rollbacks), metrics

        return step_then

    return {"step": reseed(0), "reseed": reseed}


@dataclasses.dataclass
class Forgiving(IdentityConfig):
    rollbacks: int = 1


def forgiving(rollbacks, **fields):
    return Forgiving(**vars(config()) | {"rollbacks": rollbacks} | fields)


@pytest.fixture(autouse=True)
def kind_of_run(monkeypatch):
    monkeypatch.setitem(directories.RUNS, Forgiving, ("a run", "network"))


def test_a_loss_that_is_not_finite_ends_it(tmp_path):
    with pytest.raises(FloatingPointError, match="loss is nan at step 4; the checkpoint of step 2 is kept; do better"):
        loop.run(make(config(), step=wild(lambda n: True)["step"]), tmp_path)
    with pytest.raises(FloatingPointError, match="loss is nan at step 4; there is no checkpoint yet; do better"):
        loop.run(make(forgiving(0, checkpoint_every=6), **wild(lambda n: True)), tmp_path / "b")


def test_a_rollback_goes_on_from_the_last_checkpoint_with_another_seed(tmp_path, capsys):
    state = loop.run(make(forgiving(1), **wild(lambda n: n == 0)), tmp_path)
    assert float(state.total) == (0 + 1) + (2 + 3 + 4 + 5) + 4 * 10  # steps 3 to 6 are made again, with their batches
    assert "loss is nan at step 4; going back to step 2 with other random numbers, 1 of 1" in capsys.readouterr().out
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records] == [2, 4, 6]
    assert json.loads((tmp_path / "rollbacks.json").read_text()) == [{"reason": "loss is nan at step 4", "step": 2}]


def test_without_a_checkpoint_it_goes_back_to_the_start(tmp_path):
    state = loop.run(make(forgiving(1, checkpoint_every=6), **wild(lambda n: n == 0)), tmp_path)
    assert float(state.total) == sum(range(6)) + 6 * 10


def test_rollbacks_are_counted_over_restarts(tmp_path):
    with pytest.raises(FloatingPointError, match="loss is nan at step 4 after 1 rollbacks; the checkpoint of step 2"):
        loop.run(make(forgiving(1), **wild(lambda n: n < 2)), tmp_path)
    with pytest.raises(FloatingPointError, match="after 1 rollbacks"):  # the same command makes no second one
        loop.run(make(forgiving(1), **wild(lambda n: n < 2)), tmp_path)
    state = loop.run(make(forgiving(2), **wild(lambda n: n < 2)), tmp_path)
    assert float(state.total) == 15 + 4 * 20
    loop.run(make(forgiving(2, total_steps=7), **wild(lambda n: n < 2)), tmp_path)
    assert float(state.total) == 15 + 4 * 20


def test_a_state_that_is_not_finite_is_not_saved_though_its_losses_are(tmp_path):
    def step_to_nan(state, batch):
        state, metrics = step(state, batch)
        return state.replace(total=jnp.where(state.step == 4, jnp.nan, state.total)), metrics

    drawn = []
    what = make(config(), step=step_to_nan, score=lambda state: float(state.total))
    what = dataclasses.replace(what, draw_sheets=lambda state: drawn.append(int(state.step)) or {})
    with pytest.raises(FloatingPointError, match="total is not finite after step 4; the checkpoint of step 2 is kept"):
        loop.run(what, tmp_path)
    assert drawn == [3]
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"2"}


@pytest.mark.parametrize("where", ["loss", "state"])
def test_what_is_not_finite_is_not_drawn_and_rolls_back(tmp_path, where):
    """The step of the sheet, 3, is no step of a record or a checkpoint."""

    def reseed(n):
        def wild(state, batch):
            state, metrics = step(state, batch)
            bad = jnp.where((state.step == 3) & (n == 0), jnp.nan, 1.0)
            if where == "loss":
                return state, {name: value * bad for name, value in metrics.items()}
            return state.replace(total=state.total * bad), metrics

        return wild

    drawn = []
    what = make(forgiving(1), step=reseed(0), reseed=reseed)
    what = dataclasses.replace(what, draw_sheets=lambda state: drawn.append(float(state.total)) or {})
    assert float(loop.run(what, tmp_path).total) == 15
    assert drawn == [0 + 1 + 2, 15]
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(r["step"], r["total"]) for r in records] == [(2, 0.5), (4, 4.5), (6, 12.5)]


def test_a_score_that_fails_loses_no_step(tmp_path):
    def score(state):
        if int(state.step) == 4:
            raise OSError("the disk of the cache is full")
        return 1.0

    with pytest.raises(OSError, match="the disk of the cache is full"):
        loop.run(make(config(), score=score), tmp_path)
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"2", "4"}


def test_a_stop_saves_before_anything_else(tmp_path):
    """The signal comes in step 3, whose sheet is left out; the last one, of step 6, is drawn after the save."""
    saved, drawn = [], []

    def watched(at):
        class Stopping(Batches):
            def __next__(self):
                if self.position == at - 1:
                    os.kill(os.getpid(), signal.SIGTERM)
                return super().__next__()

        what = make(config(), batches=Stopping(), score=lambda state: saved.append(int(state.step)) or 0.0)
        folder = tmp_path / "checkpoints"

        def draw(state):
            drawn.append((int(state.step), sorted(path.name for path in folder.iterdir())[-1][:1]))
            return {}

        return dataclasses.replace(what, draw_sheets=draw)

    with pytest.raises(KeyboardInterrupt, match="stopped and saved at step 3"):
        loop.run(watched(3), tmp_path)
    assert (saved, drawn) == ([2], [])
    with pytest.raises(KeyboardInterrupt, match="stopped and saved at step 6"):
        loop.run(watched(6), tmp_path)
    assert saved == [2, 4] and drawn == [(6, "6")]


_STAGES = """
    import os, pathlib, signal, sys, time
    import jax

    jax.distributed.initialize(sys.argv[1], 1, 0)
    from sdgan_jax.training import loop
    from tests.training import test_loop

    folder = pathlib.Path(sys.argv[2])
    loop.run(test_loop.make(test_loop.config()), folder / "first")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(3)  # JAX looks for the signal every second
    try:
        loop.run(test_loop.make(test_loop.config()), folder / "second")
    except KeyboardInterrupt as stopped:
        print(stopped)
"""


@pytest.mark.slow
def test_sigterm_between_two_runs_of_a_joined_process_stops_the_second(tmp_path):
    address = f"localhost:{free_port()}"
    root = pathlib.Path(__file__).parents[2]
    program = [sys.executable, "-c", textwrap.dedent(_STAGES), address, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(root)}
    result = subprocess.run(program, env=environment, text=True, capture_output=True, timeout=120)
    assert "stopped and saved at step 1; the same command resumes there" in result.stdout, result.stderr
    assert [path.name for path in (tmp_path / "second" / "checkpoints").iterdir()] == ["1"]


def test_too_many_broken_images_save_and_end_it_and_a_restart(tmp_path):
    batches = Batches()
    batches.broken, batches.max_skipped = (7, 8), 1
    for _ in range(2):  # the same command ends at once
        with pytest.raises(ValueError, match="2 images cannot be read, and config.max_skipped is 1: .*max_skipped$"):
            loop.run(make(config(), batches=batches), tmp_path)
        assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [2, 4]
        batches = Batches()
        batches.max_skipped = 1
    batches.max_skipped = 2
    assert float(loop.run(make(config(), batches=batches), tmp_path).total) == 15
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {r["step"]: r.get("skipped") for r in records} == {2: None, 4: 2.0, 6: 2.0}
