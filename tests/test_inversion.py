"""Inversion: the pyramid distance by hand, and a latent that a linear generator must give back."""

import numpy as np

from sdgan_jax import inversion


def test_the_pyramid_distance_averages_over_scales():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3, 16, 16, 3)).astype(np.float32)
    expected = []
    for size in (16, 8, 4):
        cells = (a - b).reshape(3, size, 16 // size, size, 16 // size, 3).mean((2, 4))
        expected.append(np.square(cells).mean((1, 2, 3)))
    np.testing.assert_allclose(inversion.pyramid_distance(a, b), np.mean(expected, 0), rtol=1e-5)
