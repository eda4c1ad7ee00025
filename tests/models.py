"""Tiny models of random weights, and latents and images for them."""

import numpy as np

import sdgan_jax
from sdgan_jax.networks import make_networks
from sdgan_jax.training.gan import weights
from tests.random_arrays import noise
from tests.training import tiny

N, A, LAYERS, DIM, SIZE = 3, 3, 4, 12, 8
LENGTH = 3.0
W_SPACE = tiny.config(latent_space="w", basis_length=LENGTH)
Z_SPACE = tiny.config(latent_space="z", basis_length=LENGTH)
NAMES = tiny.ATTRIBUTES


def make(config, distance_to=None):
    state = tiny.random_state(config, seed=4)
    trees = {name: getattr(state, name) for name in weights.FIELDS}
    return sdgan_jax.Model(make_networks(config), trees, distance_to)


Z, IMAGES = noise(N, DIM), np.tanh(noise(N, SIZE, SIZE, 3, seed=1))


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
