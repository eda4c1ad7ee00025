"""PPL: a generator and a distance with a closed form, and quantiles by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.metrics import path_length


def squared(a, b):
    return jnp.square(a - b).sum(-1)


def twice(x):
    return 2.0 * x


def same(x):
    return x


def ends(count=6, dim=8):
    return tuple(jax.random.normal(key, (count, dim)) for key in jax.random.split(jax.random.key(0)))


@pytest.mark.parametrize("t", [0.0, 0.6])
def test_a_straight_line_is_as_long_as_its_ends_are_apart(t):
    """G = 2 w, w = 2 z, d = |a - b|²: a step ε of the line is 4 ε (z_b - z_a)."""
    a, b = ends()
    found = path_length.step_lengths(twice, twice, squared, (a, b), jnp.full(6, t), "w", epsilon=0.01)
    np.testing.assert_allclose(found, 16 * np.square(np.asarray(a) - np.asarray(b)).sum(1), rtol=1e-3)


@pytest.mark.parametrize("t", [0.0, 0.6])
def test_an_arc_is_as_long_as_its_angle(t):
    """On the sphere of radius √8 a step ε of an arc of angle φ is a chord 2 √8 sin(ε φ / 2); G = 2 w, w = z."""
    a, b = ends()
    found = path_length.step_lengths(same, twice, squared, (a, b), jnp.full(6, t), "z", epsilon=0.01)
    first, second = (np.asarray(x) / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    angle = np.arccos((first * second).sum(1))
    np.testing.assert_allclose(found, 4 * 8 * (2 * np.sin(0.005 * angle) / 0.01) ** 2, rtol=2e-3)


def test_latents_of_each_layer_are_interpolated_alike():
    a, b = ends()

    def to_layers(z):
        return jnp.stack([z, 3 * z], axis=1)  # [N,2,D]

    t = jnp.linspace(0.0, 1.0, 6)
    found = path_length.step_lengths(to_layers, lambda w: w.reshape(6, -1), squared, (a, b), t, "w", epsilon=0.01)
    np.testing.assert_allclose(found, 10 * np.square(np.asarray(a) - np.asarray(b)).sum(1), rtol=1e-3)


def test_arcs_begin_and_end_at_their_ends():
    a, b = ends()
    for t, end in ((0.0, a), (1.0, b)):
        expected = np.asarray(end) / np.linalg.norm(end, axis=1, keepdims=True)
        np.testing.assert_allclose(path_length.slerp(a, b, jnp.full((6, 1), t)), expected, atol=1e-6)
    middle = np.asarray(path_length.slerp(jnp.array([[2.0, 0.0]]), jnp.array([[0.0, 3.0]]), jnp.full((1, 1), 0.5)))
    np.testing.assert_allclose(middle, [[0.5**0.5, 0.5**0.5]], atol=1e-6)


def test_the_mean_leaves_out_one_per_cent_at_each_end():
    lengths = np.random.default_rng(0).permutation(np.arange(201.0) ** 2)  # quantiles: 2² and 198²
    assert path_length.path_length(lengths) == pytest.approx(np.mean(np.arange(2.0, 199.0) ** 2))
    lengths[lengths == 200.0**2] = 1e12
    assert path_length.path_length(lengths) == pytest.approx(np.mean(np.arange(2.0, 199.0) ** 2))
    # Of ten lengths the quantiles lie between the last two at either end, and both of these belong to the mean.
    assert path_length.path_length(np.arange(10.0) ** 2) == pytest.approx(28.5)
    assert path_length.path_length(np.array([3.0])) == 3.0
    assert path_length.path_length(np.array([1.0, 5.0]), trimmed=0.0) == 3.0


def test_no_lengths_are_refused():
    with pytest.raises(ValueError, match=r"must be \[N\], N >= 1"):
        path_length.path_length(np.zeros(0))


def test_lengths_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="lengths are NaN or infinite"):
        path_length.path_length(np.array([1.0, np.inf]))
