"""Perceptual features: those of the frozen networks' blocks, applied one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax import losses
from sdgan_jax.nets import arcface, prnet
from sdgan_jax.pretrained import IdentityNetwork, PerceptualNetwork, PositionNetwork


def positive(net, size):
    """Variables of a network, all from 0.5 to 1.5; zero-mean inputs keep its features from growing alike."""
    shapes = jax.eval_shape(net.init, jax.random.key(0), jax.ShapeDtypeStruct((1, size, size, 3), "float32"))
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        kernel = path[-1].key == "kernel"
        return np.float32(rng.standard_normal(leaf.shape) if kernel else rng.uniform(0.5, 1.5, leaf.shape))

    return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.fixture(scope="module")
def network():
    position, identity = prnet.ResFCN(32, 2), arcface.ArcFace((2, 1), (3, 5), 4)
    return PerceptualNetwork(
        PositionNetwork(position, positive(position, 32), "megn", 0.5),
        IdentityNetwork(identity, positive(identity, 8), 8),
    )


IMAGES = np.random.default_rng(1).uniform(-1, 1, (2, 8, 8, 3)).astype(np.float32)


def of(variables, name):
    return {kind: tree[name] for kind, tree in variables.items() if name in tree}


def applied(network, images):
    """The features by direct application of each layer before the last one that is read."""
    variables = network.position.variables
    x = (jax.image.resize(images, (2, 32, 32, 3), "linear") + 1) / 2
    x, found = prnet.Unit(2).apply(of(variables, "conv"), x, False), []
    for index, (width, stride) in enumerate([(4, 2), (4, 1), (8, 2), (8, 1)]):
        x = prnet.Block(width, stride).apply(of(variables, f"block_{index}"), x, False)
        found += [x] if stride == 1 else []
    variables = network.identity.variables
    x = arcface.Conv(3).apply(of(variables, "input"), images)
    stats = variables["batch_stats"]["input_norm"]
    scale = variables["params"]["input_norm"]
    x = (x - stats["mean"]) / jnp.sqrt(stats["var"] + arcface.EPSILON) * scale["scale"] + scale["bias"]
    x = arcface.PReLU().apply(of(variables, "input_prelu"), x)
    for index, (width, stride) in enumerate([(3, 2), (3, 1), (5, 2)]):
        x = arcface.Block(width, stride).apply(of(variables, f"block_{index}"), x, False)
        found.append(x)
    return found


def test_the_features_are_those_of_the_blocks(network):
    found, expected = jax.jit(network)(IMAGES), jax.jit(lambda images: applied(network, images))(IMAGES)
    shapes = [(2, 16, 16, 4), (2, 8, 8, 8), (2, 4, 4, 3), (2, 4, 4, 3), (2, 2, 2, 5)]
    assert [feature.shape for feature in found] == shapes
    for feature, other in zip(found, expected, strict=True):
        assert np.std(feature) > 0
        np.testing.assert_allclose(feature, other, rtol=1e-3, atol=1e-4 * np.abs(other).max())


def test_an_image_has_no_distance_to_itself_and_some_to_others(network):
    distance = jax.jit(lambda a, b: losses.perceptual(network(a), network(b)))
    np.testing.assert_allclose(distance(IMAGES, IMAGES), 0.0, atol=1e-6)
    near, far = distance(IMAGES, IMAGES + 0.01), distance(IMAGES, IMAGES[::-1])
    assert (np.asarray(near) > 0).all() and (far > near).all()


def test_shapes_are_checked(network):
    with pytest.raises(ValueError, match=r"images must be \[N,R,R,3\], got \[8, 8, 3\]"):
        network(IMAGES[0])
