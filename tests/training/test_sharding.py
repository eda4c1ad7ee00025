"""The mesh and the mapped step."""

import jax
import numpy as np
import pytest

from sdgan_jax.training import sharding


def test_a_batch_that_devices_cannot_share_is_refused():
    with pytest.raises(ValueError, match="config.batch_size is 6, which 4 devices cannot share evenly"):
        sharding.make_mesh(6)


def test_a_number_of_sharing_devices_that_does_not_divide_them_is_refused():
    with pytest.raises(ValueError, match="config.fsdp is 3, which does not divide the 4 devices; it can be 1, 2, 4$"):
        sharding.make_mesh(12, fsdp=3)


def test_rows_lie_on_the_devices_in_order():
    for fsdp in (1, 2, 4):
        placed = sharding.put_rows({"x": np.arange(8)}, sharding.make_mesh(8, fsdp=fsdp))["x"]
        shards = sorted(placed.addressable_shards, key=lambda shard: shard.device.id)
        assert [shard.data.tolist() for shard in shards] == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_the_step_is_mapped_over_rows_and_its_state_is_donated():
    mesh = sharding.make_mesh(8)

    def step(state, batch):
        total = jax.lax.psum(batch["x"].sum(), sharding.AXIS)
        return state + total, {"rows": jax.lax.psum(batch["x"].shape[0], sharding.AXIS)}

    state = jax.device_put(np.float32(10), sharding.replicated(mesh))
    batch = sharding.put_rows({"x": np.arange(8, dtype=np.float32)}, mesh)
    new, metrics = sharding.map_step(step, mesh)(state, batch)
    assert float(new) == 10 + 28 and int(metrics["rows"]) == 8
    assert state.is_deleted()
