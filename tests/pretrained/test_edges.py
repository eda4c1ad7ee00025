import numpy as np
import pytest

from sdgan_jax.face3d import proposals
from sdgan_jax.pretrained import edges, storage


def test_a_filter_is_read_as_it_was_written(tmp_path):
    numbers = np.random.default_rng(0).normal(size=proposals.NUMBERS).astype(np.float32)
    edges.write_filter(tmp_path, numbers)
    np.testing.assert_array_equal(edges.edge_filter(tmp_path), numbers)


def test_a_filter_of_another_size_is_refused(tmp_path):
    edges.write_filter(tmp_path, np.zeros(10, np.float32))
    with pytest.raises(ValueError, match="filter"):
        edges.edge_filter(tmp_path)


def test_another_network_is_refused():
    with pytest.raises(ValueError, match="edges"):
        edges.edge_filter(storage.SHIPPED / "identity64")
