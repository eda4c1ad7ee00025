"""A face mesh of few layers, whose detector and points are known."""

import dataclasses

import jax
import numpy as np
import pytest

from sdgan_jax import pretrained
from sdgan_jax.face3d import mesh
from sdgan_jax.nets import graph
from sdgan_jax.nets.graph import Graph, Operator
from sdgan_jax.networks import make_networks
from sdgan_jax.pretrained import face_mesh
from tests.training import tiny

SMALL = Operator("max_pool", ("images",), "small", 8, numbers=(8, 8))
DETECTOR = Graph(
    128,
    (
        SMALL,
        Operator("max_pool", ("small",), "smaller", 2, numbers=(2, 2)),
        Operator("conv", ("small", "a/kernel", "a/bias"), "a"),
        Operator("conv", ("smaller", "b/kernel", "b/bias"), "b"),
        Operator("reshape", ("a",), "a_rows", numbers=(512, 17)),
        Operator("reshape", ("b",), "b_rows", numbers=(384, 17)),
        Operator("concatenation", ("a_rows", "b_rows"), "rows", numbers=(1,)),
        Operator("conv", ("rows_4d", "c/kernel", "c/bias"), "boxes_4d"),
        Operator("reshape", ("boxes_4d",), "boxes", numbers=(896, 16)),
        Operator("conv", ("rows_4d", "d/kernel", "d/bias"), "scores_4d"),
        Operator("reshape", ("scores_4d",), "scores", numbers=(896, 1)),
    ),
    ("boxes", "scores"),
)
OPERATORS = list(DETECTOR.operators)
OPERATORS.insert(7, Operator("reshape", ("rows",), "rows_4d", numbers=(896, 1, 17)))
DETECTOR = dataclasses.replace(DETECTOR, operators=tuple(OPERATORS))
LANDMARKS = Graph(
    256,
    (
        Operator("max_pool", ("images",), "small", 16, numbers=(16, 16)),
        Operator("max_pool", ("small",), "one", 16, numbers=(16, 16)),
        Operator("conv", ("one", "points/kernel", "points/bias"), "points"),
        Operator("conv", ("one", "presence/kernel", "presence/bias"), "presence"),
        Operator("logistic", ("presence",), "other_4d"),
        Operator("reshape", ("other_4d",), "other", numbers=(1,)),
    ),
    ("points", "presence", "other"),
)


def layer(channels, bias, kernel=None):
    width = len(bias)
    kernel = np.zeros((1, 1, channels, width), np.float32) if kernel is None else kernel
    return {"kernel": kernel, "bias": np.asarray(bias, np.float32)}


def variables():
    """Every anchor has the box of 32 × 32 pixels around it; the mesh is a flat copy of the canonical one."""
    vertices = np.random.default_rng(0).normal(size=(mesh.VERTICES, 3)).astype(np.float32)
    box = np.zeros(16)
    box[2:4], box[6] = 32, 1  # the second eye is to the right of the first
    points = np.zeros((mesh.POINTS, 3))
    points[:, :2] = 128 + 40 * np.random.default_rng(1).uniform(-1, 1, (mesh.POINTS, 2))
    points[mesh.LEFT_EYE, 1] = points[mesh.RIGHT_EYE, 1] = 128  # the refined region is not turned
    points[mesh.LEFT_EYE, 0], points[mesh.RIGHT_EYE, 0] = 100, 156
    pick = np.eye(17, 17)
    return {
        "detector": {
            "a": layer(3, np.tile(np.arange(17), 2)),
            "b": layer(3, np.tile(np.arange(17), 6)),
            "c": layer(17, box),
            "d": layer(17, [0.0], pick[None, None, :, 3:4].astype(np.float32)),
        },
        "landmarks": {"points": layer(3, points.ravel()), "presence": layer(3, [2.0])},
        "surface": {"vertices": vertices},
    }, points


def write(folder, detector=DETECTOR):
    tree, points = variables()
    settings = {}
    for part, network in (("detector", detector), ("landmarks", LANDMARKS)):
        shapes = {f"{a}/{b}": list(array.shape) for a, held in tree[part].items() for b, array in held.items()}
        settings[part] = graph.to_settings(network) | {"arrays": shapes}
    pretrained.write(folder, "mesh", settings, tree)
    return points


