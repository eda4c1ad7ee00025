"""Inversion with a linear generator: its start, and its first step against derivatives by finite differences."""

import types

import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax import inversion, losses

N, LAYERS, D = 2, 3, 5
RNG = np.random.default_rng(0)
MATRIX = np.float32(0.3 * RNG.standard_normal((LAYERS, D, 8 * 8 * 3)))
W_AVG = np.float32(RNG.standard_normal(D))
IMAGES = np.float32(RNG.uniform(-1, 1, (N, 8, 8, 3)))
BASIS = np.zeros((3, D), np.float32)
EDIT = np.float32([[0, 1, -1], [1, 0, 0]])
SHIFT = {"shift": np.float32(RNG.standard_normal((LAYERS, D)))}


class Linear:
    """A linear generator, and an encoder whose latents are a constant times the mean colour of the face."""

    def __init__(self, space):
        self.config = types.SimpleNamespace(latent_space=space, num_layers=LAYERS, num_attributes=3)

    def synthesize(self, variables, w_plus, noise):
        assert noise == "const"
        return jnp.einsum("nld,ldp->np", w_plus, variables).reshape(-1, 8, 8, 3)

    def encode(self, params, images, w_avg, edit):
        assert edit.shape == EDIT.shape
        return w_avg + images.mean((1, 2, 3))[:, None, None] * params["shift"]

    def to_w_plus(self, variables, z, attributes, basis):
        return jnp.repeat(2.0 * z[:, None], LAYERS, 1) + attributes.sum()  # those of `none` are all 0


def features(images):
    return (images + 2.0,)  # away from 0, where the direction of a vector is undefined


def distance_to(images):
    return lambda others: losses.perceptual(features(others), features(images))


def by_numpy(w_plus):
    return np.einsum("nld,ldp->np", w_plus, MATRIX.astype(np.float64)).reshape(-1, 8, 8, 3)


def pyramid(difference, error):
    halves = difference.reshape(-1, 4, 2, 4, 2, 3).mean((2, 4))
    return (error(difference).mean((1, 2, 3)) + error(halves).mean((1, 2, 3))) / 2


def pixels(w_plus):
    """The loss without an encoder, at the start, where the pull is 0."""
    return pyramid(by_numpy(w_plus) - IMAGES, np.square)


def pixels_and_features(w_plus):
    """The loss with an encoder, at its start."""
    drawn = by_numpy(w_plus)
    a, b = drawn + 2, IMAGES + 2
    cosine = (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))
    return pyramid(drawn - IMAGES, np.abs) + (2 - 2 * cosine).mean((1, 2))


def signs(loss, latent, h=1e-6):
    """Signs of the derivatives of each face's loss in its latent."""
    result, latent = np.zeros(latent.shape), latent.astype(np.float64)
    for place in np.ndindex(latent.shape[1:]):
        step = np.zeros(latent.shape)
        step[(slice(None), *place)] = h
        result[(slice(None), *place)] = np.sign(loss(latent + step) - loss(latent - step))
    return result


def invert(params_e, steps, space="w"):
    found = inversion.invert(
        Linear(space), distance_to if params_e else None, MATRIX, params_e, W_AVG, BASIS, IMAGES, EDIT, steps=steps
    )
    return np.asarray(found)


@pytest.mark.parametrize(
    ("params_e", "loss", "rate"),
    [(None, pixels, inversion.LEARNING_RATE), (SHIFT, pixels_and_features, inversion.LEARNING_RATE_E)],
)
def test_the_first_step_is_adams_against_the_gradient(params_e, loss, rate):
    """Adam's first step is the learning rate times the sign of the derivative, whatever its size."""
    start = np.broadcast_to(W_AVG, (N, LAYERS, D))
    if params_e:
        start = start + IMAGES.mean((1, 2, 3))[:, None, None] * SHIFT["shift"]
    np.testing.assert_allclose(invert(params_e, 0), start, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(invert(params_e, 1), start - rate * signs(loss, start), atol=1e-4)


def test_in_z_the_search_moves_what_is_mapped():
    start = invert(None, 0, "z")
    assert start.shape == (N, D)
    np.testing.assert_array_equal(start[0], start[1])  # a face's latent does not depend on its place in the batch

    def loss(z):
        return pixels(2 * np.repeat(z[:, None], LAYERS, 1)) + inversion.PULL * np.square(z).mean(1)

    np.testing.assert_allclose(invert(None, 1, "z"), start - inversion.LEARNING_RATE * signs(loss, start), atol=1e-4)


def test_the_pull_keeps_latents_near_the_start(monkeypatch):
    """A strong pull leaves them within what Adam's step overshoots; without one they reach a lower loss."""
    start = invert(SHIFT, 0)
    free = invert(SHIFT, 60)
    monkeypatch.setattr(inversion, "PULL_E", 1e4)
    held = invert(SHIFT, 60)
    assert np.abs(held - start).mean() < 0.2 * np.abs(free - start).mean()
    assert (pixels_and_features(free) < pixels_and_features(held)).all()


def test_the_steps_become_smaller():
    """Half way through a half cosine the rate is half of the first; the gradients are about those of the first step."""
    first, second = (invert(None, steps) for steps in (1, 2))
    assert np.median(np.abs(second - first)) == pytest.approx(0.5 * inversion.LEARNING_RATE, rel=0.1)


def test_default_steps():
    assert inversion.default_steps(None) == inversion.default_steps({}) == inversion.STEPS == 300
    assert inversion.default_steps(SHIFT) == inversion.STEPS_E == 50
