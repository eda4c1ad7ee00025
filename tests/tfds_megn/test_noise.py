"""Noise tables: they repeat, wrap around, and stay in their range."""

import numpy as np
import pytest

from tfds_megn import noise


@pytest.mark.parametrize("table", [noise.grain, noise.strands])
def test_tables_lie_in_their_range_and_vary(table):
    values = table()
    assert values.shape == (noise.SIDE**2,) and values.dtype == np.float32
    assert np.abs(values).max() == pytest.approx(1.0) and abs(values.mean()) < 0.05
    assert values.std() > 0.2


def test_strands_run_along_their_second_axis():
    square = noise.strands().reshape(noise.SIDE, noise.SIDE)

    def likeness(axis):
        return np.corrcoef(square.ravel(), np.roll(square, 4, axis).ravel())[0, 1]

    assert likeness(1) > 0.8 > 0.5 > likeness(0)


def test_coordinates_wrap_around():
    across, along = (np.random.default_rng(k).uniform(0, 256, 100) for k in (0, 1))
    here = noise.wrapped(noise.grain(), across, along)
    np.testing.assert_array_equal(noise.wrapped(noise.grain(), across + 256, along + 512), here)
    i, j = across.astype(int), along.astype(int)
    np.testing.assert_array_equal(here, noise.grain().reshape(256, 256)[i, j])


def test_a_point_of_smooth_noise_is_that_of_its_table():
    across, along = (np.random.default_rng(k).uniform(0, 256, 200) for k in (2, 3))
    table = noise.smooth_noise(noise.SIDE, 5, 9)
    assert np.abs(table).max() <= 1 and np.abs(np.diff(table, axis=0)).max() < 0.2
    expected = noise.wrapped(table.reshape(-1), across, along)
    np.testing.assert_allclose(noise.smooth_at(5, 9, across, along), expected, atol=1e-6)
