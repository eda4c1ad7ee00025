"""Rendered faces in memory with their ground truth, to train and measure networks on."""

from __future__ import annotations

import dataclasses
import functools
import os
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import tensorflow_datasets as tfds
from tqdm import auto as tqdm

import tfds_megn
from sdgan_jax.config import Config
from sdgan_jax.config.networks import NetworkConfig
from sdgan_jax.data import broken
from tfds_megn import listing, remote_data, uv, workers
from tfds_megn.data_dir import writing

DATA_DIR_FLAG = "--config.data_dir (--data_dir of evaluate and measure)"
_MAPS_PER_TASK = 200
_IMAGES_PER_TASK = 50
_SUMMED = 200  # rows, spread evenly, of which a checksum is made


@dataclasses.dataclass(frozen=True)
class Faces:
    """Rendered faces.

    Attributes:
        images: u8[N,R,R,3].
        labels: i32[N], attribute ids.
        identities: i32[N], numbers of the persons.
        params: f32[N,P], parameters of the renderer.
    """

    images: np.ndarray
    labels: np.ndarray
    identities: np.ndarray
    params: np.ndarray

    def first(self, count: int) -> Faces:
        """Returns the first `count` faces, or all where there are fewer."""
        return Faces(*(getattr(self, field.name)[:count] for field in dataclasses.fields(self)))


