"""The architecture of the attribute classifier: shapes at any resolution, and which are refused."""

import jax
import jax.numpy as jnp
import pytest

from sdgan_jax.nets.classifier import Classifier


@pytest.mark.parametrize("resolution", [8, 32, 64, 256])
def test_any_power_of_two(resolution):
    images = jax.ShapeDtypeStruct((2, resolution, resolution, 3), jnp.float32)
    (logits, features), _ = jax.eval_shape(Classifier().init_with_output, jax.random.key(0), images)
    assert logits.shape == (2, 6) and features.shape == (2, 128)


@pytest.mark.parametrize("shape", [(1, 24, 24, 3), (1, 32, 16, 3), (1, 4, 4, 3), (32, 32, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError):
        Classifier().init(jax.random.key(0), jnp.zeros(shape))
