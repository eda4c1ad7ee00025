"""Damaged checkpoints: how one is named, and the choice of the newest that is whole."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from tfds_megn import listing


class DamagedError(ValueError):
    """A checkpoint cannot be read, or contains other numbers than were saved."""


@contextlib.contextmanager
def naming(folder: epath.Path, together: bool) -> Iterator[None]:
    """Turns any error of the block into one that says which checkpoint is damaged.

    Args:
        folder: the checkpoint.
        together: every process of the run runs the block. Where it fails in one of them, it fails in all.

    Raises:
        DamagedError: the block failed, here or in another process; it names the error or the process.
    """
    error: Exception | None = None
    try:
        yield
    except Exception as raised:  # TensorStore, zstd and JSON have types of their own
        error = raised
    failed = np.array([error is not None])
    if together:
        failed = np.asarray(multihost_utils.process_allgather(failed)).ravel()
    if failed.any():
        reason = listing.one_line(error)[:200] if error else f"process {np.argmax(failed)} cannot read it"
        raise DamagedError(f"{folder} is damaged: {reason}") from error


def newest_whole(
    read: Callable[[int], dict[str, Any]], steps: list[int]
) -> tuple[int, dict[str, Any], dict[int, DamagedError]]:
    """Reads the first of the steps whose checkpoint is whole; returns it, what was read, and the damaged ones' errors.

    Raises:
        DamagedError: none is whole.
    """
    damaged: dict[int, DamagedError] = {}
    for step in steps:
        try:
            return step, read(step), damaged
        except DamagedError as error:
            damaged[step] = error
    none = "and it is the only checkpoint" if len(steps) == 1 else f"and so is every other of the {len(steps)}"
    raise DamagedError(f"{damaged[steps[0]]}, {none}; start again in another workdir") from damaged[steps[0]]
