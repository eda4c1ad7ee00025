"""Trees of arrays in `.npz` files, named by their place in the tree. Nothing in a file is ever executed."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from sdgan_jax import outputs

Tree = Any


def flatten(tree: Tree) -> dict[str, jax.Array]:
    """The arrays of a tree by their names, such as "params_g/mapping/dense_0/kernel"."""
    return flax.traverse_util.flatten_dict(tree, sep="/")


def unflatten(arrays: Mapping[str, Any]) -> Tree:
    """The reverse of `flatten`."""
    return flax.traverse_util.unflatten_dict(dict(arrays), sep="/")


def read(file: epath.PathLike) -> dict[str, np.ndarray]:
    """Reads an archive.

    Args:
        file: local or remote.

    Returns:
        Arrays by name, float32 but for those of bools.

    Raises:
        ValueError: it is no archive of arrays, or was cut off.
    """
    try:
        with np.load(io.BytesIO(epath.Path(file).read_bytes()), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, ValueError, EOFError, AttributeError) as error:  # the last: a lone .npy array
        raise ValueError(f"{file} is damaged or no archive of arrays; write or download it again") from error
    return {name: array if array.dtype == bool else array.astype(np.float32) for name, array in arrays.items()}


def write(file: epath.PathLike, tree: Tree, dtype: np.dtype | type = np.float32) -> None:
    """Writes an archive.

    Args:
        file: local or remote.
        tree: of arrays.
        dtype: of the numbers: float32, or float16 for half the size. Bools stay bools.
    """
    arrays: dict[str, Any] = {name: np.asarray(array) for name, array in flatten(jax.device_get(tree)).items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{k: v if v.dtype == bool else v.astype(dtype) for k, v in arrays.items()})
    with outputs.in_one_piece(file) as unfinished:
        unfinished.write_bytes(buffer.getvalue())


def digest(tree: Tree) -> str:
    """A short text that differs where names, shapes or numbers of a tree of arrays differ."""
    found = hashlib.blake2b(digest_size=8)
    for name, array in sorted(flatten(tree).items()):
        array = np.asarray(array)
        found.update(f"{name} {array.dtype} {array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def take(file: epath.PathLike, arrays: Mapping[str, np.ndarray], target: Tree, settings: str) -> Tree:
    """The tree of an archive's arrays, held against the shapes that it must have.

    Args:
        file: what to call the archive in messages.
        arrays: of it; those that the target has not are left out.
        target: a tree of anything with a shape.
        settings: the name of the file that the shapes follow from.

    Returns:
        The tree, of jax arrays.

    Raises:
        ValueError: arrays are missing or of other shapes; the first few are named.
    """
    wanted = flatten(target)
    wrong = [name for name in wanted if name not in arrays or arrays[name].shape != wanted[name].shape]
    if wrong:
        raise ValueError(f"{file} does not fit its {settings}: {len(wrong)} arrays differ, {', '.join(wrong[:3])} …")
    return unflatten({name: jnp.asarray(arrays[name]) for name in wanted})
