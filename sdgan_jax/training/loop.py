"""The training loop of all networks: `run` takes batches and writes checkpoints, sheets and logs."""

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
from sdgan_jax.data import broken
from sdgan_jax.training import checkpoint, rollbacks, sharding
from sdgan_jax.training import workdir as workdir_lib
from sdgan_jax.training.journal import Journal
from sdgan_jax.training.positions import Positioned

IN_FLIGHT = 3  # steps that may wait on the device before the host waits for the oldest

State = Any  # a struct dataclass of arrays with the field `step`
Metrics = dict[str, jax.Array]  # name -> f32[2]: the value, and 1 where this step measured it or 0
Batch = dict[str, Any]


class Batches(Positioned, Protocol):
    """Endless batches with a position to resume from, such as `data.batch_iterator.BatchIterator`."""

    max_skipped: int  # number of images that cannot be read at which the training goes on

    def __next__(self) -> Batch:
        """Returns the batch at `position` and moves on by one."""

    def close(self) -> None:
        """Stops background work."""


@dataclasses.dataclass(frozen=True)
class Measure:
    """A score that all processes compute together, with numbers for the journal.

    Attributes:
        compute: from a state, on one device of the process, to numbers by name.
        rank: from these numbers to the score, higher is better.
    """

    compute: Callable[[State], dict[str, float]]
    rank: Callable[[dict[str, float]], float]


@dataclasses.dataclass(frozen=True)
class Run:
    """Everything that `run` needs to train a network.

    Attributes:
        config: has the fields `batch_size`, `total_steps`, `log_every`, `sample_every`, `checkpoint_every`,
            `keep_checkpoints`, `profile_steps` and `wandb`.
        init: returns the state at step 0; `run` compiles it.
        step: `(state, batch) -> (state, metrics)` for one device of the mesh; `run` compiles and maps it.
        batches: the rows of this process.
        put: puts a batch on the devices of a mesh.
        draw_sheets: from a state to sheets u8[H,W,3] by name.
        headline: names of the metrics to print.
        remedy: advice to the user when a loss is not finite.
        reseed: from the number of rollbacks so far to a step that draws other random numbers; None where a step draws
            none, and is therefore never repeated. With it the config has the field `rollbacks`.
        start: changes a fresh state, such as by weights of another model, and returns it with lines to print.
        score: from a state to a number, higher is better; computed at every checkpoint, the best of which is kept.
            The first process computes it, except for a `Measure`.
        watch: from a state to numbers by name, for the journal; computed whenever sheets are drawn.
        fsdp: number of devices that share one copy of the state, see `shards`.
        falls: the learning rate falls to 0 at `config.total_steps`; a note says when a resume changes this number.
        seen: from a state to the part of it that `draw_sheets`, `score` and `watch` need, which every device then gets
            the whole of.
    """

    config: Any
    init: Callable[[], State]
    step: Callable[[State, Batch], tuple[State, Metrics]]
    batches: Batches
    put: Callable[[Batch, jax.sharding.Mesh], Batch]
    draw_sheets: Callable[[State], dict[str, np.ndarray]]
    headline: Sequence[str]
    remedy: str
    reseed: Callable[[int], Callable[[State, Batch], tuple[State, Metrics]]] | None = None
    start: Callable[[State], tuple[State, str]] | None = None
    score: Callable[[State], float] | Measure | None = None
    watch: Callable[[State], dict[str, float]] | None = None
    fsdp: int = 1
    falls: bool = False
    seen: Callable[[State], State] = lambda state: state


