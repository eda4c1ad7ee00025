"""Rollbacks: returns of a training to its last checkpoint after numbers that are not finite.

`rollbacks.json` in the workdir lists them. Their number is folded into the random seed (`draws.reseed`), so that the
steps which are made again draw other random numbers, also after a restart. The data are read from the position of the
checkpoint on.
"""

from __future__ import annotations

import json

import jax
from etils import epath
from jax.experimental import multihost_utils

from sdgan_jax import outputs
from tfds_megn import json_text

FILE = "rollbacks.json"


def read(workdir: epath.Path) -> int:
    """Returns the number of rollbacks of a training.

    Raises:
        ValueError: the file was changed by another program.
    """
    return len(_read(workdir / FILE))


def add(workdir: epath.Path, reason: str, step: int) -> int:
    """Notes a rollback; all processes of a training call it together.

    Args:
        workdir: the workdir.
        reason: what was not finite.
        step: step of the checkpoint that the training returns to.

    Returns:
        The number of rollbacks of the training, this one included.
    """
    listed = [*_read(workdir / FILE), {"reason": reason, "step": step}]
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("read the rollbacks")
    if jax.process_index() == 0:
        with outputs.in_one_piece(workdir / FILE) as unfinished:
            unfinished.write_text(json.dumps(listed, indent=2) + "\n")
    return len(listed)


def _read(file: epath.Path) -> list[dict[str, str | int]]:
    """Returns the rollbacks that a file lists; none where it does not exist."""
    if not file.exists():
        return []
    try:
        listed = json_text.parse(file.read_text())
    except ValueError:
        listed = None
    if not isinstance(listed, list):
        raise ValueError(f"{file} is not a list of rollbacks; move it away to start counting from 0")
    return listed
