"""Checkpoints in `checkpoints/` of a workdir: the state, its checksums, the position in the data, and a score."""

from __future__ import annotations

import contextlib
import itertools
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers

from sdgan_jax import outputs
from sdgan_jax.pretrained import directories
from sdgan_jax.pretrained.archive import Tree
from sdgan_jax.training import damage, positions
from sdgan_jax.training import workdir as workdir_lib
from sdgan_jax.training.checksums import check_arrays, examine
from sdgan_jax.training.positions import Positioned
from tfds_megn import data_dir, json_text

_CHECKSUMS = "digests"  # key of the checksums in the JSON beside the arrays
# JAX ends the processes at the highest number that it has seen, plus 1. The steps of a run do not only grow: a second
# run of the process, such as the next stage, counts from 1 again, and a rollback goes back.
_STEPS_OF_PROCESS = itertools.count(1)


class Checkpoints:
    """Writes checkpoints in the background, and keeps the newest `config.keep_checkpoints` and the best.

    A save that is cut off (kill -9, power) leaves the earlier ones whole; the next run clears its remains.
    """

    def __init__(self, workdir: epath.PathLike, config: Any):
        """Opens a workdir for training and writes `config.json`.

        Args:
            workdir: local or remote (`gs://...`) directory; made when it is not there.
            config: config of any kind. An earlier run in the workdir must have had the same, `RESUMABLE` aside.

        Raises:
            ValueError: the workdir belongs to a run with another config; the fields are named.
        """
        workdir_lib.save_config(workdir, config)
        self._workdir, self._keep = epath.Path(workdir), config.keep_checkpoints
        self._manager = self._open()

    def _open(self) -> ocp.CheckpointManager:
        return _open(
            self._workdir,
            create=True,
            cleanup_tmp_directories=True,
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(
                [
                    checkpoint_managers.LatestN(n=self._keep),
                    checkpoint_managers.BestN(get_metric_fn=_score, n=1),
                ]
            ),
        )

    @property
    def directory(self) -> epath.Path:
        """The directory that contains a directory for each saved step."""
        return self._manager.directory

    @property
    def latest_step(self) -> int | None:
        """Step of the newest checkpoint, None where there is none."""
        return self._manager.latest_step()

    @property
    def best_step(self) -> int | None:
        """Step of the checkpoint with the highest score, None where none has a score."""
        return _best_step(self._manager)

    def save(
        self,
        step: int,
        state: Tree,
        batches: Positioned,
        score: float | None = None,
        sums: dict[str, int] | None = None,
    ) -> None:
        """Starts a save and returns as soon as the arrays may be changed or donated.

        Args:
            step: number of steps done. A step that is already saved is left as it is.
            state: tree of arrays on all devices, each whole or in pieces (`sharding.placed`).
            batches: source of batches; its attributes are saved with the state.
            score: score of the model, higher is better; None or NaN where it is not known.
            sums: what `check_finite` returned for the state; None to check it.

        Raises:
            FloatingPointError: the state is not finite; see `check_finite`.
        """
        if step in self._manager.all_steps():
            return
        sums = self.check_finite(step, state) if sums is None else sums
        beside = positions.describe(batches) | {_CHECKSUMS: sums}
        items = ocp.args.Composite(state=ocp.args.PyTreeSave(state), data=ocp.args.JsonSave(beside))
        known = score is not None and math.isfinite(score)
        with self._naming_full_disk():
            self._manager.save(step, args=items, metrics={"score": score if known else None}, force=True)

    def check_finite(self, step: int, state: Tree) -> dict[str, int]:
        """Checks that all numbers of a state are finite.

        Returns:
            The checksums: numbers, not arrays, so that the state may be donated.

        Raises:
            FloatingPointError: an array is not; it is named.
        """
        sums, whole = examine(state)
        if wrong := [name for name, value in whole.items() if not value]:
            more = f" and {len(wrong) - 1} other arrays are" if len(wrong) > 1 else " is"
            raise FloatingPointError(f"{wrong[0]}{more} not finite after step {step}")
        return {name: int(value) for name, value in sums.items()}

    def restore(
        self, target: Tree, batches: Positioned, step: int | None = None, say: Callable[[str], None] = print
    ) -> Tree:
        """Reads a checkpoint and moves the batches to its position.

        Where the newest checkpoint is damaged, or one of several processes cannot read it, all read the one before it.
        The damaged one is moved to `damaged/` in the workdir, since the run will come to its step again.

        Args:
            target: tree of arrays or `jax.ShapeDtypeStruct`s with a sharding: the expected arrays and their places.
            batches: source of batches that is moved to the saved `position`, with the saved `skipped`.
            step: step of the checkpoint; None for the newest.
            say: function that is called with a line about each damaged checkpoint.

        Returns:
            A tree like `target`, bitwise as it was saved.

        Raises:
            FileNotFoundError: there is no such checkpoint.
            DamagedError: the checkpoint, or where no step is given every one, cannot be read.
            ValueError: the checkpoint contains other arrays than `target`; some are named. Or its position is one of
                another data set.
        """
        self.wait()  # a step whose save goes on already counts as the latest
        steps = sorted(self._manager.all_steps(), reverse=True)
        if not steps or (step is not None and step not in steps):
            name = "checkpoint" if step is None else f"checkpoint {step}"
            raise FileNotFoundError(f"{self.directory} holds no {name}")
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), target)

        # A manager of all processes would wait for those that read a damaged file, which do not come to its barrier.
        with _open(self._workdir, alone=True, create=False) as manager:

            def read(step: int) -> dict[str, Any]:
                return _read(manager, step, target, False)

            step, restored, damaged = damage.newest_whole(read, steps if step is None else [step])
        for bad, error in damaged.items():
            say(f"{error}; going on from step {step}, and moving the damaged one to {self._set_aside(bad)}")
        if damaged:  # the manager still lists what was moved
            self._manager.close()
            self._manager = self._open()
        positions.move(batches, restored["data"], self.directory / str(step))
        return restored["state"]

    def _set_aside(self, step: int) -> epath.Path:
        """Moves a damaged checkpoint out of the way of the run, and returns its new path."""
        folder = self._workdir / "damaged"
        target = next(path for n in range(1000) if not (path := folder / (f"{step}.{n}" if n else str(step))).exists())
        _synchronise("about to move a damaged checkpoint")
        if jax.process_index() == 0:
            folder.mkdir(parents=True, exist_ok=True)
            outputs.move_folder(self.directory / str(step), target)
        _synchronise("moved a damaged checkpoint")
        return target

    def reached_preemption(self) -> bool:
        """Returns whether the machine is about to be taken away. Needs `jax.distributed`.

        All processes call it after every step, and end after the same step.
        """
        return self._manager.reached_preemption(next(_STEPS_OF_PROCESS))

    def wait(self) -> None:
        """Returns when all saves are on disk.

        Raises:
            RuntimeError: the disk is full.
            OSError and others: a save in the background failed.
        """
        with self._naming_full_disk():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits for the saves and ends the background threads; raises as `wait`."""
        self.wait()
        self._manager.close()

    @contextlib.contextmanager
    def _naming_full_disk(self) -> Iterator[None]:
        """Turns the failure of a save for lack of space into one line, and removes what the save has left."""
        try:
            yield
        except Exception as error:  # Orbax and TensorStore have types of their own
            if not _is_disk_full(error):
                raise
            steps = self._manager.all_steps(read=True)
            for path in self.directory.iterdir():
                if not path.name.isdecimal() and jax.process_index() == 0:
                    path.rmtree()
            kept = f"the checkpoint of step {max(steps)} stays" if steps else "there is no earlier one"
            free = data_dir.describe_free_space(self.directory)
            raise RuntimeError(
                f"{self.directory}: the disk is full ({free}), a checkpoint was not written; {kept}; make room and run "
                "the same command again, or keep fewer by --config.keep_checkpoints"
            ) from error

    def __enter__(self) -> Checkpoints:
        """Returns itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Closes; an error that ended the run goes before errors of closing."""
        with contextlib.suppress(Exception) if kind else contextlib.nullcontext():
            self.close()


def _synchronise(what: str) -> None:
    """Waits for all processes."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def _is_disk_full(error: BaseException | None) -> bool:
    """Returns whether an error, or its cause, is about a full disk or quota."""
    return error is not None and (
        data_dir.error_number(error) in data_dir.FULL or _is_disk_full(error.__cause__ or error.__context__)
    )


