import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from sdgan_jax.nets import initialisers
from sdgan_jax.nets.initialisers import scaled_normal
from sdgan_jax.networks import make_networks
from sdgan_jax.training.gan import state as state_lib
from tests.training import tiny

KEY = jax.random.key(0)


def draw(shapes, seed=3, scale=1.0):
    with initialisers.drawn_together(jax.random.key(seed)):
        return [np.asarray(scaled_normal(scale)(KEY, shape)) for shape in shapes]


def test_arrays_are_slices_of_common_draws(monkeypatch):
    """Cut in another way, the numbers of a draw stay the same; none is given out twice."""
    monkeypatch.setattr(initialisers, "_AT_ONCE", 100)
    shapes = [(30,), (7, 10), (2, 3, 60), (), (20,), (50,)]  # draws of 100, 400 for the third, 100 for the last
    arrays = draw(shapes)
    assert [array.shape for array in arrays] == shapes and {array.dtype for array in arrays} == {np.dtype("float32")}
    numbers = np.concatenate([array.ravel() for array in arrays])
    np.testing.assert_array_equal(numbers, np.concatenate(draw([(100,), (381,), (45,), (5,)])))
    assert len(np.unique(numbers)) == len(numbers)
    np.testing.assert_array_equal(draw(shapes, scale=0.5)[2], 0.5 * arrays[2])
    assert not np.isin(draw(shapes, seed=4)[2], numbers).any()


def test_the_numbers_are_normal():
    (numbers,) = draw([(20_000,)], scale=0.25)
    assert scipy.stats.kstest(numbers / 0.25, scipy.stats.norm.cdf).pvalue > 1e-3


def test_outside_of_a_block_the_key_counts():
    draw([(5,)])
    one, other = (np.asarray(scaled_normal(2.0)(jax.random.key(seed), (4, 5), jnp.bfloat16)) for seed in (0, 1))
    np.testing.assert_array_equal(one, np.asarray(2.0 * jax.random.normal(KEY, (4, 5))).astype(jnp.bfloat16))
    assert not np.isin(one, other).all()


def test_the_weights_of_a_fresh_state_are_all_different():
    """No slice is given out twice. JAX draws from 2²³ numbers, so of n about n² / 2²⁴ agree by chance."""
    nets = make_networks(tiny.config(recipe="staged", latent_space="w"))
    state = jax.jit(lambda: state_lib.init_state(nets))()
    trees = {name: getattr(state, name) for name in ("params_g", "params_d", "params_f", "params_e", "buffers_g")}
    numbers = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(trees) if leaf.size > 1])
    drawn = numbers[(numbers != 0) & (numbers != np.round(numbers, 2))]  # without biases and scales
    chance = len(drawn) ** 2 / 2**24
    assert len(drawn) > 500_000 and len(drawn) - len(np.unique(drawn)) < 1.1 * chance
