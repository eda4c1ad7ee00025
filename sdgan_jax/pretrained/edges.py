"""The filter of edges that comes with the project, by which photos are searched for places where faces may be."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from sdgan_jax.face3d import proposals
from sdgan_jax.pretrained import directories, storage
from sdgan_jax.pretrained.archive import Tree

KIND = "edges"


def edge_filter(path: epath.PathLike = "") -> np.ndarray:
    """Reads a filter f32[901] of `proposals.propose`.

    Args:
        path: a network directory; "" for the one that comes with the project.

    Raises:
        FileNotFoundError: the directory contains no filter.
        ValueError: it contains something else, or is damaged.
    """

    def shapes(settings: dict[str, Any]) -> Tree:
        del settings
        return {"filter": jax.ShapeDtypeStruct((proposals.NUMBERS,), jnp.float32)}

    return np.asarray(storage.read(path or storage.SHIPPED / KIND, KIND, shapes)[1]["filter"])


def write_filter(path: epath.PathLike, numbers: np.ndarray) -> None:
    """Writes a filter f32[901] as a network directory, which is created if missing."""
    storage.write(path, KIND, {}, {"filter": numbers})


def exists(path: epath.PathLike) -> bool:
    """Returns whether a directory contains a network of any kind."""
    return (epath.Path(path) / directories.NETWORK).exists()
