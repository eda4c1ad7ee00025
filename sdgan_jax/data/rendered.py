"""Rendered faces in memory, with their truth: for what learns or is measured where the answer is known."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tqdm import auto as tqdm

import tfds_megn
from tfds_megn import uv, workers
from tfds_megn.data_dir import writing

DATA_DIR_FLAG = "--config.data_dir (--data_dir of evaluate and measure)"
_MAPS_PER_TASK = 200
_BARE_PER_TASK = 50


@dataclasses.dataclass(frozen=True)
class Faces:
    """Rendered faces.

    Attributes:
        images: u8[N,R,R,3].
        labels: i32[N], ids of the attributes worn.
        identities: i32[N], numbers of the persons.
        params: f32[N,P] of the renderer.
    """

    images: np.ndarray
    labels: np.ndarray
    identities: np.ndarray
    params: np.ndarray

    def first(self, count: int) -> Faces:
        """The first `count` of them, or all where there are fewer."""
        return Faces(*(getattr(self, field.name)[:count] for field in dataclasses.fields(self)))


def read(dataset: str, split: str, data_dir: str | os.PathLike[str] | None = None) -> Faces:
    """Reads a split into memory; the data set is prepared when it is not there yet.

    Args:
        dataset: `rendered_<R>`, a config of `tfds_megn`; `megn/` in front is accepted.
        split: `train`, `validation` or `test`, or a TFDS slice of one.
        data_dir: where prepared data live; None or "" is TFDS's default.

    Raises:
        OSError: the data cannot be written there.
    """
    with writing(data_dir or tfds.core.constants.DATA_DIR, DATA_DIR_FLAG):
        source: Sequence[Any] = tfds_megn.data_source(dataset, split, data_dir=data_dir or None)
    examples = source.__getitems__(range(len(source)))  # type: ignore[attr-defined]
    return Faces(
        np.stack([example["image"] for example in examples]),
        np.array([example["label"] for example in examples], np.int32),
        np.array([example["identity"] for example in examples], np.int32),
        np.stack([example["params"] for example in examples]).astype(np.float32),
    )


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pairs of faces, of which the second wears something.

    Attributes:
        first: i32[P], rows of `Faces`.
        second: i32[P], likewise.
        same: bool[P], whether they are of one person; then they are two photographs.
    """

    first: np.ndarray
    second: np.ndarray
    same: np.ndarray


def draw_pairs(faces: Faces, same: int, different: int, seed: int = 0) -> Pairs:
    """Draws pairs of one person, each at most once, and then of two people.

    Args:
        faces: to draw from.
        same: pairs of one person at most; there may be fewer.
        different: pairs of two people.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    worn = np.flatnonzero(faces.labels)
    person, row = np.nonzero(faces.identities[:, None] == faces.identities[worn])
    person, row = person[person != worn[row]], worn[row][person != worn[row]]
    chosen = rng.permutation(len(person))[:same]
    first, second = rng.integers(len(faces.labels), size=2 * different), rng.choice(worn, 2 * different)
    strangers = np.flatnonzero(faces.identities[first] != faces.identities[second])[:different]
    return Pairs(
        np.concatenate([person[chosen], first[strangers]]),
        np.concatenate([row[chosen], second[strangers]]),
        np.arange(len(chosen) + len(strangers)) < len(chosen),
    )


def bare(faces: Faces) -> np.ndarray:
    """The same photographs with nothing worn, u8[N,R,R,3]."""
    size = faces.images.shape[1]
    render = functools.partial(tfds_megn.render, attribute="none", size=size)
    tasks = [faces.params[first : first + _BARE_PER_TASK] for first in range(0, len(faces.params), _BARE_PER_TASK)]
    return np.concatenate(list(workers.map_ordered(render, tasks)))


def position_maps(params: np.ndarray, size: int) -> np.ndarray:
    """The true position maps of faces.

    Args:
        params: f32[N,P].
        size: texels along a side, and pixels of the picture.

    Returns:
        f32[N,size,size,3], in the pixels of the pictures.
    """
    maps = np.empty((len(params), size, size, 3), np.float32)
    tasks = [(params[first : first + _MAPS_PER_TASK], size) for first in range(0, len(params), _MAPS_PER_TASK)]
    with tqdm.tqdm(total=len(params), desc="Position maps", unit="map", mininterval=0.5) as bar:
        for some in workers.map_ordered(uv.position_maps, tasks):
            maps[bar.n : bar.n + len(some)] = some
            bar.update(len(some))
    return maps


class Batches:
    """Endless batches of rows of arrays; the batch at a position depends on the seed, the position and the global size.

    Attributes:
        position: number of batches given out so far. Assigning it moves there.
    """

    def __init__(self, arrays: dict[str, np.ndarray], batch_size: int, seed: int, process: tuple[int, int] = (0, 1)):
        """Starts at the first batch.

        Args:
            arrays: of N rows each.
            batch_size: rows of a batch, over all processes.
            seed: of the order.
            process: index of this process, and how many share the batch.

        Raises:
            ValueError: the processes cannot share a batch evenly, or there are fewer rows than a batch.
        """
        index, count = process
        if batch_size % count:
            raise ValueError(f"config.batch_size is {batch_size}; it must be a multiple of the {count} processes")
        self._rows = len(next(iter(arrays.values())))
        if self._rows < batch_size:
            raise ValueError(f"config.batch_size is {batch_size}, but there are only {self._rows} faces to train on")
        self._arrays, self._batch_size, self._seed = arrays, batch_size, seed
        self._share = slice(index * batch_size // count, (index + 1) * batch_size // count)
        self.position = 0

    def __next__(self) -> dict[str, np.ndarray]:
        """Returns this process's rows of the batch at `position` and moves on by one."""
        rng = np.random.default_rng((self._seed, self.position))
        rows = rng.choice(self._rows, self._batch_size, replace=False)[self._share]
        self.position += 1
        return {name: array[rows] for name, array in self._arrays.items()}

    def close(self) -> None:
        """Does nothing: nothing runs in the background."""
