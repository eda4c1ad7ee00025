"""Numpy arrays from the records of `pickles.read` and from the container files of torch.

Arrays are views of the file's bytes, so that a shape or stride of a hostile file cannot allocate memory.
"""

from __future__ import annotations

import functools
import io
import itertools
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import jax.numpy as jnp
import numpy as np

from sdgan_jax.importers import pickles
from sdgan_jax.importers.pickles import Call, FileError, Name, Persistent
from sdgan_jax.pretrained import directories

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_VERSION = 1001
DEPTH = 3  # levels of nested dicts that are searched
MOST_DICTS = 100  # dicts of one level that are searched; a training checkpoint has ten

_DTYPES: dict[str, np.dtype] = {
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "DoubleStorage": np.dtype("<f8"),
    "BFloat16Storage": np.dtype(jnp.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
Storages = Callable[[str], Any]  # from the key of a storage outside of the pickle to its bytes


class _Misfit(Exception):
    """The description of an array does not fit its bytes; the message is the reason."""


def as_dict(value: Any) -> dict[Any, Any] | None:
    """Returns a dict, `OrderedDict` or `EasyDict` as a dict, None for any other value."""
    if isinstance(value, dict):
        return value
    if isinstance(value, Call) and value.name.name in ("OrderedDict", "EasyDict"):
        pairs = value.args[0] if value.args and isinstance(value.args[0], list) else []
        pairs = [pair for pair in pairs if isinstance(pair, list | tuple) and len(pair) == 2]
        return {key: item for key, item in pairs if isinstance(key, str)} | value.items
    return None


def dicts(value: Any) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Yields all dicts in a record, outer ones first, each with its path of keys, such as "state_dict.g_ema"."""
    level = [("", value)]
    seen: set[int] = set()  # a record may contain itself
    for _ in range(DEPTH):
        level = [(name, item) for name, item in level if id(item) not in seen]
        seen |= {id(item) for _, item in level}
        found = [(name, tree) for name, item in level if (tree := as_dict(item)) is not None]
        yield from found
        inner = (
            (f"{name}.{key}".lstrip("."), item)
            for name, tree in found
            for key, item in tree.items()
            if isinstance(item, dict | Call) and as_dict(item)
        )
        level = list(itertools.islice(inner, MOST_DICTS))


def decode(value: Any, source: str, storages: Storages | None = None) -> np.ndarray | None:
    """Returns the array that a record describes.

    Args:
        value: a value from `pickles.read`.
        source: name of the file in messages.
        storages: maps the key of a torch storage outside of the pickle to its bytes.

    Returns:
        A view of the file's bytes, of any dtype and strides; None when the record is not an array.

    Raises:
        FileError: shape, strides or dtype do not fit the bytes.
    """
    if not isinstance(value, Call):
        return None
    try:
        if value.name.name == "_rebuild_parameter":
            value = value.args[0]
        if value.name.name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return _tensor(value, source, storages)
        if value.name.name in ("_reconstruct", "scalar", "_frombuffer"):
            return _numpy(value)
    except FileError:
        raise
    except _Misfit as error:
        raise FileError(f"{source} is damaged: {error}") from error
    except Exception as error:  # arguments of a wrong type or number raise anything
        raise FileError(f"{source} is damaged: the description of an array is malformed") from error
    return None


def state_dict(state: Mapping[Any, Any], source: str, storages: Storages) -> dict[str, np.ndarray]:
    """Returns the arrays of a module's state dict by name; other entries are left out.

    Raises:
        FileError: an array does not fit its bytes; see `decode`.
    """
    found = {str(key): decode(item, source, storages) for key, item in state.items()}
    return {key: array for key, array in found.items() if array is not None}


def number(value: Any, source: str, otherwise: float) -> float:
    """Returns a setting of a layer as a float, `otherwise` for None; numbers that numpy pickled are read too.

    Raises:
        FileError: the value is not a number from 0 to 2^31.
    """
    value = otherwise if value is None else value
    array = decode(value, source)
    if array is not None and array.size == 1:
        value = array.item()
    if not isinstance(value, int | float) or not 0 <= value <= 2**31:
        raise FileError(f"{source}: a setting of a layer is {pickles.printable(value, 20)}; it must be a number")
    return float(value)


def _tensor(call: Call, source: str, storages: Storages | None) -> np.ndarray:
    """Returns a torch tensor; its record has storage, offset, shape and strides, the last three in elements."""
    storage, offset, shape, strides = call.args[:4]
    (offset,), shape, strides = _sizes([offset]), _sizes(shape), _sizes(strides)
    flat = _storage(storage, source, storages)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if math.prod(shape) and (last >= flat.size or math.prod(shape) > flat.size):
        # The second condition: with strides of 0, a single number could have any shape.
        raise _Misfit(f"a tensor of shape {list(shape)} does not lie inside its {flat.size} numbers")
    steps = [stride * flat.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(flat[offset:], shape, steps, writeable=False)


def _sizes(values: Any) -> tuple[int, ...]:
    """Checks a shape, strides or offset: at most 8 whole numbers that are not negative."""
    if isinstance(values, Call):  # torch.Size
        values = values.args[0]
    if len(values) > 8 or not all(type(value) is int and 0 <= value < 2**40 for value in values):
        raise _Misfit("the shape of an array is absurd")
    return tuple(values)


def _storage(value: Any, source: str, storages: Storages | None) -> np.ndarray:
    """Returns the numbers of a torch storage as a flat array."""
    if isinstance(value, Call) and value.name.name == "_load_from_bytes":
        data = _bytes(value.args[0])
        value, storages = read_legacy(io.BytesIO(data), source, memoryview(data))
    if not isinstance(value, Persistent) or storages is None:
        raise _Misfit("a tensor has no storage")
    _, kind, key, _, count = value.key[:5]
    if any(view is not None for view in value.key[5:]):
        raise _Misfit("the storage of a tensor is a view of another, which torch has not written since 2018")
    dtype, data = _DTYPES[kind.name], storages(_text(key))
    if (count,) != _sizes([count]) or count * dtype.itemsize != len(data):
        raise _Misfit(f"a tensor should have {count} numbers of {dtype}, and has {len(data)} bytes")
    return np.frombuffer(data, dtype)


def _text(key: Any) -> str:
    """Checks the key of a storage, which torch writes as text: a hostile file's may have neither a text nor a hash."""
    if not isinstance(key, str):
        raise _Misfit("the key of a storage is not text")
    return key


def _numpy(call: Call) -> np.ndarray:
    """Returns a numpy array or scalar."""
    order: Any
    if call.name.name == "scalar":
        dtype, data = call.args
        shape: Any = ()
        order = "C"
    elif call.name.name == "_frombuffer":
        data, dtype, shape, order = call.args
    else:
        _, shape, dtype, fortran, data = call.state
        order = "F" if fortran else "C"
    dtype, shape, data = _numpy_dtype(dtype), _sizes(shape), _bytes(data)
    if math.prod(shape) * dtype.itemsize != len(data):
        raise _Misfit(f"an array of shape {list(shape)} has {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _numpy_dtype(call: Call) -> np.dtype:
    """Returns a numpy dtype; only numbers are allowed, because bytes must not become Python objects."""
    if call.name != Name("numpy", "dtype") or call.args[0] not in ("f2", "f4", "f8", "i4", "i8", "u1", "b1"):
        raise _Misfit("an array has a dtype other than numbers")
    return np.dtype(call.args[0]).newbyteorder(">" if call.state and call.state[1] == ">" else "<")


def _bytes(value: Any) -> bytes | bytearray:
    """Returns bytes; pickles of protocols 0 to 2 store them as text in latin1."""
    if isinstance(value, Call) and value.name == Name("_codecs", "encode"):
        if value.state is None:
            value.state = value.args[0].encode("latin1")  # cached: many arrays may share it
        return value.state
    return value if isinstance(value, bytes | bytearray) else value.encode("latin1")


def read_torch(file: BinaryIO, source: str) -> tuple[Any, Storages]:
    """Reads a file of torch.save, of any version.

    Args:
        file: binary file at its start.
        source: name of the file in messages.

    Returns:
        The saved value as records, and its storages.

    Raises:
        FileError: the file cannot be read; see `read_zip` and `read_legacy`.
    """
    is_zip = file.read(2) == b"PK"
    file.seek(0)
    return (read_zip if is_zip else read_legacy)(file, source)


def read_legacy(file: BinaryIO, source: str, data: Any = None) -> tuple[Any, Storages]:
    """Reads the format of torch.save before version 1.6, which torch still writes for a single storage.

    The file has five pickles (a magic number, the version of the format, facts about the machine, the saved value, the
    keys of its storages) and then, for each key, the count of its numbers (i64) and the numbers.

    Args:
        file: binary file at its start.
        source: name of the file in messages.
        data: the bytes of the file, if they are in memory already.

    Returns:
        The saved value as records, and its storages.

    Raises:
        FileError: the file has another format, or is cut off.
    """
    if [pickles.read(file, source) for _ in range(3)][:2] != [LEGACY_MAGIC, LEGACY_VERSION]:
        raise FileError(f"{source} is damaged: it is not a file of torch")
    references: list[Persistent] = []
    saved, keys = pickles.read(file, source, references), pickles.read(file, source)
    position = file.tell()
    size = file.seek(0, io.SEEK_END)
    places: dict[str, tuple[int, int]] = {}
    try:
        itemsize = {_text(reference.key[2]): _DTYPES[reference.key[1].name].itemsize for reference in references}
        for key in map(_text, keys):
            file.seek(position)
            count = int.from_bytes(file.read(8), "little")
            places[key] = (position + 8, position + 8 + count * itemsize[key])
            position = places[key][1]
    except Exception as error:  # keys of a wrong type
        raise FileError(f"{source} is damaged: it is not a file of torch") from error
    if position > size:
        raise FileError(f"{source} is cut off; download it again")

    @functools.cache
    def storages(key: str) -> Any:
        first, last = places[key]
        if data is not None:
            return data[first:last]
        file.seek(first)
        return file.read(last - first)

    return saved, storages


def read_zip(file: BinaryIO, source: str) -> tuple[Any, Storages]:
    """Reads the format of torch.save since version 1.6: a zip archive of `data.pkl` and a file for each storage.

    Args:
        file: binary file.
        source: name of the file in messages.

    Returns:
        The saved value as records, and its storages.

    Raises:
        FileError: the file is not such an archive, is cut off, or would unpack to more bytes than it has.
    """
    size = file.seek(0, io.SEEK_END)
    try:
        archive = zipfile.ZipFile(file)
        members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError) as error:
        raise FileError(f"{source} is cut off or damaged; download it again") from error
    packed = [member.filename for member in members if member.compress_type != zipfile.ZIP_STORED]
    if packed or sum(member.file_size for member in members) > size:
        raise FileError(f"{source} is compressed, which torch.save never does: it could unpack to any size; refused")
    names = {member.filename for member in members}
    roots = [name.removesuffix("data.pkl") for name in names if name.split("/")[1:] == ["data.pkl"]]
    if not roots and names and all(name.endswith(".npy") for name in names):
        raise FileError(f"{source} is an archive of numpy; if it belongs to a model directory, give that directory")
    if len(roots) != 1:
        raise FileError(f"{source} is a zip archive, but not of torch.save (it has no data.pkl)")
    root = roots[0]
    if any(name.startswith(f"{root}code/") for name in names):
        raise FileError(
            f"{source} is a program of TorchScript, and nothing in a file is executed; instead of NVlabs' Inception "
            f"take {directories.PUBLISHED['inception']}: they hold the same network"
        )

    @functools.cache
    def member(name: str) -> bytes:
        if root + name not in names:
            raise FileError(f"{source} is damaged: the storage of a tensor is missing ({pickles.printable(name)})")
        try:
            return archive.read(root + name)
        except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, RuntimeError) as error:
            raise FileError(f"{source} is cut off or damaged; download it again") from error

    if root + "byteorder" in names and member("byteorder") != b"little":
        raise FileError(f"{source} was written on a big-endian machine; save it again on a little-endian one")
    saved = pickles.read(io.BytesIO(member("data.pkl")), source)
    return saved, lambda key: member(f"data/{key}")
