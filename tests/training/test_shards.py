"""Arrays in pieces: where they are cut, how they are exchanged, and a step that is the same as with whole arrays."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from sdgan_jax.benchmark import hlo
from sdgan_jax.training import sharding, shards


@pytest.mark.parametrize(
    ("shape", "count", "expected"),
    [
        ((3, 3, 512, 256), 1, P()),  # a copy for each device
        ((3, 3, 512, 256), 8, P(None, None, "fsdp")),
        ((3, 3, 512, 256), 3, P("fsdp")),
        ((1, 1, 3, 2048), 4, P(None, None, None, "fsdp")),
        ((4, 4, 512), 4, P("fsdp")),
        ((2048,), 2, P("fsdp")),
        ((2046,), 2, P()),  # small
        ((63, 65), 2, P()),  # 2 divides neither
        ((), 2, P()),
    ],
)
def test_large_arrays_are_cut_along_the_first_axis_that_can_be(shape, count, expected):
    assert shards.spec(shape, count) == expected


def test_all_but_small_arrays_are_stored_once_by_the_devices_that_share():
    kernel = np.arange(4096, dtype=np.float32).reshape(2, 2048)
    state = {"params": {"kernel": kernel, "bias": np.arange(8.0)}, "basis": kernel}
    mesh = sharding.make_mesh(4, fsdp=2)
    put = jax.device_put(state, sharding.placed(state, mesh))
    by_device = {shard.device.id: np.asarray(shard.data) for shard in put["params"]["kernel"].addressable_shards}
    for device in range(4):  # neighbours share
        np.testing.assert_array_equal(by_device[device], kernel[device % 2 : device % 2 + 1])
    for whole in (put["params"]["bias"], put["basis"]):
        assert {shard.data.shape for shard in whole.addressable_shards} == {whole.shape}


def regression(optimizer):
    """A step of linear regression, written as those of the networks are."""

    def step(state, batch):
        def loss(params, x):
            return jnp.square(x @ params["kernel"] + params["bias"]).mean()

        whole = shards.gather(state["params"])
        value, gradient = jax.value_and_grad(loss)(whole, batch["x"])
        gradient, value = shards.mean((gradient, value), state["params"])
        change, opt = optimizer.update(gradient, state["opt"])
        params = optax.apply_updates(state["params"], change)
        ema = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, state["ema"], params)
        return {"params": params, "ema": ema, "opt": opt}, value

    return step


def descend(fsdp, rows):
    """Returns the compiled step, its last state and the losses of three steps."""
    optimizer = optax.adam(0.1, eps=1e-3)

    def init():
        kernel = jax.random.normal(jax.random.key(1), (64, 48))
        params = {"kernel": kernel, "bias": jnp.ones(48)}
        return {"params": params, "ema": jax.tree.map(jnp.copy, params), "opt": optimizer.init(params)}

    mesh = sharding.make_mesh(16, fsdp=fsdp)
    state, step = sharding.make_state(init, mesh), sharding.map_step(regression(optimizer), mesh)
    first = jax.device_get(state)
    batch = sharding.put_rows({"x": rows}, mesh)
    compiled, losses = step.lower(state, batch).compile(), []
    for _ in range(3):
        state, value = step(state, batch)
        losses.append(float(value))
    assert step._cache_size() == 1 and state["params"]["kernel"].sharding.spec == shards.spec((64, 48), fsdp)
    return compiled, first, jax.device_get(state), losses


def test_a_step_is_the_same_with_arrays_in_pieces():
    rows = np.random.default_rng(0).standard_normal((16, 64)).astype(np.float32)
    whole, numbers = descend(1, rows), 64 * 48
    for fsdp in (2, 4):
        compiled, first, last, losses = descend(fsdp, rows)
        jax.tree.map(np.testing.assert_array_equal, first, whole[1])
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), last, whole[2])
        np.testing.assert_allclose(losses, whole[3], rtol=1e-6)
        # Four arrays of the kernel's shape: it, its average, and two moments.
        saved = whole[0].memory_analysis().argument_size_in_bytes - compiled.memory_analysis().argument_size_in_bytes
        assert saved == 4 * 4 * numbers * (fsdp - 1) // fsdp
        program = hlo.Program(compiled.as_text())
        assert program.aliased() == hlo.Program(whole[0].as_text()).aliased()
        found = collections.Counter((one.kind, one.group, one.bytes) for one in program.collectives())
        expected = {
            ("all-gather", fsdp, 4 * numbers): 1,
            ("reduce-scatter", fsdp, 4 * numbers // fsdp): 1,
            ("all-reduce", 4, 4 * (48 + 1)): 1,  # the bias and the loss
        }
        if fsdp == 2:
            expected["all-reduce", 2, 4 * numbers // 2] = 1
        assert found == expected


def test_whole_arrays_are_exchanged_as_before():
    rows = np.zeros((16, 64), np.float32)
    (found,) = hlo.Program(descend(1, rows)[0].as_text()).collectives()
    assert (found.kind, found.group, found.arrays) == ("all-reduce", 4, 3)
