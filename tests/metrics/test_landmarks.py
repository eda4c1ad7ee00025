"""The error of landmarks against the closed form."""

import numpy as np

from sdgan_jax.metrics import landmarks


def test_a_shift_of_one_pixel_in_a_box_of_80_by_20_is_two_and_a_half_per_cent():
    rng = np.random.default_rng(0)
    true = np.concatenate([rng.uniform(0, 1, (2, 66, 3)) * [80, 20, 9], np.zeros((2, 2, 3))], 1)
    true[:, -1, :2] = 80, 20
    moved = true + [0.6, 0.8, 0]
    error = landmarks.normalised_mean_error(moved, true, true)
    np.testing.assert_allclose(error, [2.5, 2.5], rtol=1e-6)  # 1 / sqrt(80 * 20)


def test_each_face_is_measured_by_its_own_box():
    true = np.zeros((2, 3, 2))
    true[:, 1], true[1, 2] = (10, 10), (30, 30)
    error = landmarks.normalised_mean_error(true + [3, 4], true, true)
    np.testing.assert_allclose(error, [100 * 5 / 10, 100 * 5 / 30])
