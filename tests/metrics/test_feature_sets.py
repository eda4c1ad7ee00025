"""Check of two sets of features."""

import numpy as np
import pytest

from sdgan_jax.metrics import density_coverage, feature_sets, frechet, kid, precision_recall


def test_sets_keep_their_values_and_take_the_type():
    x, y = feature_sets.checked([[1, 2], [3, 4]], np.zeros((3, 2), np.float32))
    assert (x.dtype, y.dtype) == (np.float64, np.float64)
    np.testing.assert_array_equal(x, [[1, 2], [3, 4]])
    assert feature_sets.checked(x, y.astype(np.float32), None)[1].dtype == np.float32


@pytest.mark.parametrize(
    ("x", "y", "line"),
    [
        (np.zeros((4, 3)), np.zeros((4, 2)), "features must be .N,D. and .M,D. with one D, got .4, 3. and .4, 2."),
        (np.zeros(4), np.zeros(4), "features must be .N,D. and .M,D. with one D"),
        (np.zeros((1, 3)), np.zeros((4, 3)), "each set needs at least 2 samples, got 1 and 4"),
        (np.ones((9, 3)), np.diag([1, np.nan, np.inf]), "features of 2 of 3 samples are NaN or infinite; leave these"),
    ],
)
def test_sets_that_no_metric_compares_are_refused_by_each(x, y, line):
    compare = (
        feature_sets.checked,
        frechet.frechet_distance,
        kid.polynomial_mmd,
        kid.kernel_distance,
        precision_recall.precision_recall,
        density_coverage.density_coverage,
    )
    for function in compare:
        with pytest.raises(ValueError, match=line):
            function(x, y)
