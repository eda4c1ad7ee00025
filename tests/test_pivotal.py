"""Pivotal tuning of a linear generator: its first step against derivatives by finite differences, and its end."""

import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax import pivotal
from tests.test_inversion import BASIS, IMAGES, LAYERS, MATRIX, RNG, D, Linear, N, distance_to

LATENT = np.float32(0.3 * RNG.standard_normal((N, LAYERS, D)))
MAPPING = {"weight": np.float32(2.0)}
NOISE = {"noise": np.float32(7.0)}


class Tuned(Linear):
    """The linear generator of the tests of the inversion, with its matrix where G has the synthesis network."""

    def synthesize(self, variables, w_plus, noise):
        assert variables["buffers"].keys() == NOISE.keys() and variables["params"]["mapping"].keys() == MAPPING.keys()
        return super().synthesize(variables["params"]["synthesis"]["matrix"], w_plus, noise)


def tune(steps, space="w", latent=LATENT):
    variables = {"params": {"mapping": MAPPING, "synthesis": {"matrix": MATRIX}}, "buffers": NOISE}
    return pivotal.tune(Tuned(space), distance_to, variables, BASIS, latent, IMAGES, steps=steps)


def loss(matrix, w_plus=LATENT):
    """L1 at 8 and 4 pixels, and the distance of unit vectors of the colours plus 2; the mean over the faces."""
    drawn = np.einsum("nld,ldp->np", w_plus, matrix).reshape(-1, 8, 8, 3)
    difference, (a, b) = drawn - IMAGES, (drawn + 2, IMAGES + 2)
    halves = difference.reshape(-1, 4, 2, 4, 2, 3).mean((2, 4))
    cosine = (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))
    return (np.abs(difference).mean() + np.abs(halves).mean()) / 2 + (2 - 2 * cosine).mean()


def test_the_first_step_is_adams_against_the_gradient():
    """Adam's first step is the learning rate times the sign of the derivative, whatever its size."""
    matrix, h = MATRIX.astype(np.float64), 1e-6
    found = np.asarray(tune(1)["params"]["synthesis"]["matrix"])
    for place in RNG.permutation(list(np.ndindex(MATRIX.shape)))[:60]:
        step = np.zeros(MATRIX.shape)
        step[tuple(place)] = h
        sign = np.sign(loss(matrix + step) - loss(matrix - step))
        assert found[tuple(place)] - MATRIX[tuple(place)] == pytest.approx(-pivotal.LEARNING_RATE * sign, rel=0.02)


def test_the_mapping_network_and_the_buffers_stay():
    found = tune(3)
    assert found["params"]["mapping"] == MAPPING and found["buffers"] == NOISE
    np.testing.assert_array_equal(tune(0)["params"]["synthesis"]["matrix"], MATRIX)


def test_the_faces_are_drawn_better_from_the_same_latents():
    assert loss(np.asarray(tune(400)["params"]["synthesis"]["matrix"])) < 0.7 * loss(MATRIX)


def test_in_z_the_pivots_are_mapped():
    z = LATENT[:, 0]
    found = np.asarray(tune(400, "z", jnp.asarray(z))["params"]["synthesis"]["matrix"])
    mapped = np.repeat(2 * z[:, None], LAYERS, 1)
    assert loss(found, mapped) < 0.7 * loss(MATRIX, mapped)
