"""Changed regions: counts of pixels in closed form."""

import numpy as np
import pytest

from sdgan_jax.metrics import region


def pair():
    """A black image, and the same with a 2×3 patch that is 0.6 brighter in one of the three colours."""
    first = np.zeros((2, 4, 5, 3), np.float32)
    second = first.copy()
    second[0, 1:3, :3, 1] = 0.6
    return first, second


@pytest.mark.parametrize(("threshold", "count"), [(0.0, 6), (0.19, 6), (0.21, 0)])
def test_changed_compares_the_mean_of_the_colours(threshold, count):
    marked = region.changed(*pair(), threshold)
    assert marked.shape == (2, 4, 5) and marked.sum(axis=(1, 2)).tolist() == [count, 0]


def test_overlap_of_two_rows_shifted_by_one():
    first, second = np.zeros((2, 3, 4, 4), bool)
    first[0, :2] = second[0, 1:3] = True  # 4 pixels of 12
    first[1, 0] = True  # 0 of 4
    np.testing.assert_allclose(region.intersection_over_union(first, second), [1 / 3, 0, np.nan])


def test_differences_inside_outside_and_in_all():
    first, second = pair()
    second[0, 0, 0] = -0.3
    inside = region.changed(*pair(), 0.0)
    np.testing.assert_allclose(region.mean_difference(first, second, inside), [0.2, np.nan], rtol=1e-6)
    np.testing.assert_allclose(region.mean_difference(first, second, ~inside), [0.3 / 14, 0], rtol=1e-6)
    np.testing.assert_allclose(region.mean_difference(first, second), [(6 * 0.2 + 0.3) / 20, 0], rtol=1e-6)


def test_images_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match="of one shape"):
        region.mean_difference(np.zeros((1, 4, 4, 3)), np.zeros((1, 4, 5, 3)))
