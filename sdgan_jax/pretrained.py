"""The shelf of trained networks other than a GAN: read, written, and ready for use.

A network directory holds `network.json`, its kind and its settings, and `weights.npz`, a plain archive of arrays with
names such as "params/conv/kernel" and "batch_stats/norm/mean". Nothing in it is ever executed. Those that come with the
project lie in `sdgan_jax/weights/`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from sdgan_jax import archive, directories
from sdgan_jax.archive import Tree
from sdgan_jax.face3d import descent, finding, geometry
from sdgan_jax.face3d import layout as layouts
from sdgan_jax.nets.arcface import ArcFace
from sdgan_jax.nets.prnet import SCALE, ResFCN
from sdgan_jax.nets.sfn import OfficialFusion, Settings

MOST_ITEMS = 16  # numbers in one setting
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
    archive.write(folder / directories.WEIGHTS, variables, dtype)
    (folder / directories.NETWORK).write_text(json.dumps({"kind": kind, **settings}, indent=2) + "\n")


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
    file, weights = folder / directories.NETWORK, folder / directories.WEIGHTS
    if not file.exists() or not weights.exists():
        raise FileNotFoundError(directories.missing_network(folder, kind))
    try:
        settings = directories.read_object(file)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    if (found := settings.pop("kind", None)) != kind:
        raise ValueError(f"{path} is a network of the kind {found}; one of the kind {kind} is needed")
    arrays = archive.read(weights)
    if shapes is None:
        return settings, archive.unflatten({name: jnp.asarray(array) for name, array in arrays.items()})
    try:
        target = shapes(settings)
    except KeyError as error:
        raise ValueError(f"{file} lacks the setting {error}") from error
    except Exception as error:  # whatever falls out of networks of absurd settings
        reason = str(error).partition("\n")[0][:200]
        raise ValueError(f"{file} describes no network: {reason}") from error
    others = {name: jnp.asarray(array) for name, array in arrays.items() if name.split("/")[0] not in target}
    return settings, archive.take(weights, arrays, target, directories.NETWORK) | archive.unflatten(others)


def _check_sizes(settings: dict[str, Any], **most: int) -> None:
    """Raises `ValueError` where a setting, or an item of one that is a list, is no whole number from 1 to its `most`.

    Larger numbers would take time or memory before the arrays show that they are wrong.
    """
    for name, limit in most.items():
        value = settings[name]
        for number in value if isinstance(value, list) else [value]:
            if type(number) is not int or not 1 <= number <= limit:
                raise ValueError(f"{name} is {str(value)[:40]}; it must be from 1 to {limit}")
        if isinstance(value, list) and len(value) > MOST_ITEMS:
            raise ValueError(f"{name} has {len(value)} numbers; at most {MOST_ITEMS} are known")


@dataclasses.dataclass(frozen=True, eq=False)
class PositionNetwork:
    """Position maps of images, of MEGN's layout the mean of those of an image and of its mirror image, then corrected.

    Pure: its caller compiles it.

    Attributes:
        net: the network.
        variables: its `params` and `batch_stats`; where maps are corrected, `stages`, the arrays of each
            `descent.Stage` by its number; of public weights `layout`, with `landmarks` f32[68,2], their (u,v) in
            [0,1], and `face` bool[256,256], the texels that are points of the face.
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
        _check_squares(images)
        size, ratio = self.net.size, images.shape[1] / self.net.size
        small = _resize(images, size)
        maps = self._maps(small)
        if self.layout == "megn":  # which is its own mirror image: a second opinion for nothing but time
            maps = (maps + geometry.mirror(self._maps(small[:, :, ::-1]), size)) / 2
        for stage in self.stages:
            maps = jax.vmap(functools.partial(descent.correct, stage=stage, layout=self.uv_layout))(
                (small + 1) / 2, maps
            )
        # In pixels of the resized image, whose corner, not the centre of its first pixel, is that of the image.
        corner = jnp.array([0.5, 0.5, 0.0])
        return (maps + corner) * ratio - corner

    def _maps(self, images: jax.Array) -> jax.Array:
        """What the network says of f32[N,size,size,3] in [-1,1], in pixels of these."""
        variables = {name: self.variables[name] for name in ("params", "batch_stats")}
        maps = jnp.asarray(self.net.apply(variables, (images + 1) / 2))
        return (maps - jnp.array([0, 0, self.depth_offset])) * (SCALE * self.net.size)

    @property
    def stages(self) -> tuple[descent.Stage, ...]:
        """What corrects the maps, in order."""
        arrays = self.variables.get("stages", {})
        return tuple(descent.Stage(**arrays[str(number)]) for number in range(len(arrays)))

    @property
    def alone(self) -> PositionNetwork:
        """The same without stages."""
        return dataclasses.replace(self, variables={k: v for k, v in self.variables.items() if k != "stages"})

    def with_stage(self, stage: descent.Stage) -> PositionNetwork:
        """The same with one more stage."""
        arrays = {field.name: getattr(stage, field.name) for field in dataclasses.fields(stage)}
        stages = self.variables.get("stages", {})
        stages = stages | {str(len(stages)): arrays}
        return dataclasses.replace(self, variables=self.variables | {"stages": stages})

    @property
    def framing(self) -> finding.Framing:
        """How faces lay in the pictures of its training."""
        return finding.PRNET if self.layout == "prnet" else finding.MEGN

    @functools.cached_property
    def uv_layout(self) -> layouts.Layout:
        """What lies where on the maps.

        Raises:
            ValueError: of PRNet's public square it is not known, because the network came without PRNet's UV files.
        """
        if self.layout == "megn":
            return layouts.megn(self.net.size)
        table = self.variables.get("layout", {})
        if not {"landmarks", "face"} <= set(table):
            raise ValueError(
                "the position network came without PRNet's uv_kpt_ind.txt and face_ind.txt, which say where the face "
                "is on its maps; convert it again by experiments.convert --prnet_uv=FOLDER, PRNet's Data/uv-data"
            )
        return layouts.prnet(np.asarray(table["landmarks"]), np.asarray(table["face"]))


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

    def make(settings: dict[str, Any]) -> ResFCN:
        return ResFCN(settings["size"], settings["channels"])

    def shapes(settings: dict[str, Any]) -> Tree:
        offset, layout = settings["depth_offset"], settings["layout"]
        if layout not in ("megn", "prnet") or type(offset) not in (int, float) or not math.isfinite(offset):
            raise ValueError("layout must be megn or prnet, and depth_offset a number")
        components = settings.get("stages", [])
        _check_sizes(settings | {"stages": components}, size=1024, channels=1024, stages=1024)
        net = make(settings)
        images = jax.ShapeDtypeStruct((1, net.size, net.size, 3), jnp.float32)
        target = jax.eval_shape(net.init, jax.random.key(0), images)
        if components:
            stages = (descent.shapes(layouts.megn(net.size), count) for count in components)
            target["stages"] = {str(number): vars(stage) for number, stage in enumerate(stages)}
        return target

    settings, variables = read(path or SHIPPED / "prnet64", "prnet", shapes)
    return PositionNetwork(make(settings), variables, settings["layout"], float(settings["depth_offset"]))


