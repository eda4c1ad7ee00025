"""How the arrays of public formats lie, and the comparison of what a file holds with what its networks need.

A `Table` gives for each array of this project (its path in the trees of `training.gan.weights`) the name that a format
has for it, and the `Layout` it has there. The same table reads, writes, and tells the shape that a name must have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from sdgan_jax.importers.pickles import FileError, printable

SHOWN = 3  # names of each kind that a message lists
WRAPPERS = frozenset({"module", "_orig_mod"})  # parts of keys by DataParallel and by torch.compile


Item = TypeVar("Item")


class Layout(NamedTuple):
    """The way from a format's array to ours, and back."""

    read: Callable[[np.ndarray], np.ndarray]
    write: Callable[[np.ndarray], np.ndarray]


Table = dict[str, tuple[str, Layout]]


def _flip(kernel: np.ndarray) -> np.ndarray:
    return kernel[::-1, ::-1]


SAME = Layout(lambda x: x, lambda x: x)
DENSE = Layout(np.transpose, np.transpose)  # [out,in]; ours [in,out]
CONV = Layout(lambda x: x.transpose(2, 3, 1, 0), lambda x: x.transpose(3, 2, 0, 1))  # OIHW; ours HWIO
MODULATED = Layout(lambda x: CONV.read(x[0]), lambda x: CONV.write(x)[None])  # [1,O,I,H,W]
FLIPPED = Layout(_flip, _flip)  # HWIO turned by half a turn, as TensorFlow's up-sampling convolutions are
PLUS_ONE = Layout(lambda x: x + np.float32(1), lambda x: x - np.float32(1))  # a bias stored without the 1 it starts at
SCALAR = Layout(lambda x: x[0], lambda x: x[None])  # [1]; ours []
RGB_BIAS = Layout(lambda x: x[0, :, 0, 0], lambda x: x[None, :, None, None])  # [1,3,1,1]; ours [3]
MAP = Layout(lambda x: x[:, :, None], lambda x: x[:, :, 0])  # [H,W]; ours [H,W,1]
NCHW_MAP = Layout(lambda x: MAP.read(x[0, 0]), lambda x: MAP.write(x)[None, None])  # [1,1,H,W]
CHW = Layout(lambda x: x.transpose(1, 2, 0), lambda x: x.transpose(2, 0, 1))  # [C,H,W]; ours [H,W,C]
NCHW = Layout(lambda x: CHW.read(x[0]), lambda x: CHW.write(x)[None])  # [1,C,H,W]


def flat_rows(side: int) -> Layout:
    """A dense layer on a flattened map of `side`² pixels, whose inputs are in the order (C,H,W); ours are (H,W,C)."""

    def read(x: np.ndarray) -> np.ndarray:
        rows = x.reshape(-1, side, side, x.shape[-1])  # [C,H,W,out]
        return rows.transpose(1, 2, 0, 3).reshape(x.shape)

    def write(x: np.ndarray) -> np.ndarray:
        rows = x.reshape(side, side, -1, x.shape[-1])  # [H,W,C,out]
        return rows.transpose(2, 0, 1, 3).reshape(x.shape)

    return Layout(read, write)


def flat_columns(side: int) -> Layout:
    """The same, as [out,in]."""
    rows = flat_rows(side)
    return Layout(lambda x: rows.read(x.T), lambda x: rows.write(x).T)


FLAT_ROWS = flat_rows(4)
FLAT_COLUMNS = flat_columns(4)


def biased(path: str, key: str, layout: Layout, suffixes: tuple[str, str] = ("weight", "bias")) -> Table:
    """The two rows of a layer: its kernel in `layout`, and its bias."""
    return {f"{path}/kernel": (f"{key}{suffixes[0]}", layout), f"{path}/bias": (f"{key}{suffixes[1]}", SAME)}


def own_name(key: Any) -> str:
    """A key of a state dict without what wrappers of modules add to it, such as `module.` in front."""
    return ".".join(part for part in str(key).split(".") if part not in WRAPPERS)


