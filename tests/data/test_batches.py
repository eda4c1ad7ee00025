"""The batch loop: every row once and in order, one shape, whatever the function returns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.data.batches import map_batches


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 11])
def test_every_row_is_computed_alone_and_in_order(count):
    rows, shapes = np.arange(3 * count).reshape(count, 3), []

    def function(first, second):
        shapes.append(first.shape)
        return {"sum": first + second, "pair": (first[:, 0], jnp.asarray(second))}

    result = map_batches(function, rows, 10 * rows, size=4)
    np.testing.assert_array_equal(result["sum"], 11 * rows)
    np.testing.assert_array_equal(result["pair"][0], 3 * np.arange(count))
    np.testing.assert_array_equal(result["pair"][1], 10 * rows)
    assert isinstance(result["sum"], np.ndarray) and isinstance(result["pair"][1], jax.Array)
    assert shapes == [(min(count, 4), 3)] * -(-count // 4)


def test_the_last_row_fills_up_the_last_batch():
    seen = []
    map_batches(lambda rows: seen.append(rows.tolist()) or rows, np.arange(5), size=3)
    assert seen == [[0, 1, 2], [3, 4, 4]]


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="nothing to do: N is 0"):
        map_batches(np.sqrt, np.zeros((0, 2)), size=4)
