"""The training loop: batches in, checkpoints, pictures and logs out. It reads top to bottom in `run`."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from sdgan_jax import interrupts
from sdgan_jax.training import checkpoint, sharding
from sdgan_jax.training import workdir as workdir_lib
from sdgan_jax.training.journal import Journal

IN_FLIGHT = 3  # steps that may wait on the device before the host waits for the oldest

State = Any  # a struct dataclass of arrays with the field `step`
Metrics = dict[str, jax.Array]  # name -> f32[2]: the value, and 1 where this step measured it or 0
Batch = dict[str, Any]


class Batches(Protocol):
    """Endless batches with a place to go on from; `sdgan_jax.data.stream.BatchIterator` is one."""

    position: int

    def __next__(self) -> Batch:
        """The batch at `position`."""

    def close(self) -> None:
        """Ends what runs in the background."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What a loop is about.

    Attributes:
        config: with the fields `batch_size`, `total_steps`, `log_every`, `sample_every`, `checkpoint_every` and
            `keep_checkpoints`.
        init: the state at step 0; compiled.
        step: `(state, batch) -> (state, metrics)` for one device of the mesh; compiled and mapped.
        batches: this process's rows.
        put: a batch onto the devices of a mesh.
        draw: a state to its sheets, u8[H,W,3] by name.
        headline: the metrics to show.
        remedy: what to do about a loss that is not finite.
        start: what to make of a fresh state, and lines to say about it.
        score: judges a state at every checkpoint, higher is better; decides which one is kept as the best.
    """

    config: Any
    init: Callable[[], State]
    step: Callable[[State, Batch], tuple[State, Metrics]]
    batches: Batches
    put: Callable[[Batch, jax.sharding.Mesh], Batch]
    draw: Callable[[State], dict[str, np.ndarray]]
    headline: Sequence[str]
    remedy: str
    start: Callable[[State], tuple[State, str]] | None = None
    score: Callable[[State], float] | None = None


def run(what: Run, workdir: epath.PathLike) -> State:
    """Trains, or resumes where the workdir's newest checkpoint left off.

    Writes into the workdir: `config.json`, `checkpoints/`, `samples/<sheet>_*.png`, `metrics.jsonl`, and TensorBoard
    event files.

    Args:
        what: is trained.
        workdir: local or remote directory; made when it is not there.

    Returns:
        The state after `config.total_steps`.

    Raises:
        FloatingPointError: a loss is NaN or infinite; the last good checkpoint stays.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, once the state is saved.
        RuntimeError: the disk is full; the earlier checkpoints stay.
        ValueError: the workdir or the devices do not fit the config, or another run uses the workdir.
    """
    workdir, config, batches = epath.Path(workdir), what.config, what.batches
    mesh = sharding.make_mesh(config.batch_size)
    step = sharding.map_step(what.step, mesh)
    with (
        workdir_lib.Lock(workdir),
        checkpoint.Checkpoints(workdir, config) as checkpoints,
        Journal(workdir, config, what.headline) as journal,
        _stop_asked() as stop,
    ):
        state = _first_state(what, mesh, checkpoints, journal)
        done = int(state.step)
        journal.start(done)
        pending: list[Metrics] = []
        while done < config.total_steps:
            state, metrics = step(state, what.put(next(batches), mesh))
            done += 1
            pending.append(metrics)
            if len(pending) >= IN_FLIGHT:
                jax.block_until_ready(pending[-IN_FLIGHT])
            journal.advance()

            stopped = stop() or checkpoints.reached_preemption(done)
            final = done == config.total_steps
            save = stopped or final or done % config.checkpoint_every == 0
            if save or done % config.log_every == 0:  # never save what was not checked
                journal.write(done, _means(pending, done, checkpoints, what.remedy))
                pending = []
            if final or done % config.sample_every == 0:
                journal.write_sheets(done, what.draw(state))
            if save:
                # Told to stop, there may be seconds left: save first of all, unscored.
                checkpoints.save(done, state, batches, None if stopped else _score(what, state))
            if stopped:
                checkpoints.wait()
                raise KeyboardInterrupt(f"stopped and saved at step {done}; the same command resumes there")
        batches.close()
    return state


def _first_state(what: Run, mesh: jax.sharding.Mesh, checkpoints: checkpoint.Checkpoints, journal: Journal) -> State:
    """The newest checkpoint, or a fresh state."""
    state = jax.jit(what.init, out_shardings=sharding.replicated(mesh))()
    if checkpoints.latest_step is not None:
        state = checkpoints.restore(state, what.batches, say=journal.say)
        journal.say(f"Resuming at step {int(state.step)} of {checkpoints.directory.parent}")
    elif what.start:
        state, said = what.start(state)
        state = jax.device_put(state, sharding.replicated(mesh))
        journal.say(said)
    return state


def _score(what: Run, state: State) -> float | None:
    """The score of a state. The first process judges it, on one device, and tells the others."""
    if what.score is None:
        return None
    score = 0.0
    if jax.process_index() == 0:
        score = what.score(jax.tree.map(lambda array: array.addressable_data(0), state))
    if jax.process_count() > 1:
        score = float(multihost_utils.broadcast_one_to_all(np.float32(score)))
    return score


def _means(pending: list[Metrics], done: int, checkpoints: checkpoint.Checkpoints, remedy: str) -> dict[str, float]:
    """Fetches the metrics of the last steps, checks every one, and averages over the steps that measured them."""
    fetched = jax.device_get(pending)
    for index, metrics in enumerate(fetched):
        for name, (value, _) in metrics.items():
            if not math.isfinite(value):
                step, latest = done - len(fetched) + index + 1, checkpoints.latest_step
                kept = f"the checkpoint of step {latest} is kept" if latest else "there is no checkpoint yet"
                raise FloatingPointError(f"{name} is {value} at step {step}; {kept}; {remedy}")
    table = {name: np.stack([metrics[name] for metrics in fetched]) for name in fetched[0]}  # [steps,2]
    return {name: float(v[:, 0].sum() / v[:, 1].sum()) for name, v in table.items() if v[:, 1].sum()}


def _stop_asked() -> contextlib.AbstractContextManager[Callable[[], bool]]:
    """Turns SIGTERM and the first Ctrl-C into a question that the loop asks after each step."""
    return _ctrl_c_as_sigterm() if jax.distributed.is_initialized() else interrupts.stop_asked()


@contextlib.contextmanager
def _ctrl_c_as_sigterm() -> Iterator[Callable[[], bool]]:
    """Hands Ctrl-C on as SIGTERM, for which JAX makes joined processes agree on the step to stop at.

    The loop asks `Checkpoints.reached_preemption` for it. A second Ctrl-C ends the process at once.
    """

    def hand_on(number: int, frame: object) -> None:
        del frame
        os.kill(os.getpid(), signal.SIGTERM)
        signal.signal(number, former)

    former = signal.signal(signal.SIGINT, hand_on)
    try:
        yield lambda: False
    finally:
        signal.signal(signal.SIGINT, former)
