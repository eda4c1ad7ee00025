"""Gradient accumulation: parts against the whole, in numpy."""

import numpy as np
import pytest

from sdgan_jax.training import accumulation


@pytest.mark.parametrize(("count", "group"), [(1, 4), (2, 4), (3, 2), (4, 1)])
def test_the_mean_over_parts_is_that_of_the_whole(count, group):
    x = np.random.default_rng(0).standard_normal((24, 5)).astype(np.float32)
    result = accumulation.mean_over_parts(lambda rows: {"mean": (rows**2).mean(0)}, x, count, group)
    np.testing.assert_allclose(result["mean"], (x**2).mean(0), rtol=1e-5)


def test_the_samples_of_a_group_stay_in_one_part():
    """Of 8 rows in groups of 2, strided, group g holds rows g and g + 4; the variance within groups tells them."""
    x = np.array([0.0, 10.0, 20.0, 30.0, 1.0, 13.0, 25.0, 37.0], np.float32)

    def spread(rows):  # mean over the groups of the squared half difference
        return ((rows[: len(rows) // 2] - rows[len(rows) // 2 :]) ** 2).mean() / 4

    expected = np.mean([1.0, 9.0, 25.0, 49.0]) / 4
    for count in (1, 2, 4):
        np.testing.assert_allclose(accumulation.mean_over_parts(spread, x, count, 2), expected, rtol=1e-6)