def unwrapped(state: Mapping[Any, Item], source: str) -> dict[str, Item]:
    """A state dict under the names that its module has by itself (`own_name`).

    Args:
        state: of a module, wrapped or not, as a whole or in parts.
        source: what to call the file in messages.

    Returns:
        The same entries.

    Raises:
        FileError: two entries have the same name then.
    """
    found: dict[str, Item] = {}
    for key, item in state.items():
        if (name := own_name(key)) in found:
            raise FileError(f"{source} holds {printable(name)} twice, with and without `module.` in front; delete one")
        found[name] = item
    return found


def width(arrays: Mapping[str, np.ndarray], table: Table, path: str, otherwise: int = 0) -> int:
    """The length of a bias, or `otherwise` where the file lacks it (`take` then says so)."""
    array = arrays.get(table[path][0])
    return array.shape[-1] if array is not None and array.ndim else otherwise


def last_number(pattern: str, keys: Iterable[str]) -> int:
    """The highest number in the keys that a pattern with one group fits, -1 for none; at most six digits count."""
    return max((int(match[1][:6]) for key in keys if (match := re.fullmatch(pattern, key))), default=-1)


def take(
    source: str,
    what: str,
    arrays: Mapping[str, np.ndarray],
    table: Table,
    shapes: Mapping[str, tuple[int, ...]],
    kind: str = "a StyleGAN2",
) -> dict[str, np.ndarray]:
    """Reads the arrays of one network.

    Args:
        source: what to call the file in messages.
        what: what to call the network in messages.
        arrays: of the file, under the format's names.
        table: of the format.
        shapes: that our arrays must have, by path.
        kind: what to call such networks in messages.

    Returns:
        Our arrays, f32 in C order, by path.

    Raises:
        FileError: an array is missing, unexpected, of another shape, or not finite; the first few are named.
    """
    wanted = {}
    for path, (key, layout) in table.items():
        if path in shapes:
            wanted[key] = layout.write(np.broadcast_to(np.float32(0), shapes[path])).shape
    shape = {key: list(arrays[key].shape) for key in arrays}
    faults = [
        _listed("missing", [key for key in wanted if key not in arrays]),
        _listed("unexpected", [key for key in arrays if key not in wanted]),
        _listed(
            "misshaped",
            [
                f"{key} is {shape[key]}, expected {list(wanted[key])}"
                for key in wanted
                if key in arrays and tuple(shape[key]) != wanted[key]
            ],
        ),
    ]
    if any(faults):
        raise FileError(f"{source}: {what} is not {kind} that fits together; {'; '.join(filter(None, faults))}")
    with np.errstate(over="ignore"):  # a number too large for float32 becomes infinite, and is refused below
        ours = {
            path: np.ascontiguousarray(layout.read(arrays[key].astype(np.float32))).reshape(shapes[path])
            for path, (key, layout) in table.items()
            if path in shapes
        }
    if broken := [table[path][0] for path, array in ours.items() if not np.isfinite(array).all()]:
        raise FileError(f"{source}: {what} holds NaN or infinity; {_listed('not finite', broken)}")
    return ours


def put(table: Table, ours: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The reverse of `take`: arrays under the format's names, each in C order."""
    return {key: np.array(layout.write(np.asarray(ours[path])), order="C") for path, (key, layout) in table.items()}


def without_filters(source: str, arrays: Mapping[str, np.ndarray], suffixes: Iterable[str]) -> dict[str, np.ndarray]:
    """Leaves out the resampling filters, which the networks here do not store.

    Raises:
        FileError: one is not [1,3,3,1], the only one they know.
    """
    expected = np.outer((1, 3, 3, 1), (1, 3, 3, 1)) / 64
    for key, array in arrays.items():
        if key.endswith(tuple(suffixes)):
            values = np.asarray(array, np.float64)
            gain = 4.0 if values.shape == (4, 4) and values.sum() > 2 else 1.0  # of a filter after zeros are put in
            if values.shape != (4, 4) or not np.allclose(values, gain * expected, atol=1e-3):
                raise FileError(f"{source}: the filter {printable(key)} is not [1,3,3,1]; no other is known here")
    return {key: array for key, array in arrays.items() if not key.endswith(tuple(suffixes))}


def _listed(fault: str, names: list[str]) -> str:
    """A count and the first few names, "" for none."""
    if not names:
        return ""
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} {fault} ({', '.join(printable(name) for name in names[:SHOWN])}{more})"
