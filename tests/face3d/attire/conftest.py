"""A face as attributes see it, from its true position map."""

import jax
import jax.numpy as jnp
import pytest

import tfds_megn
from sdgan_jax import pictures
from sdgan_jax.face3d import layout
from sdgan_jax.face3d.attire.wearer import measure

SIZE = 64


@pytest.fixture(scope="session")
def known_face():
    """Parameters of a face, its position map f32[64,64,3], and its Wearer."""
    params = tfds_megn.sample_params(5)
    image = pictures.to_float(tfds_megn.render(params, 0, SIZE))
    position_map = tfds_megn.position_map(params, SIZE)
    linear = jnp.square(0.5 + 0.5 * image)
    run = jax.jit(measure, static_argnames="samples")
    return params, position_map, run(linear, position_map, layout.megn(SIZE), samples=2)