def open_state(workdir: epath.PathLike, target: Tree, best: bool = False, step: int | None = None) -> Tree:
    """Reads a part of a saved state onto one device, whatever devices it was saved from.

    Any single process of a run may call it. Where the newest checkpoint is damaged, the one before it is read, and a
    line on the standard error says so.

    Args:
        workdir: a workdir or a model directory; it is not changed, and may belong to a run that goes on.
        target: dict of fields of the state, e.g. {"ema_g": ..., "basis": ...}, each a tree of arrays or
            `jax.ShapeDtypeStruct`s. Nothing else is read.
        best: reads the checkpoint with the highest score instead of the newest.
        step: reads the checkpoint of this step instead.

    Returns:
        A tree like `target`, on the first device of this process.

    Raises:
        FileNotFoundError: there is no checkpoint; the message says what to do.
        DamagedError: no checkpoint, or not the one of `step`, can be read.
        ValueError: the checkpoint contains other arrays than `target`; some are named.
    """
    none = f"{workdir} has neither {directories.WEIGHTS} nor a checkpoint; {directories.train_into(workdir)}"
    if not (epath.Path(workdir) / directories.CHECKPOINTS).exists():
        raise FileNotFoundError(none)  # before Orbax makes the folder
    with _open(workdir, alone=True, create=False) as manager:
        steps = sorted(manager.all_steps(), reverse=True)
        if not steps:
            raise FileNotFoundError(none)
        if step is not None and step not in steps:
            known = ", ".join(map(str, reversed(steps)))
            raise FileNotFoundError(f"{workdir} holds no checkpoint of step {step}; there are {known}")
        if best and step is None and (first := _best_step(manager)) is not None:
            steps = [first, *(other for other in steps if other != first)]
        place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), target)

        def read(step: int) -> dict[str, Any]:
            return _read(manager, step, target, True)

        found, restored, damaged = damage.newest_whole(read, steps if step is None else [step])
        for error in damaged.values():
            print(f"{error}; the one of step {found} is used", file=sys.stderr)
        return restored["state"]


