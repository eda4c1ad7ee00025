"""A training that is killed again and again ends bitwise as one that is left alone.

python -m tests.end_to_end.test_kills ROUNDS FOLDER      (the same by hand, with a line for each kill)
"""

import dataclasses
import json
import os
import pathlib
import re
import signal
import sys
import time

import numpy as np
import pytest

from tests.end_to_end import forked

PRESET = pathlib.Path(__file__).parent / "full_preset.py"
LIMIT = 900  # seconds for a start and a save
KINDS = ("step", "save", "start")  # the first one lets the programs be compiled


@dataclasses.dataclass
class Kill:
    """A round: what the process was doing, the step it started from and the last one it logged, and what it left."""

    kind: str
    seconds: float
    resumed: int
    logged: int
    left: str

    def __str__(self):
        return (
            f"killed in {self.kind:5} after {self.seconds:5.1f} s, resumed at {self.resumed}, logged {self.logged}, "
            f"left {self.left}"
        )


def steps_logged(workdir):
    """The steps of the whole lines of metrics.jsonl."""
    file = workdir / "metrics.jsonl"
    return [int(step) for step in re.findall(r'{"step": (\d+),.*}\n', file.read_text())] if file.exists() else []


def wait_for(process, condition):
    """Waits until the condition holds, in steps of a millisecond."""
    end = time.monotonic() + LIMIT
    while not condition():
        os.kill(process, 0)
        assert time.monotonic() < end
        time.sleep(0.001)


def unfinished(workdir):
    """Names of the checkpoints that are being written, or that a kill left so."""
    folder = workdir / "checkpoints"
    return [name for name in os.listdir(folder) if not name.isdecimal()] if folder.is_dir() else []


def kill_once(trainings, workdir, kind, rng):
    """Starts the training and kills it at a random moment of a kind."""
    began, before, old = time.monotonic(), len(steps_logged(workdir)), set(unfinished(workdir))
    process = trainings.start(PRESET, workdir)
    if kind == "start":  # restoring, compiling
        time.sleep(rng.uniform(0, 10))
    else:
        wait_for(process, lambda: len(steps_logged(workdir)) > before)
        time.sleep(rng.uniform(0, 2))
    if kind == "save":
        old &= set(unfinished(workdir))
        wait_for(process, lambda: set(unfinished(workdir)) - old)
        time.sleep(rng.uniform(0, 0.03))
    os.kill(process, signal.SIGKILL)
    assert trainings.end() == -signal.SIGKILL, trainings.output.read_text()
    resumed = re.search(r"Resuming at step (\d+)", trainings.output.read_text())
    return Kill(
        kind,
        time.monotonic() - began,
        int(resumed[1]) if resumed else 0,
        max(steps_logged(workdir), default=0),
        ", ".join(unfinished(workdir)) or "nothing unfinished",
    )


def contents(workdir, step):
    """The JSON of a checkpoint, and all its arrays."""
    import jax

    from sdgan_jax.config import Config
    from sdgan_jax.networks import make_networks
    from sdgan_jax.training import checkpoint
    from sdgan_jax.training import workdir as workdir_lib
    from sdgan_jax.training.gan.state import init_state
    from tests.training import tiny  # noqa: F401 (registers the data set)

    nets = make_networks(workdir_lib.load_config(workdir, Config))
    shapes = jax.eval_shape(lambda: init_state(nets))
    fields = {field.name: getattr(shapes, field.name) for field in dataclasses.fields(shapes)}
    data = json.loads((workdir / "checkpoints" / str(step) / "data" / "metadata").read_text())
    return data, checkpoint.open_state(workdir, fields, step=step)


def check(folder, rounds, seed=0, say=print):
    """Kills a training `rounds` times, ends it, and compares it with one that was left alone."""
    import jax

    rng, killed, alone = np.random.default_rng(seed), folder / "killed", folder / "alone"
    with forked.Trainings(folder) as trainings:
        for number in range(rounds):
            say(f"{number + 1:2} {kill_once(trainings, killed, KINDS[number % len(KINDS)], rng)}")
        steps = max(steps_logged(killed)) + 7
        for workdir in (killed, alone):
            code, printed = trainings.train(PRESET, workdir, f"--config.total_steps={steps}")
            assert code == 0, printed
    assert not unfinished(killed)
    for (data, state), (data_alone, state_alone) in [(contents(killed, steps), contents(alone, steps))]:
        assert data == data_alone and data["position"] == steps
        for (path, ours), theirs in zip(
            jax.tree_util.tree_flatten_with_path(state)[0], jax.tree.leaves(state_alone), strict=True
        ):
            assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes(), path
        assert 0 < state["augment_p"] and state["path_mean"] > 0
    records, records_alone = (
        [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
        for workdir in (killed, alone)
    )
    for record in records + records_alone:
        for name in ("images_per_second", "input_wait", "goodput"):
            del record[name]
    assert records == records_alone
    say(f"{len(jax.tree.leaves(state))} arrays after {steps} steps, the position and {len(records)} records are equal")


@pytest.mark.slow
def test_a_training_that_is_killed_ends_bitwise_as_one_that_is_left_alone(tmp_path):
    check(tmp_path, rounds=4)


if __name__ == "__main__":
    place = pathlib.Path(sys.argv[2])
    place.mkdir(parents=True)
    check(place, int(sys.argv[1]))
