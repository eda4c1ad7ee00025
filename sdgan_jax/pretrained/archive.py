"""Trees of arrays in safetensors files, named by their place in the tree. Nothing in a file is ever executed."""

from __future__ import annotations

import hashlib
import io
import json
import shlex
import sys
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import jax
import numpy as np
import safetensors.numpy
from etils import epath

from sdgan_jax import outputs

Tree = Any  # a tree of arrays

_MOST_UNPACKED = 100  # bytes for each byte of an .npz; weights have less than 2, zeros among them more
_FINGERPRINT = "fingerprint"  # key of a file's metadata


def flatten(tree: Tree) -> dict[str, Any]:
    """Returns the leaves of a tree by their names, such as "params_g/mapping/dense_0/kernel"."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def unflatten(arrays: Mapping[str, Any]) -> Tree:
    """Returns the tree of nested dicts that `flatten` names so.

    Raises:
        ValueError: a name is also the beginning of another one.
    """
    return flax.traverse_util.unflatten_dict(dict(arrays), sep="/")


def fingerprint(tree: Tree) -> str:
    """Returns a short text that differs where names, dtypes, shapes or numbers of a tree of arrays differ."""
    found = hashlib.blake2b(digest_size=8)
    for name, array in sorted(flatten(tree).items()):
        array = np.asarray(array)
        found.update(f"{name} {array.dtype} {array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def write(file: epath.PathLike, tree: Tree, dtype: np.dtype | type | None = np.float32) -> None:
    """Writes a safetensors file in one piece.

    Args:
        file: local or remote.
        tree: tree of arrays.
        dtype: type of the stored numbers: float32, or float16 for half the size; None for the type of each array.
            Bools stay bools.

    Raises:
        ValueError: a number is too large for float16.
    """
    arrays = {}
    for name, leaf in flatten(jax.device_get(tree)).items():
        kept = np.asarray(leaf).dtype == bool
        with np.errstate(over="ignore"):
            arrays[name] = np.asarray(leaf, bool if kept else dtype, order="C")  # safetensors reads memory as it lies
        if dtype == np.float16 and not kept and np.isinf(arrays[name]).any() and not np.isinf(np.asarray(leaf)).any():
            raise ValueError(f"{name} has numbers that are too large for float16; write the model as float32")
    data = safetensors.numpy.save(arrays, {_FINGERPRINT: fingerprint(arrays)})
    with outputs.in_one_piece(file) as unfinished:
        unfinished.write_bytes(data)


def read(file: epath.PathLike) -> dict[str, np.ndarray]:
    """Reads a file of arrays. A line on the standard error says how to rewrite one in the old format, `.npz`.

    Args:
        file: local or remote.

    Returns:
        Arrays by name: bools as bools, all else as float32.

    Raises:
        ValueError: the file is damaged, was cut off, or contains something else than arrays of numbers.
        OSError: the file cannot be read.
    """
    if epath.Path(file).suffix == ".npz":
        folder = shlex.quote(str(epath.Path(file).parent))
        command = f"python -m experiments.convert --source={folder} --out=DIR"
        print(f"{file} is in the old format; rewrite it by `{command}`", file=sys.stderr)
    with np.errstate(all="ignore"):  # a number too large for float32 becomes infinite
        return {k: v if v.dtype == bool else v.astype(np.float32, copy=False) for k, v in load(file).items()}


def rewrite(source: epath.PathLike, target: epath.PathLike) -> None:
    """Writes the arrays of a file, of either format, to a safetensors file, without a loss.

    Args:
        source: the file that is read.
        target: the file that is written: float16 where all numbers of the source are float16, else float32.

    Raises:
        ValueError, OSError: see `read` and `write`.
    """
    arrays = load(source)
    halves = all(array.dtype in (bool, np.float16) for array in arrays.values())
    write(target, unflatten(arrays), np.float16 if halves else np.float32)


def load(file: epath.PathLike) -> dict[str, np.ndarray]:
    """Reads a file of arrays; they have the types that they are stored in. For argument and errors see `read`."""
    data = epath.Path(file).read_bytes()
    try:
        arrays = _from_npz(data) if epath.Path(file).suffix == ".npz" else _from_safetensors(data)
        unflatten(dict(sorted(arrays.items())))  # in this order "a" beside "a/b" is refused
        if any(array.dtype.kind not in "biuf" for array in arrays.values()):
            raise ValueError("an array contains something else than numbers")
    except Exception as error:  # damage can make safetensors, zipfile, zlib and numpy raise nearly anything
        raise ValueError(f"{file} is damaged or not a file of arrays; write or download it again") from error
    return arrays


def _from_safetensors(data: bytes) -> dict[str, np.ndarray]:
    """Returns the arrays of a safetensors file, checked against the fingerprint in its metadata, if there is one."""
    arrays = safetensors.numpy.load(data)  # checks the length of the header before it uses it
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    if header.get("__metadata__", {}).get(_FINGERPRINT, found := fingerprint(arrays)) != found:
        raise ValueError("the arrays are not those that were written")
    return arrays


def _from_npz(data: bytes) -> dict[str, np.ndarray]:
    """Returns the arrays of an `.npz` file; pickled objects are refused, and so is what unpacks to far too much."""
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        if sum(member.file_size for member in packed.infolist()) > _MOST_UNPACKED * len(data):
            raise ValueError("it unpacks to far more than weights do")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, about what a damaged header seems to say
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}


def take(file: epath.PathLike, arrays: Mapping[str, np.ndarray], target: Tree, settings: str) -> Tree:
    """Returns arrays as a tree, after a check of their names and shapes.

    Args:
        file: name of the file in messages.
        arrays: what `read` returned; names that the target lacks are left out.
        target: tree of leaves with a shape and a dtype.
        settings: name of the JSON file that the shapes follow from.

    Returns:
        A tree of jax arrays, like `target`.

    Raises:
        ValueError: arrays are missing, of other shapes, or bools in the place of numbers; the first few are named.
    """
    wanted = flatten(target)
    wrong = [
        name
        for name, leaf in wanted.items()
        if name not in arrays
        or arrays[name].shape != leaf.shape
        or (arrays[name].dtype == bool) != (leaf.dtype == bool)
    ]
    if wrong:
        raise ValueError(f"{file} does not fit its {settings}: {len(wrong)} arrays differ, {', '.join(wrong[:3])} …")
    return unflatten(jax.device_put({name: arrays[name] for name in wanted}))  # at once: there may be hundreds
