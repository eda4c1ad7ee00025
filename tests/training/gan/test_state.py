"""The state at step 0, Adam's correction for lazy regularisation, and the rate of E."""

import dataclasses

import jax
import numpy as np
import pytest

from sdgan_jax import config as c
from sdgan_jax.networks import make_networks
from sdgan_jax.training.gan import state as state_lib
from tests.training import tiny


def test_a_fresh_state():
    nets = make_networks(tiny.config())
    state = jax.jit(lambda: state_lib.init_state(nets))()
    np.testing.assert_allclose(np.linalg.norm(state.basis, axis=1), [0.0, 1.0, 1.0], rtol=1e-5)
    assert not any(state.params_f["regressor"][name].any() for name in ("scale", "bias"))  # the basis alone at first
    for a, b in zip(jax.tree.leaves(state.params_g), jax.tree.leaves(state.ema_g), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("every", [0, 4])
def test_adam_is_corrected_for_the_updates_of_the_regulariser(every):
    """Adam by hand: the first update is lr · g / (|g| + eps), the second follows from the two moments."""
    adam = c.AdamConfig(learning_rate=0.1, beta1=0.5, beta2=0.9, epsilon=1e-8)
    losses = c.LossConfig(r1=1.0 if every else 0.0, r1_every=every or 16)
    config = dataclasses.replace(tiny.config(), losses=losses, adam_d=adam)
    optimizer = state_lib.make_optimizers(config).d
    share = 4 / 5 if every else 1.0
    rate, beta1, beta2 = 0.1 * share, 0.5**share, 0.9**share
    params, opt = np.float32(1.0), None
    opt, mean, square, expected = optimizer.init(params), 0.0, 0.0, 1.0
    for number, gradient in enumerate((2.0, -0.5), 1):
        params, opt = state_lib.apply_gradient(optimizer, np.float32(gradient), opt, params)
        mean, square = beta1 * mean + (1 - beta1) * gradient, beta2 * square + (1 - beta2) * gradient**2
        expected -= rate * (mean / (1 - beta1**number)) / np.sqrt(square / (1 - beta2**number))
        np.testing.assert_allclose(params, expected, rtol=1e-5)


@pytest.mark.parametrize("net", "ef")
def test_the_rates_of_e_and_f_fall_along_a_cosine(net):
    """Under a constant gradient every update of Adam is the rate of its step."""
    adam = c.AdamConfig(0.1, 0.9, 0.99)
    config = tiny.config(recipe="staged", latent_space="w", adam_e=adam, adam_f=adam, total_steps=4)
    optimizer = getattr(state_lib.make_optimizers(config), net)
    params, opt = np.float32(0.0), optimizer.init(np.float32(0.0))
    for step in range(5):
        before = params
        params, opt = state_lib.apply_gradient(optimizer, np.float32(3.0), opt, params)
        np.testing.assert_allclose(before - params, 0.05 * (1 + np.cos(np.pi * step / 4)), rtol=1e-4, atol=1e-7)
