"""The shelf of trained networks other than a GAN: read, written, and ready for use.

A network directory holds `network.json`, its kind and its settings, and `weights.npz`, a plain archive of arrays with
names such as "params/conv/kernel" and "batch_stats/norm/mean". Nothing in it is ever executed. Those that come with the
project lie in `sdgan_jax/weights/`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from sdgan_jax import archive
from sdgan_jax.archive import Tree
from sdgan_jax.nets.prnet import SCALE, ResFCN

SETTINGS = "network.json"
WEIGHTS = "weights.npz"
SHIPPED = epath.Path(__file__).parent / "weights"


def write(
    path: epath.PathLike, kind: str, settings: dict[str, Any], variables: Tree, dtype: np.dtype | type = np.float32
) -> None:
    """Writes a network directory.

    Args:
        path: the directory, local or remote; made when it is not there.
        kind: of the network: "prnet", "identity" or "sfn".
        settings: what it takes beside the arrays to rebuild the network; plain numbers, texts and lists.
        variables: the collections of the network, `params` among them.
        dtype: float32, or float16 for half the size.
    """
    folder = epath.Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    archive.write(folder / WEIGHTS, variables, dtype)
    (folder / SETTINGS).write_text(json.dumps({"kind": kind, **settings}, indent=2) + "\n")


def read(
    path: epath.PathLike, kind: str, shapes: Callable[[dict[str, Any]], Tree] | None = None
) -> tuple[dict[str, Any], Tree]:
    """Reads a network directory.

    Args:
        path: the directory, local or remote.
        kind: that it must have.
        shapes: from the settings to the tree that the variables must have, as `jax.eval_shape` gives it. Collections
            that it does not name are read as they are.

    Returns:
        The settings without the kind, and the variables, float32 on the default device; bools are bools.

    Raises:
        FileNotFoundError: there is no network; the message says what to do.
        ValueError: it is of another kind, is damaged, lacks a setting, or its arrays do not fit.
    """
    folder = epath.Path(path)
    for file in (folder / SETTINGS, folder / WEIGHTS):
        if not file.exists():
            raise FileNotFoundError(f"{path} has no {file.name}; give a network directory of the kind {kind}")
    settings = _settings(folder / SETTINGS)
    if (found := settings.pop("kind", None)) != kind:
        raise ValueError(f"{path} is a network of the kind {found}; one of the kind {kind} is needed")
    arrays = archive.read(folder / WEIGHTS)
    if shapes is None:
        return settings, archive.unflatten({name: jnp.asarray(array) for name, array in arrays.items()})
    try:
        target = shapes(settings)
    except KeyError as error:
        raise ValueError(f"{folder / SETTINGS} lacks the setting {error}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / SETTINGS} describes no network: {error}") from error
    others = {name: jnp.asarray(array) for name, array in arrays.items() if name.split("/")[0] not in target}
    return settings, archive.take(folder / WEIGHTS, arrays, target, SETTINGS) | archive.unflatten(others)


def _settings(file: epath.Path) -> dict[str, Any]:
    """The settings in a file, the kind among them."""
    try:
        settings = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file} is no JSON: {error}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{file} holds no settings; it must be a JSON object with a kind")
    return settings


@dataclasses.dataclass(frozen=True, eq=False)
class PositionNetwork:
    """Position maps of images. Pure: its caller compiles it.

    Attributes:
        net: the network.
        variables: its `params` and `batch_stats`; of public weights also `layout`, with `landmarks` f32[68,2], their
            (u,v) in [0,1], and `face` bool[256,256], the texels that are points of the face.
        layout: how its maps lie in UV space, "megn" or "prnet".
        depth_offset: the output that stands for z = 0: 0.5 where z is a signed depth about the head's centre, 0 where
            it is a raw depth from an origin of its own.
    """

    net: ResFCN
    variables: Tree
    layout: str
    depth_offset: float

    def __call__(self, images: jax.Array) -> jax.Array:
        """Regresses position maps.

        Args:
            images: f32[N,R,R,3] in [-1,1], of any size R.

        Returns:
            f32[N,size,size,3]: x, y and z of each texel in pixels of the image. The centre of the pixel in row i and
            column j is (x, y) = (j, i).

        Raises:
            ValueError: the images are no squares of three channels.
        """
        if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
            raise ValueError(f"images must be [N,R,R,3], got {list(images.shape)}")
        size, ratio = self.net.size, images.shape[1] / self.net.size
        if ratio != 1:
            images = jax.image.resize(images, (len(images), size, size, 3), "linear", antialias=True)
        variables = {name: self.variables[name] for name in ("params", "batch_stats")}
        maps = self.net.apply(variables, (images + 1) / 2)
        # In pixels of the resized image, whose corner, not the centre of its first pixel, is that of the image.
        maps = (maps - jnp.array([0, 0, self.depth_offset])) * (SCALE * size)
        corner = jnp.array([0.5, 0.5, 0.0])
        return (maps + corner) * ratio - corner


def position_network(path: epath.PathLike = "") -> PositionNetwork:
    """Reads a position map network.

    Args:
        path: a network directory; "" for the one that comes with the project.

    Returns:
        The network.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is of another kind, damaged, or does not fit together.
    """

    def shapes(settings: dict[str, Any]) -> Tree:
        if settings["layout"] not in ("megn", "prnet") or not isinstance(settings["depth_offset"], int | float):
            raise ValueError("layout must be megn or prnet, and depth_offset a number")
        net = ResFCN(settings["size"], settings["channels"])
        images = jax.ShapeDtypeStruct((1, net.size, net.size, 3), jnp.float32)
        return jax.eval_shape(net.init, jax.random.key(0), images)

    settings, variables = read(path or SHIPPED / "prnet64", "prnet", shapes)
    net = ResFCN(settings["size"], settings["channels"])
    return PositionNetwork(net, variables, settings["layout"], float(settings["depth_offset"]))
