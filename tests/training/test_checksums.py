import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.benchmark import hlo
from sdgan_jax.training import sharding
from sdgan_jax.training.checksums import checksums, examine, examine_on_devices, finite


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


def test_an_array_on_several_devices_is_not_gathered():
    tree = {"x": {"y": np.random.default_rng(0).standard_normal((3, 3, 64, 32)).astype(np.float32)}}
    mesh = sharding.make_mesh(4, fsdp=2)
    placed, on_device = jax.device_put(tree, sharding.placed(tree, mesh)), examine_on_devices
    assert len(placed["x"]["y"].sharding.spec)
    bits = tree["x"]["y"].reshape(-1).view(np.uint32)
    expected = sum(int(value) * (2 * place + 1) for place, value in enumerate(bits)) % 2**32
    assert {int(found["x/y"]) for found in (on_device(placed)[0], examine(placed)[0], checksums(tree))} == {expected}
    program = hlo.Program(on_device.lower(placed).compile().as_text())
    assert {(one.kind, one.bytes <= 8) for one in program.collectives()} == {("all-reduce", True)}


@pytest.mark.parametrize("place", [np.asarray, jnp.asarray])
def test_arrays_that_are_not_finite_are_found_on_the_host_and_on_the_device(place):
    wrong = {name: np.array([1.0, value], np.float32) for name, value in (("a", np.nan), ("b", np.inf), ("c", -np.inf))}
    tree = jax.tree.map(place, wrong | {"d": np.float32([1e38, -1e38]), "e": np.int32([1]), "f": np.True_})
    tree["g"] = place(jnp.bfloat16(np.nan))
    expected = {"a": False, "b": False, "c": False, "d": True, "e": True, "f": True, "g": False}
    assert {name: bool(value) for name, value in finite(tree).items()} == expected
    for compute in (examine, examine_on_devices):
        assert {name: bool(value) for name, value in compute(tree)[1].items()} == expected