def run(what: Run, workdir: epath.PathLike) -> State:
    """Trains a network, or resumes from the newest checkpoint in the workdir.

    Where a loss or the state is not finite, it returns to the last checkpoint and goes on with other random numbers,
    `config.rollbacks` times in all (see `rollbacks`).

    Args:
        what: the training.
        workdir: local or remote directory; made when it is not there. It receives `config.json`, `checkpoints/`,
            `samples/<sheet>_*.png`, `metrics.jsonl`, `goodput.json`, event files, and `profile/` where asked for.

    Returns:
        The state after `config.total_steps`.

    Raises:
        FloatingPointError: a loss or the state is NaN or infinite; the last checkpoint stays.
        KeyboardInterrupt: Ctrl-C or SIGTERM came, and the state is saved.
        RuntimeError, OSError: the disk is full, or the workdir is gone; the earlier checkpoints stay.
        ValueError: the workdir or the devices do not fit the config, or another process trains in the workdir, or more
            images cannot be read than `batches.max_skipped`.
    """
    workdir, config = epath.Path(workdir), what.config
    mesh = sharding.make_mesh(config.batch_size, fsdp=what.fsdp)
    most = config.rollbacks if what.reseed else 0
    # Before `Checkpoints` writes the new config.
    note = workdir_lib.describe_new_length(workdir, config) if what.falls else ""
    with (
        workdir_lib.Lock(workdir) as lock,
        checkpoint.Checkpoints(workdir, config) as checkpoints,
        Journal(workdir, config, what.headline) as journal,
        _stop_asked() as asked,
    ):

        def stop() -> bool:
            lock.check()
            return asked()

        if note:
            journal.say(note)
        count = rollbacks.read(workdir)
        while True:
            try:
                with _ending_at_once(checkpoints) as begun:
                    return _train(what, mesh, checkpoints, journal, stop, begun, count)
            except FloatingPointError as error:
                latest = checkpoints.latest_step
                kept = "there is no checkpoint yet" if latest is None else f"the checkpoint of step {latest} is kept"
                if count >= most:
                    after = f" after {count} rollbacks" if count else ""
                    raise FloatingPointError(f"{error}{after}; {kept}; {what.remedy}, in another --workdir") from None
                count = rollbacks.add(workdir, str(error), latest or 0)
                journal.say(f"{error}; going back to step {latest or 0} with other random numbers, {count} of {most}")
            if stop():
                raise KeyboardInterrupt(f"stopped; {kept}, and the same command resumes there")


def _train(
    what: Run,
    mesh: jax.sharding.Mesh,
    checkpoints: checkpoint.Checkpoints,
    journal: Journal,
    stop: Callable[[], bool],
    begun: Callable[[], None],
    rolled_back: int,
) -> State:
    """Trains from the newest checkpoint to the end, and calls `begun` after the first step; see `run`."""
    config, batches = what.config, what.batches
    step = sharding.map_step(what.reseed(rolled_back) if what.reseed and rolled_back else what.step, mesh)
    state = _first_state(what, mesh, checkpoints, journal)
    done = int(state.step)
    journal.start(done)
    if done >= config.total_steps:
        journal.say(f"Trained to step {done} before, and config.total_steps is {config.total_steps}")
    pending: list[Metrics] = []
    end = _excess(batches)
    while done < config.total_steps and end is None:
        done += 1
        with journal.step(done):
            batch = what.put(next(batches), mesh)
            journal.receive()
            state, metrics = step(state, batch)
        begun()
        pending.append(metrics)
        if len(pending) >= IN_FLIGHT:
            jax.block_until_ready(pending[-IN_FLIGHT])
        journal.advance(state)

        if stop() or checkpoints.reached_preemption():
            end = KeyboardInterrupt(f"stopped and saved at step {done}; the same command resumes there")
        final = done == config.total_steps
        save = end is not None or final or done % config.checkpoint_every == 0
        show = final or (end is None and done % config.sample_every == 0)  # after a signal there may be seconds left
        record = save or done % config.log_every == 0
        sums = None
        if record or show:
            means = _means(pending, done)
            sums = checkpoints.check_finite(done, state) if save or show else None
        if record:
            pending = []
            skipped = _share_skipped(batches)
            journal.write(done, means | skipped)
            end = end or _excess(batches)
        if save or end is not None:
            _save(what, mesh, checkpoints, journal, state, sums, scored=end is None)
        if show:
            _show(what, mesh, journal, state)
    batches.close()
    if end is not None:
        checkpoints.wait()
        raise end
    return state


def _excess(batches: Batches) -> Exception | None:
    """Returns the error that ends a training when too many images cannot be read."""
    count = len(batches.skipped)
    if count <= batches.max_skipped:
        return None
    return ValueError(broken.describe_excess(count, batches.max_skipped))


def _share_skipped(batches: Batches) -> dict[str, float]:
    """Tells all processes which images any of them has left out; returns their number for the journal, {} for none."""
    if jax.process_count() > 1:
        most = multihost_utils.process_allgather(np.int32(len(batches.skipped))).max()
        if most:
            row = np.full(most, -1, np.int32)
            row[: len(batches.skipped)] = sorted(batches.skipped)
            batches.skipped = set(multihost_utils.process_allgather(row).ravel().tolist()) - {-1}
    return {"skipped": len(batches.skipped)} if batches.skipped else {}


