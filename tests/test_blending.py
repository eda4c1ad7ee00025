"""Blending: closed forms at no change and at a strong one, and the place of the region."""

import numpy as np
import pytest

from sdgan_jax import blending

SIZE = 64


def draw(seed):
    return np.tanh(np.random.default_rng(seed).standard_normal((2, SIZE, SIZE, 3))).astype(np.float32)


SOURCE, PLAIN, OTHER = (draw(seed) for seed in range(3))


WEAK = blending.LOW * blending.WEAKEST


@pytest.mark.parametrize("change", [0.0, 0.9 * WEAK, -0.9 * WEAK])
def test_without_a_change_the_source_is_returned_bit_for_bit(change):
    np.testing.assert_array_equal(blending.blend(SOURCE, PLAIN, PLAIN + np.float32(change), False), SOURCE)


@pytest.mark.parametrize("change", [0.25, 1.5])
def test_a_change_everywhere_is_the_edited_face(change):
    edited = PLAIN + np.float32(change) * np.float32([0, -1, 0])  # one colour is enough
    np.testing.assert_allclose(blending.blend(SOURCE, PLAIN, edited, False), edited, atol=1e-5)


def test_half_way_between_the_thresholds_both_have_half():
    source, edited = PLAIN + np.float32(0.1), PLAIN + np.float32((blending.LOW + blending.HIGH) / 2 * blending.WEAKEST)
    expected = (source + edited + 0.1) / 2  # in the source's colours
    np.testing.assert_allclose(blending.blend(source, PLAIN, edited, False), expected, atol=1e-3)


def test_only_the_surroundings_of_a_change_are_replaced():
    edited = PLAIN.copy()
    edited[0, 20:30, 40:50] = OTHER[0, 20:30, 40:50] + 3
    result = np.asarray(blending.blend(PLAIN, PLAIN, edited, False))
    np.testing.assert_allclose(result[0, 20:30, 40:50], edited[0, 20:30, 40:50], atol=1e-5)
    np.testing.assert_array_equal(result[1], PLAIN[1])
    far = np.ones((SIZE, SIZE), bool)
    far[15:35, 35:55] = False
    np.testing.assert_array_equal(result[0][far], PLAIN[0][far])


def test_weak_changes_count_where_the_face_has_no_stronger_ones():
    edited = PLAIN.copy()
    edited[:, 20:30, 40:50] += 0.25
    edited[1, 50:60, 5:15] += 1.0
    region = np.asarray(blending.edited_region(PLAIN, edited, False))
    np.testing.assert_allclose(region[0, 20:30, 40:50], 1.0, atol=1e-5)
    np.testing.assert_array_equal(region[1, 20:30, 40:50], 0.0)
    np.testing.assert_allclose(region[1, 50:60, 5:15], 1.0, atol=1e-5)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_weak_attribute_beside_a_strong_one_has_its_region(sign):
    """Of two faces, one gets both attributes, the other the weak one, as without the other face; or it is removed."""
    weak, strong = np.zeros((2, 2, SIZE, SIZE, 3), np.float32)
    weak[:, 20:30, 40:50], strong[:, 50:60, 5:15] = 0.25, 1.0

    def draw(attributes):
        return PLAIN + sum(attributes[:, k, None, None, None] * one for k, one in ((1, weak), (2, strong)))

    both = np.float32([[0, sign, 1], [0, sign, 0]])
    region = np.asarray(blending.region_of_all(PLAIN, draw(both), both, draw))
    np.testing.assert_allclose(region[:, 20:30, 40:50], 1.0, atol=1e-5)
    np.testing.assert_allclose(region[0, 50:60, 5:15], 1.0, atol=1e-5)
    np.testing.assert_array_equal(region[1, 50:60, 5:15], 0.0)
    np.testing.assert_array_equal(region[:, :, 20:35], 0.0)


def test_a_removal_also_takes_weaker_changes():
    """Beside a change of 2, one of 0.38 counts where an attribute is taken off: above half of the bound of 0.7."""
    edited = PLAIN.copy()
    edited[:, 20:30, 40:50] += 0.38
    edited[:, 50:60, 5:15] += 2.0
    region = np.asarray(blending.edited_region(PLAIN, edited, np.array([True, False])))
    np.testing.assert_allclose(region[0, 20:30, 40:50], 1.0, atol=1e-5)
    np.testing.assert_array_equal(region[1, 20:30, 40:50], 0.0)


def test_edits_have_the_colours_of_the_given_face():
    """A face that G draws darker, but for a background that it draws otherwise and that does not count."""
    shift = np.float32([0.2, -0.1, 0.05])
    source = PLAIN + shift
    source[:, :8] = np.where(PLAIN[:, :8] > 0, -2, 2)
    region = np.zeros((2, SIZE, SIZE), np.float32)
    region[:, 30:40, 20:40] = 1
    found = np.asarray(blending.colour_correction(source, PLAIN, region))
    np.testing.assert_allclose(found[:, 30:40, 20:40], np.broadcast_to(shift, (2, 10, 20, 3)), atol=0.01)


def test_the_colours_are_those_nearby_by_hand():
    size, rng = 8, np.random.default_rng(5)
    source, plain = (rng.uniform(-0.3, 0.3, (1, size, size, 3)) for _ in range(2))
    region = rng.uniform(0, 1, (1, size, size))
    expected = np.zeros(source.shape)
    for i, j in np.ndindex(size, size):
        total = 0.0
        for k, m in np.ndindex(size, size):
            near = np.exp(-((i - k) ** 2 + (j - m) ** 2) / 2)  # a standard deviation of an eighth of the side
            difference = source[0, k, m] - plain[0, k, m]
            weight = (1 - region[0, k, m]) * np.exp(-(np.abs(difference).max() ** 2) / (2 * 0.5**2))
            expected[0, i, j] += near * weight * difference
            total += near * (weight + 1e-3)
        expected[0, i, j] /= total
    found = blending.colour_correction(*(np.float32(x) for x in (source, plain, region)))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_single_pixels_of_noise_are_no_change():
    edited = PLAIN.copy()
    edited[0, 10, 10] += 0.8 * 9 * WEAK  # the mean of nine pixels is below the threshold
    np.testing.assert_array_equal(blending.blend(SOURCE, PLAIN, edited, False), SOURCE)


def test_the_reach_grows_with_the_image():
    """An edit of a large image, shrunk, is about the edit of the shrunk image."""
    large = np.zeros((1, 4 * SIZE, 4 * SIZE, 3), np.float32)
    large[:, 80:120, 160:200] = 1
    small = large[:, ::4, ::4]
    of_large = np.asarray(blending.changed(large, np.zeros_like(large), 0.1, 0.3))
    of_small = np.asarray(blending.changed(small, np.zeros_like(small), 0.1, 0.3))
    shrunk = of_large.reshape(1, SIZE, 4, SIZE, 4).mean((2, 4))
    assert np.abs(shrunk - of_small).max() < 0.35 and np.abs(shrunk - of_small).mean() < 0.01
