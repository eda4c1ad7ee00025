"""MediaPipe's face detector and face mesh as a position network."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from sdgan_jax.face3d import detection, mesh, mesh_finding
from sdgan_jax.face3d import layout as layouts
from sdgan_jax.face3d.finding import Find
from sdgan_jax.nets import graph
from sdgan_jax.nets.graph import Graph
from sdgan_jax.pretrained import archive, inputs, storage
from sdgan_jax.pretrained.archive import Tree

KIND = "mesh"
SIZES = {"detector": detection.SIZE, "landmarks": 256}
# Shapes of the outputs of one image: boxes and scores; points, presence, and a number that is not used.
OUTPUTS = {
    "detector": [(detection.ANCHORS, detection.NUMBERS), (detection.ANCHORS, 1)],
    "landmarks": [(1, 1, 3 * mesh.POINTS), (1, 1, 1), (1,)],
}
# MediaPipe refines the points of a video from frame to frame. After two refinements they hardly depend on the detector.
REFINEMENTS = 2
MAP_SIZE = 64  # texels along a side of the position maps, as many as those of the PRNet that comes with the project


@dataclasses.dataclass(frozen=True, eq=False)
class MeshNetwork:
    """Face detector and face mesh, as a pure function.

    The network is used wherever a `PositionNetwork` is. Its position maps have MEGN's layout. They follow from the mesh
    by a fixed linear map, see `face3d.mesh`.

    Attributes:
        detector: BlazeFace.
        landmarks: the face mesh.
        variables: `detector` and `landmarks`, the arrays of both; `surface` with the canonical mesh `vertices`
            f32[468,3].
    """

    detector: Graph
    landmarks: Graph
    variables: Tree

    layout = "megn"
    map_size = MAP_SIZE

    def __call__(self, images: jax.Array) -> jax.Array:
        """Regresses the position map of the face that the detector finds with the best score.

        An image without a face gets a map too, a useless one.

        Args:
            images: f32[N,R,R,3] in [-1,1], of any size R.

        Returns:
            f32[N,64,64,3]: x, y and z of each texel in pixels of the image. The centre of the pixel in row i and
            column j is (x, y) = (j, i).

        Raises:
            ValueError: the images are not [N,R,R,3].
        """
        return mesh.position_maps(self.refine(images, self.regions(images))[0], self.texel_weights)

    def single_pass(self, images: jax.Array) -> jax.Array:
        """Regresses position maps from the detector's regions, without refinement, in a third of the time.

        Arguments, results and errors are those of a call.
        """
        return mesh.position_maps(self.points(images, self.regions(images))[0], self.texel_weights)

    def regions(self, images: jax.Array) -> jax.Array:
        """Returns the region of the best face, f32[N,4] in pixels of the images f32[N,R,R,3]."""
        inputs.check_squares(images)
        regions, _, scores = self.detect(inputs.resize(images, self.detector.size))
        best = regions[jnp.arange(len(images)), jnp.argmax(scores, -1)]
        return mesh_finding.scale_regions(best, images.shape[1])

    def detect(self, images: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Detects faces.

        Args:
            images: f32[N,128,128,3] in [-1,1].

        Returns:
            For each anchor of the detector the region f32[N,896,4] that the mesh is to be run on, and the box
            f32[N,896,4] of the face, both in sides of the image from its upper left corner; and the score f32[N,896]
            in [0,1].
        """
        numbers, logits = graph.apply(self.detector, self.variables["detector"], images)
        boxes, points = detection.decode(numbers)
        corners = boxes.reshape(*boxes.shape[:-1], 2, 2)
        regions = detection.region_around(corners, points[..., 0, :], points[..., 1, :])
        return regions, boxes, jax.nn.sigmoid(logits[..., 0])

    def points(self, images: jax.Array, regions: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Regresses the points of faces.

        Args:
            images: f32[N,H,W,3] in [-1,1].
            regions: f32[N,4] in pixels of the images, see `face3d.detection`.

        Returns:
            Points f32[N,478,3] in pixels of the images, z towards the camera; and presence f32[N] in [0,1], the
            network's probability that there is a face in the region.
        """
        size = self.landmarks.size
        frames = jax.vmap(functools.partial(detection.cut, size=size))(images, regions)
        numbers, logits, _ = graph.apply(self.landmarks, self.variables["landmarks"], 0.5 + 0.5 * frames)
        points = numbers.reshape(len(images), mesh.POINTS, 3) / size * jnp.array([1.0, 1.0, -1.0])
        return jax.vmap(detection.from_region)(points, regions), jax.nn.sigmoid(logits.reshape(-1))

    def refine(self, images: jax.Array, regions: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Regresses the points of faces, and `REFINEMENTS` times more in the region around these; see `points`."""
        shape = (len(images), mesh.POINTS, 3)
        start = (jnp.zeros(shape), jnp.zeros(len(images)), regions)

        # A loop of the program, not of Python: the network is traced and compiled once.
        def refined(_: int, last: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
            return self._refine_once(images, last[2])

        return jax.lax.fori_loop(0, 1 + REFINEMENTS, refined, start)[:2]

    def _refine_once(self, images: jax.Array, regions: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns `points`, and the region around these."""
        points, presence = self.points(images, regions)
        return points, presence, mesh_finding.region_of(points)

    def inspect(self, image: jax.Array, region: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Regresses the points of a face, and tells how steady they are.

        Args:
            image: f32[H,W,3] in [-1,1].
            region: f32[4] in pixels of the image.

        Returns:
            Points f32[478,3] and presence f32[] of `refine`, and their `mesh_finding.unsteadiness` f32[], which is
            infinite where the presence is below `mesh_finding.PRESENT`. Where the first presence is below
            `mesh_finding.HOPEFUL`, nothing is refined.
        """
        start = (jnp.zeros((1, mesh.POINTS, 3)), jnp.ones(1), region[None])

        def hopeful(state: tuple[int, tuple[jax.Array, jax.Array, jax.Array]]) -> jax.Array:
            return (state[0] <= REFINEMENTS) & (state[1][1][0] >= mesh_finding.HOPEFUL)

        def refined(state: tuple[int, tuple[jax.Array, jax.Array, jax.Array]]) -> tuple[int, tuple]:
            return state[0] + 1, self._refine_once(image[None], state[1][2])

        points, presence, _ = jax.lax.while_loop(hopeful, refined, (0, start))[1]

        def unsteadiness() -> jax.Array:
            regions = mesh_finding.moved(mesh_finding.region_of(points)[0])
            again, sure = self.points(jnp.broadcast_to(image, (len(regions), *image.shape)), regions)
            return mesh_finding.unsteadiness(points[0], again, sure)

        seen = presence[0] >= mesh_finding.PRESENT
        return points[0], presence[0], jax.lax.cond(seen, unsteadiness, lambda: jnp.float32(jnp.inf))

    @functools.cached_property
    def texel_weights(self) -> jax.Array:
        """The map from the vertices to the texels, f32[64,64,468]."""
        with jax.ensure_compile_time_eval():
            return jnp.asarray(mesh.texel_weights(np.asarray(self.variables["surface"]["vertices"]), MAP_SIZE))

    @property
    def uv_layout(self) -> layouts.Layout:
        """UV layout of the position maps."""
        return layouts.megn(MAP_SIZE)

    def make_find(self) -> Find:
        """Returns the compiled search for the faces in a photo, see `mesh_finding.find_all`."""
        weights = self.texel_weights
        to_map = jax.jit(lambda points: mesh.position_maps(points, weights))
        return functools.partial(
            mesh_finding.find_all, detect=jax.jit(self.detect), inspect=jax.jit(self.inspect), to_map=to_map
        )


def mesh_network(path: epath.PathLike) -> MeshNetwork:
    """Reads a face mesh. It does not come with the project; `experiments.convert` makes it of a public file.

    Args:
        path: a network directory.

    Returns:
        The network.

    Raises:
        FileNotFoundError: the directory contains no network; the message names the public file that it is made of.
        ValueError: the network is of another kind or damaged.
    """

    def shapes(settings: dict[str, Any]) -> Tree:
        target: Tree = {"surface": {"vertices": jax.ShapeDtypeStruct((mesh.VERTICES, 3), jnp.float32)}}
        for part in OUTPUTS:
            arrays = settings[part]["arrays"].items()
            target[part] = {name: jax.ShapeDtypeStruct(tuple(shape), jnp.float32) for name, shape in arrays}
            check(part, graph.from_settings(settings[part]), target[part])
        # The names of arrays contain the separator of trees: "conv_0/kernel".
        return archive.unflatten({f"{part}/{name}": leaf for part in target for name, leaf in target[part].items()})

    settings, variables = storage.read(path, KIND, shapes)
    flat = {part: archive.flatten(variables[part]) for part in OUTPUTS}
    detector, landmarks = (graph.from_settings(settings[part]) for part in OUTPUTS)
    return MeshNetwork(detector, landmarks, variables | flat)


def check(part: str, network: Graph, arrays: Tree) -> None:
    """Checks that a graph computes what a part of the mesh network must.

    Args:
        part: "detector" or "landmarks".
        network: the graph.
        arrays: its arrays, or their shapes, by name.

    Raises:
        ValueError: the graph does not fit its arrays, or its input and outputs have other shapes.
    """
    images = jax.ShapeDtypeStruct((1, network.size, network.size, 3), jnp.float32)
    try:
        made = jax.eval_shape(functools.partial(graph.apply, network), arrays, images)
    except Exception as error:  # operators of a damaged file make JAX raise nearly anything
        raise ValueError(f"its operators do not fit together ({str(error)[:80]})") from error
    shapes = [value.shape[1:] for value in made]
    if network.size != SIZES[part] or shapes != OUTPUTS[part]:
        raise ValueError(
            f"it maps {network.size} pixels to {shapes}, where {SIZES[part]} to {OUTPUTS[part]} are expected"
        )
