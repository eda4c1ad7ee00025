"""Trees of arrays in `.npz` files, named by their place in the tree. Nothing in a file is ever executed."""

from __future__ import annotations

import hashlib
import io
import math
import warnings
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

MOST_UNPACKED = 1032  # bytes that deflate, the compression of `.npz` files, can make of one


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
        ValueError: it is no archive of arrays, is damaged, or was cut off.
        OSError: it cannot be read.
    """
    data = epath.Path(file).read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python, about what a damaged header seems to say
            members = archive.infolist()
            if sum(member.file_size for member in members) > MOST_UNPACKED * len(data):
                raise ValueError("the arrays are larger than the file can unpack to")
            arrays = {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}
        unflatten(arrays)
        if len(arrays) < len(members):
            raise ValueError("two arrays have the same name")
    except Exception as error:  # damage can make zipfile, zlib, numpy and ast raise nearly anything
        raise ValueError(f"{file} is damaged or no archive of arrays; write or download it again") from error
    return arrays


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """An array of an archive, as `read` returns it; no shape in a header takes memory that its bytes do not fill."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("an array is compressed in a way that numpy does not write")
    data = io.BytesIO(archive.read(member))
    version = np.lib.format.read_magic(data)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read_header(data)
    values = data.getbuffer()[data.tell() :]
    if dtype.kind not in "biuf" or math.prod(shape) * dtype.itemsize != len(values):
        raise ValueError("an array is of no numbers, or of another size than its shape says")
    array = np.frombuffer(values, dtype).reshape(shape, order="F" if fortran_order else "C")
    with np.errstate(all="ignore"):  # a number too large for float32 becomes infinite
        return array.astype(bool if dtype.kind == "b" else np.float32, order="C")


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
        target: a tree of anything with a shape and a dtype.
        settings: the name of the file that the shapes follow from.

    Returns:
        The tree, of jax arrays.

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
    return unflatten({name: jnp.asarray(arrays[name]) for name in wanted})
