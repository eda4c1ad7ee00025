"""Bars against the straight line and the skin."""

import jax
import jax.numpy as jnp
import numpy as np

from sdgan_jax.face3d import geometry
from sdgan_jax.face3d.attire import ribbons


def test_a_bar_is_straight_as_wide_as_it_says_and_bends_around_the_skin(known_face):
    _, _, wearer = known_face
    begin = jnp.array([[0.5, 0.0, 0.55], [1.2, 0.0, 0.5]])
    end = jnp.array([[0.735, 0.0, -0.10], [1.2, 0.2, -0.3]])
    surface = jax.jit(lambda wearer: ribbons.bars(wearer, begin, end, 0.02, jnp.ones(3)).surface)(wearer)
    surface = np.asarray(surface).reshape(2, 3, -1, 3)
    assert np.isnan(surface[:, 2]).all()  # the gap between bars
    width = np.sqrt(((surface[:, 1] - surface[:, 0]) ** 2).sum(-1))
    np.testing.assert_allclose(width, (0.02 + 2 * float(wearer.soft)) * float(wearer.pose.scale), rtol=1e-2)
    middle = geometry.to_head(jnp.asarray(surface[:, :2].mean(1)), wearer.pose)
    share = np.linspace(0, 1, 24)[:, None]
    np.testing.assert_allclose(middle[1], begin[1] * (1 - share) + end[1] * share, atol=1e-3)  # far from the head
    straight = np.asarray(begin[0] * (1 - share) + end[0] * share)
    moved = np.asarray(middle[0]) - straight
    np.testing.assert_allclose(moved[:, 1:], 0.0, atol=1e-3)
    assert moved[:, 0].min() > -1e-3
    skin = np.asarray(wearer.head).reshape(-1, 3)
    for x, y, z in np.asarray(middle[0])[2:-2]:
        near = (np.abs(skin[:, 1] - y) < 0.03) & (np.abs(skin[:, 2] - z) < 0.03)
        assert not near.any() or x > skin[near, 0].max() - 0.03