def _first_state(what: Run, mesh: jax.sharding.Mesh, checkpoints: checkpoint.Checkpoints, journal: Journal) -> State:
    """Returns the state of the newest checkpoint, or a fresh state, and moves the batches to its position."""
    state = sharding.make_state(what.init, mesh)
    if checkpoints.latest_step is not None:
        state = checkpoints.restore(state, what.batches, say=journal.say)
        journal.say(f"Resuming at step {int(state.step)} of {checkpoints.directory.parent}")
        return state
    what.batches.position = 0
    if what.start:
        state, said = what.start(state)
        state = jax.device_put(state, sharding.placed(state, mesh))
        journal.say(said)
    return state


def _see(what: Run, state: State, mesh: jax.sharding.Mesh) -> State:
    """Returns what sheets and scores need of a state, whole on every device."""
    return jax.device_put(what.seen(state), sharding.replicated(mesh))


def _score(what: Run, state: State, mesh: jax.sharding.Mesh, journal: Journal) -> float | None:
    """Returns the score of a state, the same in every process; writes the numbers of a `Measure` into the journal."""
    if what.score is None:
        return None
    here = jax.tree.map(lambda array: array.addressable_data(0), _see(what, state, mesh))
    if isinstance(what.score, Measure):
        values = what.score.compute(here)
        journal.write_values(int(here.step), values)
        return what.score.rank(values)
    score = what.score(here) if jax.process_index() == 0 else 0.0
    if jax.process_count() > 1:
        score = float(multihost_utils.broadcast_one_to_all(np.float32(score)))
    return score


def _save(
    what: Run,
    mesh: jax.sharding.Mesh,
    checkpoints: checkpoint.Checkpoints,
    journal: Journal,
    state: State,
    sums: dict[str, int] | None,
    scored: bool,
) -> None:
    """Saves a state with its score; where the score cannot be computed, without it."""
    step = int(state.step)
    try:
        score = _score(what, state, mesh, journal) if scored else None
    except Exception:
        if jax.process_count() == 1:  # others might wait for the score for ever
            checkpoints.save(step, state, what.batches, None, sums)
        raise
    checkpoints.save(step, state, what.batches, score, sums)
    journal.note_checkpoint(step)


def _show(what: Run, mesh: jax.sharding.Mesh, journal: Journal, state: State) -> None:
    """Writes the sheets of a state, and the numbers that are watched."""
    step, seen = int(state.step), _see(what, state, mesh)
    journal.write_sheets(step, what.draw_sheets(seen))
    if what.watch is not None:
        journal.write_values(step, what.watch(seen))


def _means(pending: list[Metrics], done: int) -> dict[str, float]:
    """Fetches the metrics of the last steps, checks that all are finite, and averages over the steps that have them."""
    fetched = jax.device_get(pending)
    for index, metrics in enumerate(fetched):
        for name, (value, _) in metrics.items():
            if not math.isfinite(value):
                raise FloatingPointError(f"{name} is {value} at step {done - len(fetched) + index + 1}")
    table = {name: np.stack([metrics[name] for metrics in fetched]) for name in fetched[0]}  # [steps,2]
    return {name: float(np.sum(v[:, 0])) / count for name, v in table.items() if (count := float(np.sum(v[:, 1])))}


def _ending_at_once(checkpoints: checkpoint.Checkpoints) -> contextlib.AbstractContextManager[Callable[[], None]]:
    """Lets a signal end the process before the first step, which compiles for minutes; there is nothing to save yet."""
    if jax.distributed.is_initialized():  # the processes end together
        return contextlib.nullcontext(lambda: None)
    step = checkpoints.latest_step or 0
    return interrupts.ending_at_once(f"stopped before the first step; the same command starts from step {step}")


def _stop_asked() -> contextlib.AbstractContextManager[Callable[[], bool]]:
    """Replaces the action of SIGTERM and the first Ctrl-C by a flag that the loop reads after each step."""
    return _ctrl_c_as_sigterm() if jax.distributed.is_initialized() else interrupts.stop_asked()


@contextlib.contextmanager
def _ctrl_c_as_sigterm() -> Iterator[Callable[[], bool]]:
    """Converts Ctrl-C to SIGTERM, for which JAX makes joined processes agree on the step to stop at.

    The loop reads that step by `Checkpoints.reached_preemption`. A second Ctrl-C ends the process at once.
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
