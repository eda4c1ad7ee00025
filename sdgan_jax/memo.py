"""Results on disk that follow from the code and from settings alone, so that a later start reads them.

Such a result is the tree of shapes that a network's weights must have: to find it, JAX traces the whole network, which
takes longer than reading the weights. Results are files in the folder of JAX's compilation cache, where there is one,
and are named by what they depend on: the source of this package and of `tfds_megn`, the versions of what they import,
and what the caller gives.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
from jax.typing import DTypeLike

import tfds_megn
from tfds_megn.listing import is_remote

_DIGEST = 16  # bytes of a checksum
_PACKAGES = ("jax", "jaxlib", "flax", "numpy")


def recall(name: str, given: str, compute: Callable[[], bytes]) -> bytes:
    """Returns `compute()`, or what an earlier start kept of it.

    Nothing is kept where JAX has no compilation cache on a local disk, or its folder cannot be written. A damaged file
    is replaced.

    Args:
        name: name of the result; the beginning of the file's name.
        given: what the result depends on, beside the code.
        compute: the function, whose errors are raised and not kept.
    """
    folder = jax.config.values["jax_compilation_cache_dir"]
    if not folder or is_remote(folder) or not jax.config.values["jax_enable_compilation_cache"]:
        return compute()
    depends = f"{_code()} {jax.config.values['jax_enable_x64']} {name} {given}"
    path = os.path.join(folder, f"{name}-{_digest(depends.encode()).hex()}")
    with contextlib.suppress(OSError), open(path, "rb") as file:
        kept = file.read()
        if kept[:_DIGEST] == _digest(kept[_DIGEST:]):
            return kept[_DIGEST:]
    result = compute()
    with contextlib.suppress(OSError):
        os.makedirs(folder, exist_ok=True)  # JAX has not compiled yet
        unfinished = f"{path}.{os.getpid()}"
        with open(unfinished, "wb") as file:
            file.write(_digest(result) + result)
        os.replace(unfinished, path)
    return result


def shapes(name: str, given: str, compute: Callable[[], Any]) -> Any:
    """Returns the shapes of `compute()`, nested dicts of leaves with a shape and a dtype; see `recall`."""
    return _decode(json.loads(recall(name, given, lambda: json.dumps(_encode(compute())).encode())))


def _encode(tree: Any) -> Any:
    """Writes nested dicts of leaves with a shape and a dtype as JSON: a leaf is the dtype and the lengths of axes."""
    if isinstance(tree, dict):
        return {name: _encode(part) for name, part in tree.items()}
    return [str(tree.dtype), *tree.shape]


def _decode(tree: Any) -> Any:
    """Reads what `_encode` wrote."""
    if isinstance(tree, dict):
        return {name: _decode(part) for name, part in tree.items()}
    dtype: DTypeLike = tree[0]
    return jax.ShapeDtypeStruct(tuple(tree[1:]), dtype)


@functools.cache
def _code() -> str:
    """Returns a name of the source files of both packages, and of the versions of what they import."""
    found = hashlib.blake2b(sys.version.encode(), digest_size=_DIGEST)
    for package in _PACKAGES:
        found.update(f"{package} {metadata.version(package)}\n".encode())
    for folder in (Path(__file__).parent, Path(tfds_megn.__file__).parent):
        for path in sorted(folder.rglob("*.py")):
            found.update(os.fsencode(path.relative_to(folder)) + b"\0")
            found.update(path.read_bytes())
    return found.hexdigest()


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST).digest()
