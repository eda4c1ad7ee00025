"""Digests of arrays: a number for each that tells whether a checkpoint was read as it was saved.

A flipped bit in a file of numbers is no error to who decompresses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Tree = Any  # a tree of arrays


def digests(state: Tree) -> dict[str, Any]:
    """A number for each array of a state that changes with every bit of it.

    Args:
        state: tree of numpy or jax arrays.

    Returns:
        By the name of the array, u32: sum of (2 i + 1) · bits_i modulo 2³², i the place in the flattened array.
    """
    return {name: _digest(leaf) for name, leaf in named_leaves(state)}


def _digest(array: Any) -> Any:
    """The digest of one array, by the array's own library."""
    xp: Any = np if isinstance(array, np.ndarray | np.generic) else jnp
    flat = xp.asarray(array).reshape(-1)
    flat = flat.astype(np.uint8) if flat.dtype == bool else flat
    bits = flat.view({1: np.uint8, 2: np.uint16, 4: np.uint32}[flat.dtype.itemsize]).astype(np.uint32)
    places = xp.arange(bits.size, dtype=np.uint32)
    return (bits * (2 * places + 1)).sum(dtype=np.uint32)


def named_leaves(tree: Tree) -> Iterator[tuple[str, Any]]:
    """Yields the name, such as "ema_g/mapping/kernel", and the value of each leaf."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        yield jax.tree_util.keystr(path, simple=True, separator="/"), leaf
