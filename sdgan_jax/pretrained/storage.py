"""Network directories: reads and writes trained networks other than a GAN.

A network directory contains `network.json`, the kind and the settings of the network, and `weights.safetensors`, its
arrays by names such as "params/conv/kernel" and "batch_stats/norm/mean". Nothing in it is ever executed. The networks
that come with the project are in `sdgan_jax/weights/`, and so is the model (a model directory, see `directories`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from etils import epath

from sdgan_jax import memo, outputs
from sdgan_jax.pretrained import archive, directories
from sdgan_jax.pretrained.archive import Tree

MOST_ITEMS = 16  # numbers in a setting that is a list
SHIPPED = epath.Path(__file__).parents[1] / "weights"
SHIPPED_MODEL = SHIPPED / "sdgan64"  # a model directory
SHIPPED_FINDER = SHIPPED / "photos64"  # the position network for photos


def write(
    path: epath.PathLike, kind: str, settings: dict[str, Any], variables: Tree, dtype: np.dtype | type = np.float32
) -> None:
    """Writes a network directory.

    Args:
        path: the directory, local or remote; created if missing.
        kind: kind of the network, one of `directories.USES`.
        settings: sizes and options that rebuild the network; plain numbers, texts and lists.
        variables: collections of the network, `params` among them.
        dtype: type of the stored numbers: float32, or float16 for half the size.
    """
    folder = epath.Path(path)
    archive.write(folder / directories.WEIGHTS, variables, dtype)
    with outputs.in_one_piece(folder / directories.NETWORK) as unfinished:
        unfinished.write_text(json.dumps({"kind": kind, **settings}, indent=2) + "\n")


def read(
    path: epath.PathLike, kind: str, shapes: Callable[[dict[str, Any]], Tree] | None = None
) -> tuple[dict[str, Any], Tree]:
    """Reads a network directory.

    Args:
        path: the directory, local or remote.
        kind: kind that the network must have.
        shapes: function from the settings to the tree of shapes that the variables must have, such as
            `jax.eval_shape` returns. Collections that it does not name are read without a check.

    Returns:
        The settings without the kind, and the variables, float32 on the default device; bools are bools.

    Raises:
        FileNotFoundError: there is no network; the message says what to do.
        ValueError: the network is of another kind, is damaged, lacks a setting, or its arrays do not fit.
    """
    settings, weights = read_settings(path, kind)
    file = epath.Path(path) / directories.NETWORK
    arrays = archive.read(weights)
    if shapes is None:
        return settings, archive.unflatten({name: jnp.asarray(array) for name, array in arrays.items()})
    try:
        target = memo.shapes(kind, json.dumps(settings), lambda: shapes(settings))
    except KeyError as error:
        raise ValueError(f"{file} lacks the setting {error}") from error
    except Exception as error:  # networks of absurd settings raise nearly anything
        reason = str(error).partition("\n")[0][:200]
        raise ValueError(f"{file} describes no network: {reason}") from error
    others = {name: jnp.asarray(array) for name, array in arrays.items() if name.split("/")[0] not in target}
    return settings, archive.take(weights, arrays, target, directories.NETWORK) | archive.unflatten(others)


def read_settings(path: epath.PathLike, *kinds: str) -> tuple[dict[str, Any], epath.Path]:
    """Reads the settings of a network directory of one of several kinds.

    Args:
        path: the directory, local or remote.
        kinds: kinds that the network may have.

    Returns:
        The settings without the kind, and the file of the weights.

    Raises:
        FileNotFoundError: there is no network; the message says what to do.
        ValueError: the network is of another kind, or its `network.json` is damaged.
    """
    folder = epath.Path(path)
    file, weights = folder / directories.NETWORK, directories.weights_of(folder)
    if not file.exists() or weights is None:
        raise FileNotFoundError(directories.missing_network(folder, *kinds))
    try:
        settings = directories.read_object(file)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    if (found := settings.pop("kind", None)) not in kinds:
        raise ValueError(f"{path} is a network of the kind {found}; one of the kind {' or '.join(kinds)} is needed")
    return settings, weights


def check_sizes(settings: dict[str, Any], **most: int) -> None:
    """Checks that settings, or the items of those that are lists, are whole numbers from 1 to their `most`.

    Larger numbers would take time or memory before the arrays show that they are wrong.

    Raises:
        ValueError: naming the first setting that does not fit.
    """
    for name, limit in most.items():
        value = settings[name]
        for number in value if isinstance(value, list) else [value]:
            if type(number) is not int or not 1 <= number <= limit:
                raise ValueError(f"{name} is {str(value)[:40]}; it must be from 1 to {limit}")
        if isinstance(value, list) and len(value) > MOST_ITEMS:
            raise ValueError(f"{name} has {len(value)} numbers; at most {MOST_ITEMS} are known")
