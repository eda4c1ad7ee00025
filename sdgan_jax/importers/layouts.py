"""Names and axes of arrays in public formats, and the check of a file's arrays against those of a network.

A `Table` maps the path of each array of this project (in the trees of `training.gan.weights`) to its name in a format
and its `Layout` there. The same table is used to read, to write, and to compute the shape that a name must have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import flax.traverse_util
import numpy as np

from sdgan_jax.importers.pickles import FileError, printable

SHOWN = 3  # number of names of each kind in a message
WRAPPERS = frozenset({"module", "_orig_mod"})  # parts of keys that DataParallel and torch.compile add


Item = TypeVar("Item")


class Layout(NamedTuple):
    """Conversion of an array of a format to ours (`read`), and its inverse (`write`)."""

    read: Callable[[np.ndarray], np.ndarray]
    write: Callable[[np.ndarray], np.ndarray]


Table = dict[str, tuple[str, Layout]]


def _flip(kernel: np.ndarray) -> np.ndarray:
    return kernel[::-1, ::-1]


SAME = Layout(lambda x: x, lambda x: x)
DENSE = Layout(np.transpose, np.transpose)  # [out,in]; ours [in,out]
CONV = Layout(lambda x: x.transpose(2, 3, 1, 0), lambda x: x.transpose(3, 2, 0, 1))  # OIHW; ours HWIO
MODULATED = Layout(lambda x: CONV.read(x[0]), lambda x: CONV.write(x)[None])  # [1,O,I,H,W]
FLIPPED = Layout(_flip, _flip)  # HWIO rotated by 180°, as in TensorFlow's up-sampling convolutions
PLUS_ONE = Layout(lambda x: x + np.float32(1), lambda x: x - np.float32(1))  # a bias stored minus its initial value 1
SCALAR = Layout(lambda x: x[0], lambda x: x[None])  # [1]; ours []
RGB_BIAS = Layout(lambda x: x[0, :, 0, 0], lambda x: x[None, :, None, None])  # [1,3,1,1]; ours [3]
MAP = Layout(lambda x: x[:, :, None], lambda x: x[:, :, 0])  # [H,W]; ours [H,W,1]
NCHW_MAP = Layout(lambda x: MAP.read(x[0, 0]), lambda x: MAP.write(x)[None, None])  # [1,1,H,W]
CHW = Layout(lambda x: x.transpose(1, 2, 0), lambda x: x.transpose(2, 0, 1))  # [C,H,W]; ours [H,W,C]
NCHW = Layout(lambda x: CHW.read(x[0]), lambda x: CHW.write(x)[None])  # [1,C,H,W]


def flat_rows(side: int) -> Layout:
    """Returns the layout [in,out] of a dense layer on `side`² pixels, flattened as (C,H,W); ours as (H,W,C)."""

    def read(x: np.ndarray) -> np.ndarray:
        rows = x.reshape(-1, side, side, x.shape[-1])  # [C,H,W,out]
        return rows.transpose(1, 2, 0, 3).reshape(x.shape)

    def write(x: np.ndarray) -> np.ndarray:
        rows = x.reshape(side, side, -1, x.shape[-1])  # [H,W,C,out]
        return rows.transpose(2, 0, 1, 3).reshape(x.shape)

    return Layout(read, write)


def flat_columns(side: int) -> Layout:
    """Returns the layout [out,in] of the layer of `flat_rows`."""
    rows = flat_rows(side)
    return Layout(lambda x: rows.read(x.T), lambda x: rows.write(x).T)


FLAT_ROWS = flat_rows(4)
FLAT_COLUMNS = flat_columns(4)


def biased(path: str, key: str, layout: Layout, suffixes: tuple[str, str] = ("weight", "bias")) -> Table:
    """Returns the two rows of a layer: the kernel in `layout`, and the bias."""
    return {f"{path}/kernel": (f"{key}{suffixes[0]}", layout), f"{path}/bias": (f"{key}{suffixes[1]}", SAME)}


def batch_norm(path: str, key: str, statistics: str = "batch_stats/") -> Table:
    """Returns the four rows of a batch normalisation of PyTorch; mean and variance are ours under `statistics`."""
    return {
        f"params/{path}/scale": (f"{key}.weight", SAME),
        f"params/{path}/bias": (f"{key}.bias", SAME),
        f"{statistics}{path}/mean": (f"{key}.running_mean", SAME),
        f"{statistics}{path}/var": (f"{key}.running_var", SAME),
    }


def shapes_of(tree: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the arrays of nested dicts by path, such as "params/conv/kernel"."""
    return {path: leaf.shape for path, leaf in flax.traverse_util.flatten_dict(dict(tree), sep="/").items()}