def read(dataset: str, split: str, data_dir: str | os.PathLike[str] | None = None, count: int | None = None) -> Faces:
    """Reads a split into memory; the data set is prepared when it is not there yet.

    Args:
        dataset: `rendered_<R>`, a config of `tfds_megn`; `megn/` in front is accepted.
        split: `train`, `validation` or `test`, or a TFDS slice of one.
        data_dir: folder of prepared data; None or "" is TFDS's default.
        count: greatest number of faces, the first of the split; None for all.

    Returns:
        The faces in the order of the split.

    Raises:
        OSError: the data cannot be written there.
        ValueError: an image cannot be read.
    """
    folder = remote_data.local_folder(data_dir or None) or tfds.core.constants.DATA_DIR
    with broken.naming_damage(dataset, str(folder)), writing(folder, DATA_DIR_FLAG):
        source: Sequence[Any] = tfds_megn.data_source(dataset, split, data_dir=data_dir or None)
    try:
        examples = source.__getitems__(range(len(source))[:count])  # type: ignore[attr-defined]
    except Exception as error:  # array_record and TFDS have types of their own
        files = source.dataset_info.data_dir  # type: ignore[attr-defined]
        reason = listing.one_line(error)[:300]
        raise ValueError(
            f"{files}: an image of the split {split} cannot be read ({reason}); move the folder away, and the same "
            "command prepares the data set again"
        ) from error
    return Faces(
        np.stack([example["image"] for example in examples]),
        np.array([example["label"] for example in examples], np.int32),
        np.array([example["identity"] for example in examples], np.int32),
        np.stack([example["params"] for example in examples]).astype(np.float32),
    )


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pairs of faces; the second face of a pair has an attribute.

    Attributes:
        first: i32[P], rows of `Faces`.
        second: i32[P], likewise.
        same: bool[P], True for two photographs of one person.
    """

    first: np.ndarray
    second: np.ndarray
    same: np.ndarray


def draw_pairs(faces: Faces, same: int, different: int, seed: int = 0) -> Pairs:
    """Draws pairs of one person, each at most once in either order, and then of two people.

    Args:
        faces: the faces to draw from.
        same: greatest number of pairs of one person.
        different: number of pairs of two people.
        seed: random seed.

    Returns:
        The pairs, those of one person first.
    """
    rng = np.random.default_rng(seed)
    attired = np.flatnonzero(faces.labels)
    row, partner = np.nonzero(faces.identities[:, None] == faces.identities[attired])
    row, partner = row[row != attired[partner]], attired[partner][row != attired[partner]]
    chosen = rng.permutation(len(row))
    # Two faces with attributes stand in both orders, but are one pair.
    chosen = chosen[(faces.labels[row[chosen]] == 0) | (row[chosen] < partner[chosen])][:same]
    first, second = rng.integers(len(faces.labels), size=2 * different), rng.choice(attired, 2 * different)
    strangers = np.flatnonzero(faces.identities[first] != faces.identities[second])[:different]
    return Pairs(
        np.concatenate([row[chosen], first[strangers]]),
        np.concatenate([partner[chosen], second[strangers]]),
        np.arange(len(chosen) + len(strangers)) < len(chosen),
    )


def bare(faces: Faces) -> np.ndarray:
    """Renders the same photographs without an attribute, u8[N,R,R,3]."""
    return render(faces.params, ["none"] * len(faces.params), faces.images.shape[1])


def render(
    params: np.ndarray, attributes: Sequence[str], size: int, advance: Callable[[int], object] = int
) -> np.ndarray:
    """Renders faces in worker processes.

    Args:
        params: f32[N,P], parameters of the renderer.
        attributes: N names of attributes.
        size: side of the images in pixels.
        advance: called with the number of images after each part of the work.

    Returns:
        u8[N,size,size,3].
    """
    images = np.empty((len(params), size, size, 3), np.uint8)
    for name in sorted(set(attributes)):
        rows = np.flatnonzero([attribute == name for attribute in attributes])
        parts = [rows[first : first + _IMAGES_PER_TASK] for first in range(0, len(rows), _IMAGES_PER_TASK)]
        draw = functools.partial(tfds_megn.render, attribute=name, size=size)
        for part, drawn in zip(parts, workers.map_ordered(draw, [params[part] for part in parts]), strict=True):
            images[part] = drawn
            advance(len(part))
    return images


def position_maps(params: np.ndarray, size: int) -> np.ndarray:
    """Computes the true position maps of faces.

    Args:
        params: f32[N,P], parameters of the renderer.
        size: texels along a side, and pixels of the image.

    Returns:
        f32[N,size,size,3], in pixels of the images.
    """
    maps = np.empty((len(params), size, size, 3), np.float32)
    tasks = [(params[first : first + _MAPS_PER_TASK], size) for first in range(0, len(params), _MAPS_PER_TASK)]
    with tqdm.tqdm(total=len(params), desc="Position maps", unit="map", mininterval=0.5) as bar:
        for some in workers.map_ordered(uv.position_maps, tasks):
            maps[bar.n : bar.n + len(some)] = some
            bar.update(len(some))
    return maps


def make_batches(config: Config | NetworkConfig, arrays: dict[str, np.ndarray]) -> Batches:
    """Makes this process's batches of a run.

    Args:
        config: its `batch_size` and `seed` are read.
        arrays: arrays of N rows each.

    Returns:
        The batches, from the first on.

    Raises:
        ValueError: as `Batches`.
    """
    return Batches(arrays, config.batch_size, config.seed, (jax.process_index(), jax.process_count()))


class Batches:
    """Endless batches of rows of arrays; a batch depends on the random seed, its position and the global batch size.

    Attributes:
        position: number of batches returned so far. Assigning it moves there.
        skipped: empty; see `data.batch_iterator.BatchIterator`.
        max_skipped: likewise.
        dataset: number and checksum of the rows; a position is one of these rows only.
    """

    def __init__(self, arrays: dict[str, np.ndarray], batch_size: int, seed: int, process: tuple[int, int] = (0, 1)):
        """Starts at the first batch.

        Args:
            arrays: arrays of N rows each.
            batch_size: rows in a batch, over all processes.
            seed: random seed of the order.
            process: index of this process, and number of processes that share the batch.

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
        self.skipped: set[int] = set()
        self.max_skipped = 0
        sample = [array[:: max(1, self._rows // _SUMMED)] for _, array in sorted(arrays.items())]
        checksum = functools.reduce(lambda known, array: zlib.crc32(array.tobytes(), known), sample, 0)
        self.dataset = f"{self._rows} rows, checksum {checksum:08x}"

    def __next__(self) -> dict[str, np.ndarray]:
        """Returns this process's rows of the batch at `position` and moves on by one."""
        rng = np.random.default_rng((self._seed, self.position))
        rows = rng.choice(self._rows, self._batch_size, replace=False)[self._share]
        self.position += 1
        return {name: array[rows] for name, array in self._arrays.items()}

    def close(self) -> None:
        """Does nothing: no threads run in the background."""
