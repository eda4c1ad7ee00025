"""Blending: closed forms at no change and at a strong one, and the place of the region."""

import numpy as np
import pytest

from sdgan_jax import blending

SIZE = 64


def draw(seed):
    return np.tanh(np.random.default_rng(seed).standard_normal((2, SIZE, SIZE, 3))).astype(np.float32)


SOURCE, PLAIN, OTHER = (draw(seed) for seed in range(3))


@pytest.mark.parametrize("change", [0.0, 0.9 * blending.LOW, -0.9 * blending.LOW])
def test_without_a_change_the_source_is_returned_bit_for_bit(change):
    np.testing.assert_array_equal(blending.blend(SOURCE, PLAIN, PLAIN + np.float32(change)), SOURCE)


def test_a_strong_change_is_the_edited_face():
    edited = PLAIN + np.float32(1.1 * blending.HIGH) * np.float32([0, -1, 0])  # one colour is enough
    np.testing.assert_allclose(blending.blend(SOURCE, PLAIN, edited), edited, atol=1e-5)


def test_half_way_between_the_thresholds_both_have_half():
    edited = PLAIN + np.float32((blending.LOW + blending.HIGH) / 2)
    np.testing.assert_allclose(blending.blend(SOURCE, PLAIN, edited), (SOURCE + edited) / 2, atol=1e-4)


def test_only_the_surroundings_of_a_change_are_replaced():
    edited = PLAIN.copy()
    edited[0, 20:30, 40:50] = OTHER[0, 20:30, 40:50] + 3
    result = np.asarray(blending.blend(SOURCE, PLAIN, edited))
    np.testing.assert_allclose(result[0, 20:30, 40:50], edited[0, 20:30, 40:50], atol=1e-5)
    np.testing.assert_array_equal(result[1], SOURCE[1])
    far = np.ones((SIZE, SIZE), bool)
    far[15:35, 35:55] = False
    np.testing.assert_array_equal(result[0][far], SOURCE[0][far])


def test_single_pixels_of_noise_are_no_change():
    edited = PLAIN.copy()
    edited[0, 10, 10] += 0.8 * 9 * blending.LOW  # the mean of nine pixels is below the threshold
    np.testing.assert_array_equal(blending.blend(SOURCE, PLAIN, edited), SOURCE)


def test_the_reach_grows_with_the_image():
    """An edit of a large image, shrunk, is about the edit of the shrunk image."""
    large = np.zeros((1, 4 * SIZE, 4 * SIZE, 3), np.float32)
    large[:, 80:120, 160:200] = 1
    small = large[:, ::4, ::4]
    of_large = np.asarray(blending.changed(large, np.zeros_like(large), 0.1, 0.3))
    of_small = np.asarray(blending.changed(small, np.zeros_like(small), 0.1, 0.3))
    shrunk = of_large.reshape(1, SIZE, 4, SIZE, 4).mean((2, 4))
    assert np.abs(shrunk - of_small).max() < 0.35 and np.abs(shrunk - of_small).mean() < 0.01