@dataclasses.dataclass(frozen=True, eq=False)
class IdentityNetwork:
    """Identity embeddings of faces. Pure: its caller compiles it.

    Attributes:
        net: the network.
        variables: its `params` and `batch_stats`.
        resolution: side of the faces that it takes.
        crop: what it sees of an image: top, left, bottom and right as shares of the side; None for all of it.
    """

    net: ArcFace
    variables: Tree
    resolution: int
    crop: tuple[float, float, float, float] | None = None

    def __call__(self, images: jax.Array) -> jax.Array:
        """Embeds faces.

        Args:
            images: f32[N,R,R,3] in [-1,1], of any size R; aligned where there is a crop.

        Returns:
            f32[N,E], unit vectors.

        Raises:
            ValueError: the images are no squares of three channels.
        """
        _check_squares(images)
        if self.crop is not None:
            top, left, bottom, right = (round(share * images.shape[1]) for share in self.crop)
            images = _shrink(images[:, top:bottom, left:right], self.resolution)
        return jnp.asarray(self.net.apply(self.variables, _resize(images, self.resolution)))


def identity_network(path: epath.PathLike = "") -> IdentityNetwork:
    """Reads an identity network.

    Args:
        path: a network directory; "" for the one that comes with the project.

    Returns:
        The network.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is of another kind, damaged, or does not fit together.
    """

    def make(settings: dict[str, Any]) -> ArcFace:
        return ArcFace(tuple(settings["blocks"]), tuple(settings["widths"]), settings["embedding_dim"])

    def shapes(settings: dict[str, Any]) -> Tree:
        _check_sizes(settings, blocks=200, widths=1 << 14, embedding_dim=1 << 14, resolution=4096)
        size, crop = settings["resolution"], settings["crop"]
        if crop is not None and not (
            len(crop) == 4 and all(0 <= first < last <= 1 for first, last in zip(crop[:2], crop[2:], strict=True))
        ):
            raise ValueError("crop must be null, or top, left, bottom and right as shares of the side")
        images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
        return jax.eval_shape(make(settings).init, jax.random.key(0), images)

    settings, variables = read(path or SHIPPED / "identity64", "identity", shapes)
    crop = settings["crop"]
    return IdentityNetwork(make(settings), variables, settings["resolution"], None if crop is None else tuple(crop))