def own_name(key: Any) -> str:
    """Returns a key of a state dict without the parts that wrappers of modules add, such as `module.` in front."""
    return ".".join(part for part in str(key).split(".") if part not in WRAPPERS)


def unwrapped(state: Mapping[Any, Item], source: str) -> dict[str, Item]:
    """Returns the entries of a state dict under the names of the module without wrappers (`own_name`).

    Args:
        state: state dict of a module; any of its keys may come from a wrapper.
        source: name of the file in messages.

    Raises:
        FileError: two keys differ by the parts of wrappers alone.
    """
    found: dict[str, Item] = {}
    for key, item in state.items():
        if (name := own_name(key)) in found:
            raise FileError(f"{source} holds {printable(name)} twice, with and without `module.` in front; delete one")
        found[name] = item
    return found


def width(arrays: Mapping[str, np.ndarray], table: Table, path: str, otherwise: int = 0) -> int:
    """Returns the length of a bias, or `otherwise` where the file lacks it (`take` then reports it)."""
    array = arrays.get(table[path][0])
    return array.shape[-1] if array is not None and array.ndim else otherwise


def last_number(pattern: str, keys: Iterable[str]) -> int:
    """Returns the highest number in the group of a pattern that matches keys, -1 for none; six digits are read."""
    return max((int(match[1][:6]) for key in keys if (match := re.fullmatch(pattern, key))), default=-1)


def take(
    source: str,
    what: str,
    arrays: Mapping[str, np.ndarray],
    table: Table,
    shapes: Mapping[str, tuple[int, ...]],
    kind: str = "a StyleGAN2",
) -> dict[str, np.ndarray]:
    """Converts the arrays of one network to ours.

    Args:
        source: name of the file in messages.
        what: name of the network in messages.
        arrays: the file's arrays under the format's names.
        table: the names and layouts of the format.
        shapes: shapes of our arrays by path.
        kind: name of the kind of network in messages.

    Returns:
        Our arrays by path, f32 in C order.

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
        raise FileError(f"{source}: {what} does not fit {kind}; {'; '.join(filter(None, faults))}")
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
    """Returns our arrays under the format's names, in C order: the inverse of `take`."""
    return {key: np.array(layout.write(np.asarray(ours[path])), order="C") for path, (key, layout) in table.items()}


def without_filters(source: str, arrays: Mapping[str, np.ndarray], suffixes: Iterable[str]) -> dict[str, np.ndarray]:
    """Returns the arrays without the resampling filters, which are constants here.

    Args:
        source: name of the file in messages.
        arrays: the file's arrays.
        suffixes: ends of the names of the filters.

    Raises:
        FileError: a filter is not [1,3,3,1], the only one that is implemented.
    """
    expected = np.outer((1, 3, 3, 1), (1, 3, 3, 1)) / 64
    for key, array in arrays.items():
        if key.endswith(tuple(suffixes)):
            values = np.asarray(array, np.float64)
            gain = 4.0 if values.shape == (4, 4) and values.sum() > 2 else 1.0  # gain of an up-sampling filter
            if values.shape != (4, 4) or not np.allclose(values, gain * expected, atol=1e-3):
                raise FileError(f"{source}: the filter {printable(key)} is not [1,3,3,1]; no other is supported")
    return {key: array for key, array in arrays.items() if not key.endswith(tuple(suffixes))}


def _listed(fault: str, names: list[str]) -> str:
    """Returns the number of faults and the first few names, "" for no fault."""
    if not names:
        return ""
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} {fault} ({', '.join(printable(name) for name in names[:SHOWN])}{more})"