def test_points_are_placed_by_their_region(tmp_path):
    wanted = write(tmp_path)
    network = pretrained.position_network(tmp_path)
    assert isinstance(network, face_mesh.MeshNetwork)
    images = np.zeros((2, 64, 64, 3), np.float32)
    region = np.array([[30, 20, 40, 0], [10, 50, 80, np.pi / 2]], np.float32)
    points, presence = jax.jit(network.points)(images, region)
    np.testing.assert_allclose(presence, 1 / (1 + np.exp(-2.0)), atol=1e-6)
    np.testing.assert_allclose(points[0, :, :2], [30, 20] + 40 * (wanted[:, :2] / 256 - 0.5), atol=1e-3)
    turned = (wanted[:, 1::-1] / 256 - 0.5) * [-1, 1]  # a quarter turn clockwise
    np.testing.assert_allclose(points[1, :, :2], [10, 50] + 80 * turned, atol=1e-3)


def test_points_are_refined_twice_around_themselves(tmp_path):
    wanted = write(tmp_path)[:, :2] / 256 - 0.5
    network = pretrained.position_network(tmp_path)
    region = np.array([[30, 20, 40, 0]], np.float32)
    points, _ = jax.jit(network.refine)(np.zeros((1, 64, 64, 3), np.float32), region)
    expected = [30, 20] + 40 * wanted
    for _ in range(2):
        low, high = expected.min(0), expected.max(0)
        expected = (low + high) / 2 + 1.5 * (high - low).max() * wanted
    np.testing.assert_allclose(points[0, :, :2], expected, atol=1e-3)


@pytest.mark.parametrize(("logit", "refined"), [(-4.0, False), (-2.0, True)])
def test_only_what_may_be_a_face_is_refined(tmp_path, logit, refined):
    """A probability of 0.02 ends it after one run of the mesh, one of 0.12 does not; neither is a face."""
    write(tmp_path)
    network = pretrained.position_network(tmp_path)
    landmarks = network.variables["landmarks"] | {"presence/bias": np.array([logit], np.float32)}
    network = dataclasses.replace(network, variables=network.variables | {"landmarks": landmarks})
    image, region = np.zeros((64, 64, 3), np.float32), np.array([30, 20, 40, 0], np.float32)
    points, presence, unsteady = jax.jit(network.inspect)(image, region)
    expected = (network.refine if refined else network.points)(image[None], region[None])[0]
    np.testing.assert_allclose(points, expected[0], atol=1e-3)
    np.testing.assert_allclose(presence, 1 / (1 + np.exp(-logit)), atol=1e-6)
    assert np.isinf(unsteady)


def test_f_takes_the_maps_of_the_mesh(tmp_path):
    write(tmp_path)
    base = tiny.config(resolution=32)
    fusion = dataclasses.replace(base.fusion, use_3d=True, position_network=str(tmp_path))
    nets = make_networks(dataclasses.replace(base, fusion=fusion))
    images, weights = np.zeros((2, 32, 32, 3), np.float32), np.eye(3, dtype=np.float32)[1:]

    def offset(key):
        params_f = nets.init_f(key)
        return nets.position(images), nets.offset(params_f, images, weights, max_attributes=1)

    maps, offsets = jax.jit(offset)(jax.random.key(0))
    assert maps.shape == (2, nets.position.map_size, nets.position.map_size, 3)
    assert np.isfinite(maps).all() and np.isfinite(offsets).all()


def test_the_best_box_gives_the_region(tmp_path):
    write(tmp_path)
    network = pretrained.position_network(tmp_path)
    # All scores are equal: the first anchor, whose centre is at 1/32 of the image, is taken.
    found = jax.jit(network.regions)(np.zeros((1, 64, 64, 3), np.float32))
    np.testing.assert_allclose(found, [[64 / 32 - 0.5, 64 / 32 - 0.5, 1.5 * 16, 0]], atol=1e-4)


def test_other_graphs_are_refused(tmp_path):
    write(tmp_path / "a", dataclasses.replace(DETECTOR, size=64))
    with pytest.raises(ValueError, match="describes no network"):
        pretrained.position_network(tmp_path / "a")
    write(tmp_path / "b", dataclasses.replace(DETECTOR, outputs=("boxes", "nothing")))
    with pytest.raises(ValueError, match="operators do not fit together"):
        pretrained.position_network(tmp_path / "b")
    with pytest.raises(FileNotFoundError, match="face_landmarker.task"):
        pretrained.mesh_network(tmp_path / "c")
