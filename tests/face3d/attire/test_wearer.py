"""A measured face against the parameters that it was rendered with."""

import jax.numpy as jnp
import numpy as np

from sdgan_jax.face3d.attire import wearer as wearers
from tfds_megn import head
from tfds_megn.params import as_face


def test_the_pose_and_the_surface_are_those_of_the_face(known_face):
    params, position_map, wearer = known_face
    face = as_face(params)
    np.testing.assert_allclose(wearer.pose.rotation, head.pose_matrix(face), atol=0.05)
    assert abs(wearer.pose.scale / (32 * face.scale) - 1) < 0.05
    on = wearer.layout.face
    assert np.abs(np.asarray(wearer.surface) - position_map)[on].mean() < 0.5  # pixels; details are smoothed
    assert abs(float(wearer.soft) * 2 * float(wearer.pose.scale) - 1) < 1e-5


def test_hair_is_darker_than_skin(known_face):
    params, _, wearer = known_face
    face = as_face(params)
    skin = np.square([face.skin_r, face.skin_g, face.skin_b])
    assert (np.asarray(wearer.hair) > 0).all() and np.mean(wearer.hair) < 0.5 * skin.mean()


def test_a_texture_covers_by_its_alpha():
    picture = np.zeros((4, 4, 4), np.float32)
    picture[..., 0], picture[..., 3] = 1.0, 0.5
    across = jnp.array([0.5, 0.5, 1.5])
    out = wearers.sticker(jnp.full((3, 3), 0.2), picture, across, jnp.array([0.5, 0.3, 0.5]))
    np.testing.assert_allclose(out, [[0.6, 0.1, 0.1], [0.6, 0.1, 0.1], [0.2, 0.2, 0.2]], atol=1e-6)
    bare = jnp.ones((3, 3))
    assert wearers.sticker(bare, None, across, across) is bare
