"""Accuracy: counted by hand."""

import numpy as np
import pytest

from sdgan_jax.metrics import accuracy


def test_confusion_rows_are_true_classes():
    confusion = accuracy.confusion_matrix(np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 2, 0]), 4)
    np.testing.assert_array_equal(confusion, [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 2, 0], [0, 0, 0, 0]])
    assert accuracy.accuracy(confusion) == pytest.approx(4 / 6)
    np.testing.assert_allclose(accuracy.accuracy_per_class(confusion), [1 / 2, 1, 2 / 3, np.nan])


def test_ids_out_of_range_are_refused():
    with pytest.raises(ValueError, match="predictions has ids from 0 to 6"):
        accuracy.confusion_matrix(np.array([0, 1]), np.array([0, 6]), 6)
    with pytest.raises(ValueError, match="one length"):
        accuracy.confusion_matrix(np.array([0, 1]), np.array([0]), 6)
