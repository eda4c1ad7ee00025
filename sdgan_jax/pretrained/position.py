"""Position map networks: PRNet, and the stages that correct its maps."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from sdgan_jax import pictures
from sdgan_jax.face3d import descent, finding, geometry, turned_finding
from sdgan_jax.face3d import layout as layouts
from sdgan_jax.nets import backend
from sdgan_jax.nets.prnet import SCALE, ResFCN, to_input
from sdgan_jax.pretrained import directories, inputs, storage
from sdgan_jax.pretrained.archive import Tree
from sdgan_jax.pretrained.edges import edge_filter
from sdgan_jax.pretrained.face_mesh import KIND, MeshNetwork, mesh_network

PRNET_KIND = "prnet"


@dataclasses.dataclass(frozen=True, eq=False)
class PositionNetwork:
    """A network that regresses position maps from images, as a pure function.

    In MEGN's layout, which is its own mirror image, the map is averaged with that of the mirrored image (test-time
    augmentation). The stages, if there are any, then correct it.

    Attributes:
        net: the architecture.
        variables: `params` and `batch_stats`; with stages also `stages`, the arrays of each `descent.Stage` by its
            number; with public weights also `layout`, which contains `landmarks` f32[68,2], (u,v) in [0,1], and `face`
            bool[256,256], the texels of the face.
        layout: UV layout of the maps, "megn" or "prnet".
        depth_offset: output that stands for z = 0: 0.5 if z is a signed depth from the head's centre, 0 if it is a raw
            depth from another origin.
        threshold: largest score of a face that it finds in a photo, see `finding.Found`.
    """

    net: ResFCN
    variables: Tree
    layout: str
    depth_offset: float
    threshold: float = finding.THRESHOLD

    def __call__(self, images: jax.Array) -> jax.Array:
        """Regresses position maps.

        Args:
            images: f32[N,R,R,3] in [-1,1], of any size R.

        Returns:
            f32[N,size,size,3]: x, y and z of each texel in pixels of the image. The centre of the pixel in row i and
            column j is (x, y) = (j, i).

        Raises:
            ValueError: the images are not [N,R,R,3].
        """
        inputs.check_squares(images)
        size, ratio = self.net.size, images.shape[1] / self.net.size
        small = inputs.resize(images, size)
        maps = self._maps(small)
        if self.layout == "megn":
            maps = (maps + geometry.mirror(self._maps(small[:, :, ::-1]), size)) / 2
        for stage in self.stages:
            maps = jax.vmap(functools.partial(descent.correct, stage=stage, layout=self.uv_layout))(small, maps)
        return pictures.scale_positions(maps, ratio)

    def single_pass(self, images: jax.Array) -> jax.Array:
        """Regresses position maps by the network alone, without mirrored image and stages, in half the time.

        Arguments, results and errors are those of a call.
        """
        inputs.check_squares(images)
        size, ratio = self.net.size, images.shape[1] / self.net.size
        return pictures.scale_positions(self._maps(inputs.resize(images, size)), ratio)

    def _maps(self, images: jax.Array) -> jax.Array:
        """Applies the network to images f32[N,size,size,3] in [-1,1]; the maps are in pixels of these."""
        variables = {name: self.variables[name] for name in ("params", "batch_stats")}
        maps = jnp.asarray(self.net.apply(variables, to_input(images)))
        return (maps - jnp.array([0, 0, self.depth_offset])) * (SCALE * self.net.size)

    @property
    def stages(self) -> tuple[descent.Stage, ...]:
        """The stages that correct the maps, in order."""
        arrays = self.variables.get("stages", {})
        return tuple(descent.Stage(**arrays[str(number)]) for number in range(len(arrays)))

    @property
    def alone(self) -> PositionNetwork:
        """The same network without stages."""
        return dataclasses.replace(self, variables={k: v for k, v in self.variables.items() if k != "stages"})

    def with_stage(self, stage: descent.Stage) -> PositionNetwork:
        """Returns the same network with one more stage."""
        arrays = {field.name: getattr(stage, field.name) for field in dataclasses.fields(stage)}
        stages = self.variables.get("stages", {})
        stages = stages | {str(len(stages)): arrays}
        return dataclasses.replace(self, variables=self.variables | {"stages": stages})

    @property
    def map_size(self) -> int:
        """Texels along a side of the position maps."""
        return self.net.size

    @property
    def framing(self) -> finding.Framing:
        """Size and position of the faces in the training images."""
        return finding.PRNET if self.layout == "prnet" else finding.MEGN

    def make_find(self) -> finding.Find:
        """Returns the compiled search for the faces in a photo, see `turned_finding.find_all`."""
        options = backend.quick_compilation(backend.name())
        predict, glance = (jax.jit(function, compiler_options=options) for function in (self, self.single_pass))
        layout, framing = self.uv_layout, self.framing
        upright = functools.partial(
            finding.find_all,
            predict=predict,
            layout=layout,
            framing=framing,
            glance=glance,
            threshold=self.threshold,
            edges=edge_filter(),
            size=self.net.size,
        )
        return functools.partial(turned_finding.find_all, upright=upright, layout=layout, threshold=self.threshold)

    @functools.cached_property
    def uv_layout(self) -> layouts.Layout:
        """UV layout of the maps.

        Raises:
            ValueError: the layout is PRNet's, and the network was converted without PRNet's UV files.
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


def position_network(path: epath.PathLike = "") -> PositionNetwork | MeshNetwork:
    """Reads a position map network: PRNet, or MediaPipe's face mesh.

    Args:
        path: a network directory; "" for the one that comes with the project.

    Returns:
        The network.

    Raises:
        FileNotFoundError, ValueError: as `prnet_network`.
    """
    if path:
        storage.read_settings(path, PRNET_KIND, KIND)  # its errors name both kinds
    return mesh_network(path) if path and directories.is_network(path, KIND) else prnet_network(path)


def prnet_network(path: epath.PathLike = "") -> PositionNetwork:
    """Reads a PRNet.

    Args:
        path: a network directory; "" for the one that comes with the project.

    Returns:
        The network.

    Raises:
        FileNotFoundError: the directory contains no network.
        ValueError: the network is of another kind or damaged, or its weights do not fit its settings.
    """

    def make(settings: dict[str, Any]) -> ResFCN:
        return ResFCN(settings["size"], settings["channels"])

    def shapes(settings: dict[str, Any]) -> Tree:
        offset, layout = settings["depth_offset"], settings["layout"]
        threshold = settings.get("threshold", finding.THRESHOLD)
        if type(threshold) not in (int, float) or not 0 <= threshold <= 1:
            raise ValueError(f"threshold is {threshold!r}; it must be from 0 to 1")
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

    settings, variables = storage.read(path or storage.SHIPPED / "prnet64", PRNET_KIND, shapes)
    threshold = float(settings.get("threshold", finding.THRESHOLD))
    return PositionNetwork(make(settings), variables, settings["layout"], float(settings["depth_offset"]), threshold)
