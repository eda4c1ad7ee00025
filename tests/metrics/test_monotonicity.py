"""Monotone sequences, and each way not to be one."""

import numpy as np
import pytest

from sdgan_jax.metrics import monotonicity


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.2, 0.9, 1.0], True),
        ([0.0, 0.9, 0.9, 0.9], True),
        ([0.1, 0.5, 0.485, 0.8], True),  # falls by less than the tolerance
        ([0.1, 0.5, 0.45, 0.8], False),
        ([0.1, 0.8, 0.79, 0.775], False),  # two small falls add up
        ([0.0, 0.0, 0.0, 0.0], False),
        ([0.5, 0.51, 0.51, 0.515], False),  # rises by less than the tolerance
        ([0.9, 0.5, 0.2, 0.0], False),
    ],
)
def test_a_sequence_rises(values, expected):
    assert monotonicity.rises(np.array([values, [0, 0.3, 0.6, 1]]).T, 0.02).tolist() == [expected, True]


def test_one_value_is_no_sequence():
    with pytest.raises(ValueError, match="S >= 2"):
        monotonicity.rises(np.zeros((1, 3)), 0.02)
