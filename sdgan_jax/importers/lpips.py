"""Reader of LPIPS: the trunk in a file of torchvision, and the heads of the PyPI package lpips.

The trunk is a state dict of torchvision's VGG16 or AlexNet (`vgg16-397923af.pth`, `alexnet-owt-7be5be79.pth`), whose
classifier is left out. The heads are `lpips/weights/v0.1/vgg.pth` or `alex.pth` of the package.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from sdgan_jax import outputs
from sdgan_jax.importers import arrays, layouts
from sdgan_jax.importers.assembly import Network
from sdgan_jax.importers.layouts import CONV, RGB_BIAS, Table
from sdgan_jax.importers.pickles import FileError
from sdgan_jax.nets.lpips import GROUPS, LEAST, WIDTHS, Lpips

HEADS = {"vgg16": "vgg.pth", "alexnet": "alex.pth"}  # files in lpips/weights/v0.1
# torchvision's numbers of the convolutions.
_LAYERS = {"vgg16": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), "alexnet": (0, 3, 6, 8, 10)}
_HEAD = re.compile(r"lin[0-4]\.model\.1\.weight")


def is_trunk(keys: Iterable[str]) -> bool:
    """Returns whether the keys of a state dict are those of torchvision's VGG16 or AlexNet."""
    return _trunk_of(keys) is not None


def is_heads(keys: Iterable[str]) -> bool:
    """Returns whether the keys of a state dict are those of LPIPS' heads alone."""
    keys = list(map(layouts.own_name, keys))
    return bool(keys) and all(map(_HEAD.fullmatch, keys))


def read_heads(source: str, trunk: str, path: epath.PathLike = "") -> dict[str, np.ndarray]:
    """Reads the heads of a trunk.

    Args:
        source: file of the trunk.
        trunk: "vgg16" or "alexnet".
        path: file of the heads, "" for the file of their name in the folder of the trunk.

    Returns:
        Arrays by key.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is a pipe or holds something else.
    """
    file = epath.Path(path) if path else epath.Path(source).parent / HEADS[trunk]
    if not file.exists():
        raise FileNotFoundError(
            f"{source} is a trunk of LPIPS, and {file} does not exist; give the file of its heads by --lpips_heads: "
            f"lpips/weights/v0.1/{HEADS[trunk]} of the PyPI package lpips"
        )
    outputs.check_file(file, str(file))
    with file.open("rb") as opened:
        saved, storages = arrays.read_torch(opened, str(file))
        tree = arrays.as_dict(saved) or {}
        if not is_heads(map(str, tree)):
            raise FileError(f"{file} does not hold the heads of LPIPS, as lpips/weights/v0.1/{HEADS[trunk]} does")
        return arrays.state_dict(tree, str(file), storages)


def network_of(state: Mapping[str, np.ndarray], source: str, heads: epath.PathLike = "") -> Network:
    """Returns the network ready for `pretrained.write`.

    Args:
        state: the arrays of the trunk by key.
        source: its file.
        heads: see `read_heads`.

    Raises:
        FileNotFoundError, FileError: see `read_heads` and `variables_of`.
    """
    trunk = _trunk_of(state)
    assert trunk is not None  # see is_trunk
    settings, variables = variables_of(state, read_heads(source, trunk, heads), source)
    return Network("lpips", settings, variables, f"LPIPS with {trunk}")


def variables_of(
    state: Mapping[str, np.ndarray], heads: Mapping[str, np.ndarray], source: str = "the state dict"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns settings and variables of `nets.lpips.Lpips`.

    Args:
        state: the arrays of the trunk by key, with or without `module.` in front.
        heads: those of the heads.
        source: name of the file in messages.

    Returns:
        The settings `trunk` and `widths`; the variables `params`, f32.

    Raises:
        FileError: an array is missing, unexpected, of another shape, or not finite; the first few are named.
    """
    state = layouts.unwrapped(state, source)
    trunk = _trunk_of(state)
    if trunk is None:
        raise FileError(f"{source} holds neither torchvision's VGG16 nor its AlexNet")
    state = {key: array for key, array in state.items() if key.startswith("features.")}
    names = table(trunk)
    ends = [f"params/conv_{group}_{count - 1}/kernel" for group, count in enumerate(GROUPS[trunk])]
    kernels = [state[names[path][0]] for path in ends]
    widths = tuple(
        kernel.shape[0] if kernel.ndim == 4 and kernel.shape[0] else width
        for kernel, width in zip(kernels, WIDTHS[trunk], strict=True)
    )
    images = jax.ShapeDtypeStruct((1, LEAST[trunk], LEAST[trunk], 3), jnp.float32)
    flat = layouts.shapes_of(jax.eval_shape(Lpips(trunk, widths).init, jax.random.key(0), images, images))
    found = {**state, **layouts.unwrapped(heads, source)}
    ours = layouts.take(source, "LPIPS", found, names, flat, kind=f"LPIPS with {trunk}")
    return {"trunk": trunk, "widths": widths}, flax.traverse_util.unflatten_dict(ours, sep="/")


def table(trunk: str) -> Table:
    """Returns the names of the arrays of trunk and heads by path."""
    paths = [f"params/conv_{group}_{index}" for group, count in enumerate(GROUPS[trunk]) for index in range(count)]
    names: Table = {}
    for path, layer in zip(paths, _LAYERS[trunk], strict=True):
        names |= layouts.biased(path, f"features.{layer}.", CONV)
    return names | {f"params/head_{group}": (f"lin{group}.model.1.weight", RGB_BIAS) for group in range(5)}


def _trunk_of(keys: Iterable[str]) -> str | None:
    """Returns the trunk whose convolutions are in a state dict, None for another network."""
    found = [re.fullmatch(r"features\.(\d{1,3})\.weight", layouts.own_name(key)) for key in keys]
    layers = {int(match[1]) for match in found if match}
    return next((trunk for trunk, numbers in _LAYERS.items() if layers == set(numbers)), None)
