"""The batch loop: a function applied to rows in batches of one shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def map_batches(function: Callable[..., Any], *arrays: Any, size: int) -> Any:
    """Applies a function to rows in batches of one shape, so that a compiled function is compiled once.

    Args:
        function: from as many rows of each array to an array, or a tree of arrays, with as many rows.
        *arrays: arrays of the same number of rows N, on the host or on a device.
        size: rows in a batch. The last row fills up the last batch; fewer than `size` rows are one smaller batch.

    Returns:
        The results of all N rows, joined where they lie: NumPy arrays on the host, JAX arrays on their device.

    Raises:
        ValueError: N is 0.
    """
    count = len(arrays[0])
    if count == 0:
        raise ValueError("nothing to do: N is 0")
    if count < size:
        return function(*arrays)
    parts = []
    for first in range(0, count, size):
        rows = np.minimum(np.arange(first, first + size), count - 1)
        result = function(*(array[rows] for array in arrays))
        parts.append(jax.tree.map(lambda leaf, kept=count - first: leaf[:kept], result))
    return jax.tree.map(_join, *parts)


def _join(*parts: Any) -> Any:
    """Concatenates results along their rows."""
    return np.concatenate(parts) if isinstance(parts[0], np.ndarray) else jnp.concatenate(parts)