@dataclasses.dataclass(frozen=True, eq=False)
class OfficialFusionNetwork:
    """Offsets by the fusion network of SD-GAN's release. Pure: its caller compiles it.

    Attributes:
        net: the network.
        variables: its `params`.
    """

    net: OfficialFusion
    variables: Tree

    def __call__(self, faces: jax.Array, templates: jax.Array, maps: jax.Array) -> jax.Array:
        """Regresses offsets.

        Args:
            faces: f32[N,R,R,3] in [-1,1], of any size R.
            templates: f32[N,R,R,3] in [-1,1], images of the attribute, of any size R.
            maps: f32[N,S,S,9], maps of the canonical 3D faces; S a multiple of 4.

        Returns:
            f32[N,L,D], L the layers of G; [N,14,512] of the release.

        Raises:
            ValueError: a shape is another.
        """
        _check_squares(faces, "faces")
        _check_squares(templates, "templates")
        if maps.ndim != 4 or maps.shape[1] != maps.shape[2] or maps.shape[1] % 4 or maps.shape[3] != 9:
            raise ValueError(f"maps must be [N,S,S,9], S a multiple of 4; got {list(maps.shape)}")
        size = self.net.settings.resolution
        return jnp.asarray(self.net.apply(self.variables, _resize(faces, size), _resize(templates, size), maps))


def fusion_network(path: epath.PathLike) -> OfficialFusionNetwork:
    """Reads a fusion network of SD-GAN's release.

    Args:
        path: a network directory.

    Returns:
        The network.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is of another kind, damaged, or does not fit together.
    """

    def make(settings: dict[str, Any]) -> OfficialFusion:
        widths, style_widths = (tuple(settings[name]) for name in ("widths", "style_widths"))
        return OfficialFusion(Settings(widths, style_widths, settings["resolution"], settings["num_layers"]))

    def shapes(settings: dict[str, Any]) -> Tree:
        _check_sizes(settings, widths=1 << 14, style_widths=1 << 14, resolution=4096, num_layers=1024)
        net = make(settings)
        images = jax.ShapeDtypeStruct((1, net.settings.resolution, net.settings.resolution, 3), jnp.float32)
        return jax.eval_shape(net.init, jax.random.key(0), images, images, jnp.zeros((1, 16, 16, 9)))

    settings, variables = read(path, "sfn", shapes)
    return OfficialFusionNetwork(make(settings), variables)


def _check_squares(images: jax.Array, name: str = "images") -> None:
    """Raises `ValueError` where images are no squares of three channels."""
    if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
        raise ValueError(f"{name} must be [N,R,R,3], got {list(images.shape)}")


def _resize(images: jax.Array, size: int) -> jax.Array:
    """Images f32[N,H,W,3] at `size` × `size`, linear and antialiased."""
    if images.shape[1:3] == (size, size):
        return images
    return jax.image.resize(images, (len(images), size, size, 3), "linear", antialias=True)


def _shrink(images: jax.Array, size: int) -> jax.Array:
    """Images f32[N,H,W,3] at `size` × `size` by area; an axis that is shorter stays."""
    rows, columns = (_areas(length, min(size, length)) for length in images.shape[1:3])
    return jnp.einsum("ih,nhwc,jw->nijc", rows, images, columns, precision="highest")


def _areas(length: int, size: int) -> np.ndarray:
    """What each of `size` pixels is the mean of, f32[size,length]: all that it touches, as PyTorch's `area` has it."""
    # In whole numbers, which divide without error.
    first, last = np.arange(size) * length // size, -(-np.arange(1, size + 1) * length // size)
    pixel = np.arange(length)
    touched = (first[:, None] <= pixel) & (pixel < last[:, None])
    return (touched / touched.sum(1, keepdims=True)).astype(np.float32)
