"""Checkpoints of a run: `config.json`, and in `checkpoints/` the state, the position in the data and a score.

A workdir and a model directory are the same to a reader: both are opened by `load_config` and `open_state`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import Any, Protocol

import jax
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers

from sdgan_jax import config as config_lib
from sdgan_jax.config import Config, Kind

Tree = Any  # a tree of arrays

# Fields that may differ when a run is resumed: how long it goes on, what is written, where data are read;
# never what a step does.
RESUMABLE = frozenset(
    {
        "total_steps",
        "log_every",
        "sample_every",
        "checkpoint_every",
        "keep_checkpoints",
        "data_dir",
        "manual_dir",
        "data_workers",
    }
)


class Positioned(Protocol):
    """What gives the batches of a run; `sdgan_jax.data.BatchIterator` is one."""

    position: int


class Checkpoints:
    """The checkpoints of a run, written in the background: the newest `config.keep_checkpoints` and the best.

    A save that is cut off (kill -9, power) leaves the earlier ones whole; the next run clears its remains.
    """

    def __init__(self, workdir: epath.PathLike, config: Any):
        """Opens a workdir for training and writes `config.json`.

        Args:
            workdir: local or remote (`gs://...`) directory; made when it is not there.
            config: of this run, of any kind. An earlier run in the workdir must have had the same, `RESUMABLE` aside.

        Raises:
            ValueError: the workdir belongs to a run with another config; the fields are named.
        """
        save_config(workdir, config)
        self._manager = _open(
            workdir,
            create=True,
            cleanup_tmp_directories=True,
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(
                [
                    checkpoint_managers.LatestN(n=max(1, config.keep_checkpoints)),
                    checkpoint_managers.BestN(get_metric_fn=_score, n=1),
                ]
            ),
        )

    @property
    def directory(self) -> epath.Path:
        """Where the checkpoints are, a directory per step."""
        return self._manager.directory

    @property
    def latest_step(self) -> int | None:
        """Step of the newest checkpoint, None where there is none."""
        return self._manager.latest_step()

    @property
    def best_step(self) -> int | None:
        """Step of the checkpoint with the highest score, None where none has a score."""
        return _best_step(self._manager)

    def save(self, step: int, state: Tree, batches: Positioned, score: float | None = None) -> None:
        """Starts a save and returns as soon as the arrays may be changed or donated.

        Args:
            step: number of steps done. A step that is already saved is left as it is.
            state: tree of arrays, each on all devices (`NamedSharding(mesh, P())`).
            batches: whose `position` is saved with the state.
            score: how good the model is, higher is better; None or NaN where that is not known.
        """
        if step in self._manager.all_steps():
            return
        items = ocp.args.Composite(
            state=ocp.args.PyTreeSave(state), data=ocp.args.JsonSave({"position": batches.position})
        )
        known = score is not None and math.isfinite(score)
        self._manager.save(step, args=items, metrics={"score": score if known else None}, force=True)

    def restore(self, target: Tree, batches: Positioned, step: int | None = None) -> Tree:
        """Reads a checkpoint and moves the batches to its place.

        Args:
            target: tree of arrays or `jax.ShapeDtypeStruct`s with a sharding: what is expected, and where.
            batches: gets the saved `position`.
            step: which checkpoint, the newest by default.

        Returns:
            A tree like `target`, bitwise as it was saved.

        Raises:
            FileNotFoundError: there is no such checkpoint.
            ValueError: the checkpoint holds other arrays than `target`; some are named.
        """
        self.wait()  # a step whose save goes on already counts as the latest
        step = self.latest_step if step is None else step
        if step is None or step not in self._manager.all_steps():
            name = "checkpoint" if step is None else f"checkpoint {step}"
            raise FileNotFoundError(f"{self.directory} holds no {name}")
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), target)
        restored = _read(self._manager, step, target, partial=False)
        batches.position = restored["data"]["position"]
        return restored["state"]

    def reached_preemption(self, step: int) -> bool:
        """Whether the machine is about to be taken away: save, close and end. Needs `jax.distributed`."""
        return self._manager.reached_preemption(step)

    def wait(self) -> None:
        """Returns when all saves are on disk.

        Raises:
            OSError and others: a save in the background failed.
        """
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits for the saves and ends the background threads."""
        self._manager.close()

    def __enter__(self) -> Checkpoints:
        """Returns itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Closes."""
        self.close()


def save_config(workdir: epath.PathLike, config: Any) -> None:
    """Writes `config.json` into a workdir or a model directory.

    Raises:
        ValueError: there is one already that differs in more than `RESUMABLE`; the fields are named.
    """
    path = epath.Path(workdir) / "config.json"
    if path.exists():
        fields = [
            f"{name} was {old!r} and is {new!r}"
            for name, old, new in _differences(load_config(workdir, type(config)), config)
            if name not in RESUMABLE
        ]
        if fields:
            raise ValueError(
                f"{workdir} holds a run with another config: {'; '.join(fields)}. "
                "Give the old values to resume it, or another --workdir to start anew"
            )
    if jax.process_index() == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.parent / "config.json.tmp"  # a reader never sees half a file
        unfinished.write_text(config_lib.to_json(config))
        unfinished.replace(path)


