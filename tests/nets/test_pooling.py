"""Pooling against loops over windows."""

import numpy as np
import pytest

from sdgan_jax.nets import pooling
from tests.random_arrays import noise


@pytest.mark.parametrize(("size", "stride", "padding"), [(3, 2, 0), (2, 2, 0), (3, 1, 1)])
def test_the_maximum_of_each_window(size, stride, padding):
    x = np.abs(noise(2, 9, 6, 3))
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    rows, columns = ((length - size) // stride + 1 for length in padded.shape[1:3])
    expected = np.zeros((2, rows, columns, 3), np.float32)
    for i in range(rows):
        for j in range(columns):
            window = padded[:, i * stride : i * stride + size, j * stride : j * stride + size]
            expected[:, i, j] = window.max((1, 2))
    np.testing.assert_array_equal(pooling.max_pool(x, size, stride, padding), expected)


def test_an_average_counts_the_pixels_of_the_image_alone():
    x = noise(2, 5, 4, 3)
    expected = np.stack(
        [[x[:, max(0, i - 1) : i + 2, max(0, j - 1) : j + 2].mean((1, 2)) for j in range(4)] for i in range(5)]
    )
    np.testing.assert_allclose(pooling.average_pool(x), np.moveaxis(expected, 2, 0), atol=1e-6)