def saved_fields(workdir: epath.PathLike, step: int | None = None) -> set[str]:
    """Returns the fields of a saved state that have arrays, without reading these; arguments as of `open_state`.

    Raises:
        DamagedError: no checkpoint has a list of arrays that can be read.
    """
    with _open(workdir, alone=True, create=False) as manager:

        def read(step: int) -> dict[str, Any]:
            with damage.naming(manager.directory / str(step), False):
                return dict(manager.item_metadata(step)["state"].tree)

        steps = sorted(manager.all_steps(), reverse=True) if step is None else [step]
        fields = damage.newest_whole(read, steps)[1]
    return {name for name, tree in fields.items() if jax.tree.leaves(tree)}


def _open(workdir: epath.PathLike, alone: bool = False, **options: Any) -> ocp.CheckpointManager:
    """Returns a manager that ranks checkpoints by their score.

    Args:
        workdir: the workdir.
        alone: opens it in this process alone; else every process of the run must open it.
        **options: further options of the manager.
    """
    here = jax.process_index()
    _check_scores(epath.Path(workdir) / directories.CHECKPOINTS)
    processes = ocp.options.MultiprocessingOptions(
        primary_host=here if alone else 0,
        active_processes={here} if alone and jax.process_count() > 1 else None,
        barrier_sync_key_prefix=f"process_{here}" if alone else None,
    )
    place = epath.Path(workdir)
    folder = (place if outputs.is_remote(place) else place.resolve()) / directories.CHECKPOINTS
    return ocp.CheckpointManager(
        folder,
        item_handlers={
            "state": ocp.PyTreeCheckpointHandler(multiprocessing_options=processes),
            "data": ocp.JsonCheckpointHandler(multiprocessing_options=processes),
        },
        options=ocp.CheckpointManagerOptions(
            best_fn=_score, best_mode="max", multiprocessing_options=processes, **options
        ),
    )


def _check_scores(folder: epath.Path) -> None:
    """Raises `DamagedError` when the score of a checkpoint cannot be read: Orbax reads all of them when it starts."""
    for step in folder.iterdir() if folder.exists() else ():
        file = step / "metrics" / "metrics"
        if step.name.isdecimal() and file.exists():
            try:
                if not isinstance(_score(json_text.parse(file.read_bytes())), int | float):
                    raise TypeError
            except (ValueError, KeyError, TypeError) as error:
                raise damage.DamagedError(f"{file} is damaged; move {step} away, and an earlier one is used") from error


def _score(metrics: dict[str, float | None]) -> float:
    """Returns the number that checkpoints are ranked by, -infinity without a score."""
    score = metrics["score"]
    return -math.inf if score is None else score


def _best_step(manager: ocp.CheckpointManager) -> int | None:
    """Returns the step with the highest score, None where none has a score."""
    step = manager.best_step()
    return None if step is None or _score(manager.metrics(step)) == -math.inf else step


def _read(manager: ocp.CheckpointManager, step: int, target: Tree, partial: bool) -> dict[str, Any]:
    """Reads the arrays of `target` and the JSON beside them; a checkpoint has no others unless `partial`.

    All processes read together unless `partial`: they fail at the same place, so that none waits in `examine` for one
    that reads another checkpoint.

    Raises:
        DamagedError: something cannot be read or is not finite, or the checksums are not those that were saved; where
            processes read together, in one of them.
        ValueError: the checkpoint contains other arrays.
    """
    folder, several = manager.directory / str(step), jax.process_count() > 1 and not partial
    with damage.naming(folder, several):
        saved = manager.item_metadata(step)["state"]
        if saved is None:
            raise OSError("it contains no state")
    check_arrays(folder, saved.tree, target, partial)
    shardings = ocp.checkpoint_utils.construct_restore_args(target)
    items = {
        "state": ocp.args.PyTreeRestore(target, restore_args=shardings, partial_restore=partial),
        "data": ocp.args.JsonRestore(),
    }
    with damage.naming(folder, several):
        restored = manager.restore(step, args=ocp.args.Composite(**items))
    with damage.naming(folder, several):
        known = restored["data"].get(_CHECKSUMS)  # not in checkpoints of version 0.1
        state = restored["state"]
        sums, whole = examine(jax.device_get(state) if partial else state)  # no program for what is read once
        wrong = [name for name, value in sums.items() if known and int(value) != known.get(name)]
        if wrong:
            raise OSError(f"{len(wrong)} arrays are not as they were saved, {', '.join(wrong[:3])}")
        wrong = [name for name, value in whole.items() if not value]
        if wrong:
            raise OSError(f"{len(wrong)} arrays are not finite, {', '.join(wrong[:3])}")
    return dict(restored.items())
