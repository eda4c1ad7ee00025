"""Position map networks: PRNet with the stages that correct its maps."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from sdgan_jax.face3d import descent, finding, geometry
from sdgan_jax.face3d import layout as layouts
from sdgan_jax.nets.prnet import SCALE, ResFCN, to_input
from sdgan_jax.pretrained import inputs, storage
from sdgan_jax.pretrained.archive import Tree


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
        inputs.check_squares(images)
        size, ratio = self.net.size, images.shape[1] / self.net.size
        small = inputs.resize(images, size)
        maps = self._maps(small)
        if self.layout == "megn":  # which is its own mirror image: a second opinion for nothing but time
            maps = (maps + geometry.mirror(self._maps(small[:, :, ::-1]), size)) / 2
        for stage in self.stages:
            maps = jax.vmap(functools.partial(descent.correct, stage=stage, layout=self.uv_layout))(small, maps)
        # In pixels of the resized image, whose corner, not the centre of its first pixel, is that of the image.
        corner = jnp.array([0.5, 0.5, 0.0])
        return (maps + corner) * ratio - corner

    def _maps(self, images: jax.Array) -> jax.Array:
        """What the network says of f32[N,size,size,3] in [-1,1], in pixels of these."""
        variables = {name: self.variables[name] for name in ("params", "batch_stats")}
        maps = jnp.asarray(self.net.apply(variables, to_input(images)))
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
        storage.check_sizes(settings | {"stages": components}, size=1024, channels=1024, stages=1024)
        net = make(settings)
        images = jax.ShapeDtypeStruct((1, net.size, net.size, 3), jnp.float32)
        target = jax.eval_shape(net.init, jax.random.key(0), images)
        if components:
            stages = (descent.shapes(layouts.megn(net.size), count) for count in components)
            target["stages"] = {str(number): vars(stage) for number, stage in enumerate(stages)}
        return target

    settings, variables = storage.read(path or storage.SHIPPED / "prnet64", "prnet", shapes)
    return PositionNetwork(make(settings), variables, settings["layout"], float(settings["depth_offset"]))