def load_config(workdir: epath.PathLike, kind: type[Kind] = Config) -> Kind:  # type: ignore[assignment]
    """Reads `config.json` of a workdir or a model directory.

    Raises:
        FileNotFoundError: there is none; the message says what to do.
        ValueError: it is not a config of this program.
    """
    path = epath.Path(workdir) / "config.json"
    if not path.exists():
        what = "is no model directory (it has no config.json)" if path.parent.exists() else "does not exist"
        raise FileNotFoundError(f"{workdir} {what}; {_way_out(workdir)}")
    try:
        return config_lib.from_json(path.read_text(), kind)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def open_state(workdir: epath.PathLike, target: Tree, best: bool = False) -> Tree:
    """Reads a part of a saved state onto one device, whatever devices it was saved from.

    Args:
        workdir: a workdir or a model directory; it is not changed, and may belong to a run that goes on.
        target: dict of the state's fields that are wanted, e.g. {"ema_g": ..., "basis": ...}, each a tree of
            arrays or `jax.ShapeDtypeStruct`s. Nothing else is read.
        best: the checkpoint with the highest score instead of the newest.

    Returns:
        A tree like `target`, on the first device of this process.

    Raises:
        FileNotFoundError: there is no checkpoint; the message says what to do.
        ValueError: the checkpoint holds other arrays than `target`; some are named.
    """
    none = f"{workdir} holds no checkpoint; {_way_out(workdir)}"
    if not (epath.Path(workdir) / "checkpoints").exists():
        raise FileNotFoundError(none)  # before Orbax makes the folder
    with _open(workdir, create=False) as manager:
        step = _best_step(manager) if best else None
        step = manager.latest_step() if step is None else step
        if step is None:
            raise FileNotFoundError(none)
        place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), target)
        return _read(manager, step, target, partial=True)["state"]


def _way_out(workdir: epath.PathLike) -> str:
    return f"train into it by `python -m experiments.train --workdir={workdir}`"


def _open(workdir: epath.PathLike, **options: Any) -> ocp.CheckpointManager:
    """A manager that ranks checkpoints by their score."""
    return ocp.CheckpointManager(
        epath.Path(workdir).resolve() / "checkpoints",
        item_handlers={"state": ocp.PyTreeCheckpointHandler(), "data": ocp.JsonCheckpointHandler()},
        options=ocp.CheckpointManagerOptions(best_fn=_score, best_mode="max", **options),
    )


def _score(metrics: dict[str, float | None]) -> float:
    """The number that checkpoints are ranked by; one without a score is worse than any with one."""
    score = metrics["score"]
    return -math.inf if score is None else score


def _best_step(manager: ocp.CheckpointManager) -> int | None:
    """The step with the highest score, None where none has one."""
    step = manager.best_step()
    return None if step is None or _score(manager.metrics(step)) == -math.inf else step


def _read(manager: ocp.CheckpointManager, step: int, target: Tree, partial: bool) -> Any:
    """Reads the arrays of `target`, and unless `partial` (these are not all) the position in the data too."""
    folder = manager.directory / str(step)
    with _naming(folder):
        saved = manager.item_metadata(step)["state"]
        if saved is None:
            raise OSError("it holds no state")
    _check_arrays(folder, saved.tree, target, partial)
    shardings = ocp.checkpoint_utils.construct_restore_args(target)
    items = {"state": ocp.args.PyTreeRestore(target, restore_args=shardings, partial_restore=partial)}
    if not partial:
        items["data"] = ocp.args.JsonRestore()
    with _naming(folder):
        return manager.restore(step, args=ocp.args.Composite(**items))


@contextlib.contextmanager
def _naming(folder: epath.Path) -> Iterator[None]:
    """Names the checkpoint that turns out to be damaged, and the way out."""
    try:
        yield
    except (ValueError, KeyError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        way_out = "delete it to go back to the one before"
        raise ValueError(f"{folder} cannot be read: {reason}; {way_out}") from error


def _check_arrays(folder: epath.Path, saved: Tree, wanted: Tree, partial: bool) -> None:
    """Compares names, shapes and dtypes: Orbax's own messages name no array, and it casts dtypes silently."""
    old, new = dict(_arrays(saved)), dict(_arrays(wanted))
    wrong = [
        f"{name} is {old.get(name, 'missing')}, expected {kind}" for name, kind in new.items() if old.get(name) != kind
    ]
    if not partial:
        wrong += [f"{name} is not expected" for name in old if name not in new]
    if wrong:
        more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(f"{folder} does not fit the config: {'; '.join(wrong[:3])}{more}")


def _arrays(tree: Tree) -> Iterator[tuple[str, str]]:
    """Yields the name of each array, such as "ema_g/mapping/kernel", and its type, such as "float32[8,8]"."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        shape = ",".join(map(str, leaf.shape))
        yield jax.tree_util.keystr(path, simple=True, separator="/"), f"{leaf.dtype}[{shape}]"


def _differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yields the name and the two values of every field that differs."""
    for field in dataclasses.fields(old):
        a, b = getattr(old, field.name), getattr(new, field.name)
        if dataclasses.is_dataclass(a):
            yield from _differences(a, b, f"{path}{field.name}.")
        elif a != b:
            yield f"{path}{field.name}", a, b
