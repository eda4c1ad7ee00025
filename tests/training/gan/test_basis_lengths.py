"""Lengths of the basis: found where the faces of moved latents are like given ones."""

import numpy as np
import pytest

from sdgan_jax.latents import Directions
from sdgan_jax.training.gan import basis_lengths

RNG = np.random.default_rng(0)
MIXING = RNG.standard_normal((4, 3))
ROWS = np.float32([[0, 0, 0, 0], [1, 0, 0, 0], [0, 0.6, 0.8, 0], [0, 0, 0, 1]])
LENGTHS = np.float32([0, 2, 3, 4])
W = RNG.standard_normal((50, 4)).astype(np.float32)


def see(w):
    return w @ MIXING


@pytest.mark.parametrize(("share", "expected"), [(0.8, 0.8), (1.25, 1.25), (0.2, 0.5), (1.9, 1.5)])
def test_the_length_of_the_given_faces_is_found(share, expected):
    """Features are linear, so the distance is the square of the difference of lengths; the range of factors ends it."""
    real = {1: see(W + share * 2 * ROWS[1]), 2: see(W + share * 3 * ROWS[2])}
    found = basis_lengths.fit(Directions(ROWS, LENGTHS), W, see, real)
    np.testing.assert_allclose(found, [0, 2 * expected, 3 * expected, 4], rtol=2e-3)


def test_variety_counts_too():
    """Between faces of one length lie those of many: their spread in the direction pulls the length up or down."""

    def grow(w):  # faces vary the more the further they are moved
        return np.stack((w[:, 0] * (1 + w[:, 1]), w[:, 1]), 1)

    w = np.stack((RNG.standard_normal(400), np.zeros(400)), 1).astype(np.float32)
    directions = Directions(np.float32([[0, 0], [0, 1]]), np.float32([0, 1]))
    real = {1: np.stack((w[:, 0] * 1.9, np.full(400, 0.9)), 1)}
    np.testing.assert_allclose(basis_lengths.fit(directions, w, grow, real), [0, 0.9], rtol=5e-3)
    varied = {1: np.stack((w[:, 0] * 2.2, np.full(400, 0.9)), 1)}  # the mean asks for 0.9, the spread for 1.2
    assert basis_lengths.fit(directions, w, grow, varied)[1] == pytest.approx(1.05, rel=0.02)
