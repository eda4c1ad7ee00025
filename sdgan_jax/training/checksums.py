"""Checks of the arrays of a checkpoint: checksums, whether all numbers are finite, and names and shapes.

By the checksums a checkpoint is recognised that is not read as it was saved: the compression of checkpoints reports no
flipped bit in a file of numbers.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from sdgan_jax.pretrained import archive
from sdgan_jax.pretrained.archive import Tree


def checksums(state: Tree) -> dict[str, Any]:
    """Returns a number for each array of a state that changes with every bit of the array.

    Args:
        state: tree of numpy or jax arrays.

    Returns:
        By the name of the array, u32: sum of (2 i + 1) · bits_i modulo 2³², where i is the place in the flattened
        array.
    """
    return {name: _checksum(leaf) for name, leaf in archive.flatten(state).items()}


def finite(state: Tree) -> dict[str, Any]:
    """Returns whether all numbers of an array are finite, as bool, by the name of the array.

    Args:
        state: tree of numpy or jax arrays.
    """
    return {name: _is_finite(leaf) for name, leaf in archive.flatten(state).items()}


def examine(state: Tree) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns `checksums` and `finite` of a state as numbers on the host.

    Arrays in the memory of this process are examined by numpy: on CPU the program for hundreds of shapes takes eight
    seconds to compile. Others are examined on their devices.
    """
    if all(map(_is_here, jax.tree.leaves(state))):
        state = jax.tree.map(np.asarray, state)
        return checksums(state), finite(state)
    return jax.device_get(examine_on_devices(state))


@jax.jit
def examine_on_devices(state: Tree) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns `checksums` and `finite` of a state of jax arrays, which stay where they are."""
    return checksums(state), finite(state)


def check_arrays(folder: epath.Path, saved: Tree, wanted: Tree, partial: bool) -> None:
    """Compares names, shapes and dtypes: Orbax's own messages name no array, and it casts dtypes silently.

    Args:
        folder: the checkpoint, for the message.
        saved: its arrays.
        wanted: the expected arrays.
        partial: whether it may have others too.

    Raises:
        ValueError: they differ; some are named.
    """
    old, new = _types(saved), _types(wanted)
    wrong = [
        f"{name} is {old.get(name, 'missing')}, expected {kind}" for name, kind in new.items() if old.get(name) != kind
    ]
    if not partial:
        wrong += [f"{name} is not expected" for name in old if name not in new]
    if wrong:
        more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(f"{folder} does not fit the config: {'; '.join(wrong[:3])}{more}")


def _types(tree: Tree) -> dict[str, str]:
    """Returns the type of each array, such as "float32[8,8]", by its name."""
    return {k: f"{x.dtype}[{','.join(map(str, x.shape))}]" for k, x in archive.flatten(tree).items()}


def _is_here(array: Any) -> bool:
    """Tells whether numpy can read an array without moving it to another memory."""
    if not isinstance(array, jax.Array):
        return True
    return array.is_fully_addressable and all(device.platform == "cpu" for device in array.devices())


def _is_finite(array: Any) -> Any:
    """Returns whether all numbers of an array are finite, computed as the checksum is."""
    xp: Any = np if isinstance(array, np.ndarray | np.generic) else jnp
    return xp.isfinite(array).all() if jnp.issubdtype(array.dtype, jnp.inexact) else xp.bool_(True)


def _checksum(array: Any) -> Any:
    """Returns the checksum of one array, computed by numpy for numpy's arrays and by jax for others."""
    xp: Any = np if isinstance(array, np.ndarray | np.generic) else jnp
    array = xp.asarray(array)
    array = array.astype(np.uint8) if array.dtype == bool else array
    bits = array.view({1: np.uint8, 2: np.uint16, 4: np.uint32}[array.dtype.itemsize]).astype(np.uint32)
    # Places in the flattened array, which is not formed: an array that lies on several devices would be gathered.
    places = xp.zeros((), np.uint32)
    for size in array.shape:
        places = places[..., None] * np.uint32(size) + xp.arange(size, dtype=np.uint32)
    return (bits * (2 * places + 1)).sum(dtype=np.uint32)
