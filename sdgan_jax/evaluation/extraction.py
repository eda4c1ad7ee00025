"""Values of many images, computed in batches on all devices, with sums in place of lists, resumable by chunks.

Each process computes every P-th image on its own devices, and they exchange their results at the end. Unfinished and
finished results are stored in a folder whose name follows from everything that they depend on.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils
from jax.sharding import PartitionSpec as P
from tqdm import auto as tqdm

from sdgan_jax import outputs
from sdgan_jax.evaluation.image_sources import Rows
from sdgan_jax.metrics import moments as moments_lib
from sdgan_jax.metrics.moments import Moments
from sdgan_jax.pretrained import archive
from sdgan_jax.pretrained.archive import Tree
from sdgan_jax.training import sharding

FEATURES, LOGITS, LENGTHS = "features", "logits", "lengths"  # names of values
_BATCH = 32  # images in a batch of a device
_CHUNK = 2048  # images, about, from one save to the next

Values = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """Values to compute of each image of a set.

    Attributes:
        name: name in the progress bar.
        key: everything that the values depend on, beside their number, as JSON.
        params: tree of arrays, the first argument of `function`.
        read: function from numbers int64[n] of images to arrays on the host, n rows each.
        function: function from `params` and these arrays to arrays f32[n,…] by the names of values. Pure.
    """

    name: str
    key: dict[str, Any]
    params: Tree
    read: Callable[[np.ndarray], Rows]
    function: Callable[[Tree, Rows], dict[str, jax.Array]]


@dataclasses.dataclass(frozen=True, eq=False)
class Statistics:
    """Results of a task.

    Attributes:
        count: number of images.
        moments: moments of the features; None for a task without features.
        lists: the values that were kept of each image, f32[N,…], in the order of the images.
    """

    count: int
    moments: Moments | None
    lists: Values


def compute(task: Task, count: int, kept: tuple[str, ...] = (), quiet: bool = False) -> Statistics:
    """Computes the values of the first `count` images, or reads them where they are stored already.

    Every process must call this.

    Args:
        task: the values.
        count: number of images, at least 1.
        kept: names of the values that are kept of each image; memory grows with the number of images by these only.
        quiet: whether to leave out the progress bar.

    Returns:
        The statistics of all images, the same in every process, on any number of devices and after any interruption.

    Raises:
        ValueError: a value is not finite.
        OSError: the disk is full.
    """
    index, processes = jax.process_index(), jax.process_count()
    if count < processes:
        raise ValueError(f"{task.name}: {count} images for {processes} processes; at least one each is needed")
    numbers, (folder, key) = np.arange(index, count, processes), _place(task, count, index, processes)
    with outputs.alone_in(folder, f"{task.name}: another command computes the same; this one waits for it"):
        if not (folder / "key.json").exists():
            with outputs.in_one_piece(folder / "key.json") as unfinished:
                unfinished.write_text(key)
        moments, lists = _compute(task, numbers, Store(folder, kept), kept, quiet or index > 0)
    joined = {name: np.concatenate([chunk[name] for chunk in lists]) for name in kept}
    if processes > 1:
        moments, joined = _exchange(count, moments, joined)
    return Statistics(count, moments, joined)


def _compute(
    task: Task, numbers: np.ndarray, store: Store, kept: tuple[str, ...], quiet: bool
) -> tuple[Moments | None, list[Values]]:
    """Computes the values of the images of this process that are not stored yet; returns those of all of them."""
    done, moments, lists = store.read()
    with tqdm.tqdm(
        total=len(numbers), initial=done, desc=task.name, unit="image", mininterval=0.5, disable=quiet
    ) as bar:
        for values in _chunks(task, numbers[done:], bar):
            if FEATURES in values:
                part = Moments.of(values[FEATURES])
                moments = part if moments is None else moments.merge(part)
            chunk = {name: values[name] for name in kept}
            done += len(next(iter(values.values())))
            store.write(done, moments, chunk)
            lists.append(chunk)
    return moments, lists


def forget(task: Task, count: int) -> None:
    """Removes the stored results of a task."""
    shutil.rmtree(_place(task, count, jax.process_index(), jax.process_count())[0], ignore_errors=True)


def _place(task: Task, count: int, index: int, processes: int) -> tuple[epath.Path, str]:
    """Returns the folder of the results of a task, and the text of its `key.json`: what they depend on."""
    key = {"name": task.name, **task.key, "number": count, "process": [index, processes], "chunk": _CHUNK}
    text = json.dumps(key, indent=2, sort_keys=True)
    readable = re.sub(r"[^a-zA-Z0-9.]+", "-", task.name).strip("-")[-60:]
    name = f"{readable}-{count}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return outputs.cache_folder("statistics") / name, text + "\n"


class Store:
    """Results of a task in a folder: the moments so far, and a file for each chunk of lists."""

    def __init__(self, folder: epath.Path, kept: tuple[str, ...]):
        """Names the folder and the values that are kept of each image."""
        self._folder, self._kept = folder, kept
        self._done = 0

    def read(self) -> tuple[int, Moments | None, list[Values]]:
        """Reads what is stored: the number of images, their moments, and the chunks of lists.

        A damaged file, or the lack of a list that is kept now, starts from the beginning.
        """
        try:
            state = archive.load(self._folder / "moments.safetensors")
            done, chunks = int(state["count"]), list(self._read_chunks(int(state["count"])))
        except (OSError, ValueError, KeyError):
            return 0, None, []
        self._done = done
        moments = Moments(done, state["mean"], state["scatter"]) if "mean" in state else None
        return done, moments, chunks

    def _read_chunks(self, done: int) -> Iterator[Values]:
        """Yields the chunks of the first `done` images."""
        first = 0
        while self._kept and first < done:
            chunk = archive.load(self._folder / f"values_{first:09d}.safetensors")
            yield {name: chunk[name] for name in self._kept}
            first += len(chunk[self._kept[0]])

    def write(self, done: int, moments: Moments | None, chunk: Values) -> None:
        """Stores a chunk, and then that `done` images are done."""
        if chunk:
            archive.write(self._folder / f"values_{self._done:09d}.safetensors", chunk, None)
        state: dict[str, Any] = {"count": np.array(done)}
        if moments is not None:
            state |= {"mean": moments.mean, "scatter": moments.scatter}
        archive.write(self._folder / "moments.safetensors", state, None)
        self._done = done


def _chunks(task: Task, numbers: np.ndarray, bar: Any) -> Iterator[Values]:
    """Yields the values of about `_CHUNK` images at a time; the host reads a batch while the devices compute one."""
    if not len(numbers):  # all are stored; the network is not needed
        return
    devices = jax.local_devices()
    batch = min(_BATCH, max(1, -(-len(numbers) // len(devices)))) * len(devices)
    mesh = sharding.make_mesh(batch, devices)
    mapped = jax.shard_map(
        task.function, mesh=mesh, in_specs=(P(), P(sharding.AXIS)), out_specs=P(sharding.AXIS), check_vma=False
    )
    run = functools.partial(jax.jit(mapped), jax.device_put(task.params, sharding.replicated(mesh)))
    size = max(1, _CHUNK // batch) * batch
    for first in range(0, len(numbers), size):
        chunk = numbers[first : first + size]
        parts: list[Values] = []
        running: tuple[int, dict[str, jax.Array]] | None = None
        for start in range(0, len(chunk), batch):
            rows = np.minimum(np.arange(start, start + batch), len(chunk) - 1)  # the last row fills up the last batch
            values = run(sharding.put_rows(task.read(chunk[rows]), mesh))
            if running is not None:
                parts.append(_fetch(task, *running, bar))
            running = min(batch, len(chunk) - start), values
        if running is not None:
            parts.append(_fetch(task, *running, bar))
        yield {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _fetch(task: Task, count: int, values: dict[str, jax.Array], bar: Any) -> Values:
    """Waits for a batch and returns its first `count` rows."""
    fetched = {name: np.asarray(value)[:count] for name, value in values.items()}
    bar.update(count)
    if not all(np.isfinite(value).all() for value in fetched.values()):
        raise ValueError(
            f"{task.name}: values are not finite; if a model draws them, it has diverged: use an earlier checkpoint"
        )
    return fetched


def _exchange(count: int, moments: Moments | None, lists: Values) -> tuple[Moments | None, Values]:
    """Joins the results of all processes."""
    processes = jax.process_count()
    if moments is not None:
        gathered = [_gather(np.asarray(part)) for part in (np.int64(moments.count), moments.mean, moments.scatter)]
        moments = moments_lib.merge_all(Moments(int(n), mean, scatter) for n, mean, scatter in zip(*gathered))
    longest = -(-count // processes)
    joined = {}
    for name, values in lists.items():
        padded = np.concatenate([values, np.repeat(values[-1:], longest - len(values), axis=0)])
        rows = np.swapaxes(_gather(padded), 0, 1)  # [P,n,…] -> [n,P,…], the order of the images
        joined[name] = rows.reshape(-1, *rows.shape[2:])[:count]
    return moments, joined


def _gather(array: np.ndarray) -> np.ndarray:
    """Returns an array of all processes, [P,…]; its bytes are exchanged, because JAX would round float64 to float32."""
    data = np.frombuffer(array.tobytes(), np.uint8)
    gathered = np.asarray(multihost_utils.process_allgather(data))
    return np.frombuffer(gathered.tobytes(), array.dtype).reshape(-1, *array.shape)
