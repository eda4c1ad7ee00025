import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.training.checksums import checksums


@pytest.mark.parametrize("place", [np.asarray, jnp.asarray])
def test_a_checksum_is_the_sum_of_odd_multiples_of_the_bits(place):
    """By hand: 1.0 is 0x3F800000; places 0 and 1 have the factors 1 and 3."""
    tree = {"a": place(np.array([1.0, 1.0], np.float32)), "b": {"c": place(np.array([3, 5], np.int32))}}
    tree["d"] = place(np.True_)
    sums = {name: int(value) for name, value in checksums(tree).items()}
    assert sums == {"a": 4 * 0x3F800000 % 2**32, "b/c": 3 + 15, "d": 1}


def test_a_checksum_of_halves_in_rows():
    half = jnp.asarray(np.array([[1.0], [-2.0]], np.float16))  # 0x3C00, 0xC000
    assert int(checksums({"h": half})["h"]) == 0x3C00 + 3 * 0xC000


def test_every_flipped_bit_changes_the_checksum_on_the_host_and_on_the_device():
    array, on_device = np.random.default_rng(0).standard_normal(7).astype(np.float32), jax.jit(checksums)
    whole = int(checksums({"x": array})["x"])
    assert int(on_device({"x": array})["x"]) == whole
    for place, bit in np.ndindex(array.size, 32):
        bits = array.copy().view(np.uint32)
        bits[place] ^= np.uint32(1) << np.uint32(bit)
        assert int(checksums({"x": bits})["x"]) != whole
        assert int(on_device({"x": bits.view(np.float32)})["x"]) != whole
