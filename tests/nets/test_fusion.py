"""The fusion network: what its offsets must be, whatever its weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.config import FusionConfig
from sdgan_jax.nets.fusion import Fusion

N, A, LAYERS, DIM = 2, 4, 4, 6
FUSION = Fusion(FusionConfig(64, 8, 5, 7), num_attributes=A, num_layers=LAYERS, latent_dim=DIM)


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


IMAGES, OTHERS, MAPS = (draw(N, 8, 8, 3, seed=seed) for seed in range(3))


@pytest.fixture(scope="module")
def variables():
    """Random weights everywhere: the regressor starts at zero, which would hide everything."""
    shapes = jax.eval_shape(FUSION.init, jax.random.key(0), IMAGES, jnp.zeros((N, A)), MAPS)
    leaves, tree = jax.tree.flatten(shapes)
    return jax.tree.unflatten(tree, [draw(*leaf.shape, seed=10 + i) for i, leaf in enumerate(leaves)])


@pytest.fixture(scope="module")
def offset(variables):
    return lambda images, worn, *maps: np.asarray(APPLY(variables, images, np.float32(worn), *maps))


APPLY = jax.jit(FUSION.apply)
MASK, BEARD, BOTH, NONE = ([row] * N for row in ([0, 1, 0, 0], [0, 0, 1, 0], [0, 1, 1, 0], [1, 0, 0, 0]))


def test_none_has_no_offset(offset):
    assert offset(IMAGES, MASK).shape == (N, LAYERS, DIM) and offset(IMAGES, MASK).all()
    np.testing.assert_array_equal(offset(IMAGES, NONE), np.zeros((N, LAYERS, DIM)))


def test_offsets_of_several_attributes_add_up(offset):
    mask, beard = offset(IMAGES, MASK), offset(IMAGES, BEARD)
    assert np.abs(mask - beard).max() > 0.1
    np.testing.assert_allclose(offset(IMAGES, BOTH), mask + beard, rtol=1e-4, atol=1e-4)
    weighted = offset(IMAGES, [[0.3, 0.5, 2, 0]] * N)
    np.testing.assert_allclose(weighted, 0.5 * mask + 2 * beard, rtol=1e-4, atol=1e-4)


def test_offsets_depend_on_their_own_face_alone(offset):
    one, other = offset(IMAGES, MASK), offset(np.stack((IMAGES[0], OTHERS[1])), MASK)
    np.testing.assert_allclose(one[0], other[0], rtol=1e-5)
    assert np.abs(one[1] - other[1]).max() > 0.1


def test_position_map_changes_the_offset(offset):
    without, with_map = offset(IMAGES, MASK), offset(IMAGES, MASK, MAPS)
    assert np.abs(without - with_map).max() > 0.1
    assert np.abs(offset(IMAGES, MASK, 2 * MAPS) - with_map).max() > 0.1
    np.testing.assert_array_equal(offset(IMAGES, NONE, MAPS), np.zeros((N, LAYERS, DIM)))
