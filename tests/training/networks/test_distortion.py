"""Pictures and position maps are moved together: dots that the map points at stay under it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.config.networks import PRNetConfig
from sdgan_jax.training.networks import distortion

SIZE = 48
STILL = PRNetConfig(rotation=0.0, scale=0.0, shift=0.0, colour=0.0, occlusion=0.0)


def dots(at):
    """A black image with a soft white dot at each of the points (x, y)."""
    line = np.arange(SIZE)
    square = (line[None, :, None] - at[:, 0]) ** 2 + (line[:, None, None] - at[:, 1]) ** 2
    return np.repeat(2 * np.exp(-square / 4.0).max(-1)[..., None] - 1, 3, -1).astype(np.float32)


def middle_of(picture, near):
    """The centre of light around a point."""
    y, x = np.mgrid[:SIZE, :SIZE]
    weight = (picture[..., 0] + 1) * (np.hypot(x - near[0], y - near[1]) < 6)
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


@pytest.mark.parametrize("change", [{"rotation": 30.0}, {"scale": 0.2}, {"shift": 0.08}, {}])
def test_a_dot_stays_where_the_map_says(change):
    config = PRNetConfig(**(STILL.__dict__ | change))
    distort = jax.jit(functools.partial(distortion.distort, config=config))
    at = np.array([[15.0, 14.0], [31.0, 17.0], [23.0, 32.0]])
    # A map of 1 by 3 texels: its mirror image points at the same dots from the other side.
    position_map = np.concatenate([at, [[5.0], [6.0], [7.0]]], 1)[None].astype(np.float32)
    moved = []
    for seed in range(6):
        picture, where = distort(jax.random.key(seed), dots(at), position_map, dots(at))
        for x, y, _ in np.asarray(where[0]):
            np.testing.assert_allclose(middle_of(np.asarray(picture), (x, y)), (x, y), atol=0.4)
        moved.append(np.asarray(where[0]))
    depth = np.stack(moved)[..., 2]
    # Depth grows as the distances between the dots do, whose order no change of size alters.
    sides = np.sort([[np.hypot(*(p[i, :2] - p[j, :2])) for i, j in ((0, 1), (0, 2), (1, 2))] for p in moved], 1)
    before = np.sort([np.hypot(*(at[i] - at[j])) for i, j in ((0, 1), (0, 2), (1, 2))])
    sizes = np.sort(depth, 1) / [5.0, 6.0, 7.0]
    np.testing.assert_allclose(sizes, sides / before, rtol=1e-4)
    assert (np.abs(sizes - 1).max() > 0.02) == ("scale" in change)


def test_a_patch_hides_about_as_often_as_asked_and_leaves_the_rest():
    image, other = jnp.full((SIZE, SIZE, 3), -0.2), jnp.full((SIZE, SIZE, 3), 0.8)
    hide = jax.jit(jax.vmap(lambda key: distortion.hide(key, image, other, 0.5)))
    changed = np.abs(np.asarray(hide(jax.random.split(jax.random.key(0), 400))) + 0.2).max(-1) > 1e-6
    share = changed.mean((1, 2))
    assert 0.4 < (share > 0).mean() < 0.6
    assert share.max() <= 0.51**2 and share[share > 0].mean() > 0.02


def test_colours_stay_colours_and_none_asked_is_none_given_but_blur_and_grey():
    rng = np.random.default_rng(0)
    image = rng.uniform(-1, 1, (SIZE, SIZE, 3)).astype(np.float32)
    recolour = jax.jit(distortion.recolour, static_argnames="amount")
    for seed in range(4):
        out = np.asarray(recolour(jax.random.key(seed), image, amount=0.5))
        assert out.min() >= -1 and out.max() <= 1
        plain = np.asarray(recolour(jax.random.key(seed), image, amount=0.0))
        np.testing.assert_allclose(plain.mean(), image.mean(), atol=0.02)
    flat = np.zeros((SIZE, SIZE, 3), np.float32)
    means = [float(recolour(jax.random.key(seed), flat, amount=0.3).mean()) for seed in range(40)]
    assert 0.06 < np.std(means) < 0.4


def test_shifts_are_by_whole_pixels_and_reach_every_place():
    image = jnp.zeros((8, 8, 1)).at[4, 4].set(1.0)
    shift = jax.jit(jax.vmap(lambda key: distortion.shift_pixels(key, image, 1)))
    shifted = np.asarray(shift(jax.random.split(jax.random.key(0), 100)))[..., 0]
    places = {tuple(np.argwhere(each == 1.0)[0]) for each in shifted}
    assert places == {(row, column) for row in (3, 4, 5) for column in (3, 4, 5)}
    np.testing.assert_array_equal(shifted.sum((1, 2)), 1.0)
