"""Devices: the mesh, where the state and the batch lie on it, and the one place that maps the step over it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

AXIS = "data"  # the axis of the mesh, over which batches are split


def make_mesh(batch_size: int, devices: list[jax.Device] | None = None) -> Mesh:
    """A mesh of all devices (of all processes) with the one axis `data`.

    Raises:
        ValueError: when the batch cannot be split evenly over the devices.
    """
    devices = devices or jax.devices()
    if batch_size % len(devices):
        raise ValueError(
            f"config.batch_size is {batch_size}, which {len(devices)} devices cannot share evenly; "
            f"make it a multiple of {len(devices)}"
        )
    return Mesh(np.asarray(devices), (AXIS,), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds all of it: the state."""
    return NamedSharding(mesh, P())


def connect() -> None:
    """Connects all devices of all processes, while the processes are at one place.

    Connections made later, at the first step, fail where a process comes to it half a minute after the others.
    """
    mesh = Mesh(np.asarray(jax.devices()), (AXIS,))
    ones = jax.make_array_from_callback((mesh.size,), NamedSharding(mesh, P(AXIS)), lambda index: np.ones(1))
    jax.block_until_ready(jax.jit(jnp.sum, out_shardings=replicated(mesh))(ones))
    multihost_utils.sync_global_devices("connected")


@contextlib.contextmanager
def first_process_first() -> Iterator[None]:
    """Lets the first process do what the block does, such as preparing data, before the others do it."""
    several, first = jax.process_count() > 1, jax.process_index() == 0
    if several and not first:
        multihost_utils.sync_global_devices("the first process is done")
    try:
        yield
    finally:
        if several and first:
            multihost_utils.sync_global_devices("the first process is done")


def map_step(step: Callable[[Any, Any], tuple[Any, Any]], mesh: Mesh) -> jax.stages.Wrapped:
    """Compiles the per-device step over the mesh: state replicated and donated, batch split by rows."""
    mapped = jax.shard_map(step, mesh=mesh, in_specs=(P(), P(AXIS)), out_specs=(P(), P()), check_vma=False)
    return jax.jit(mapped, donate_argnums=0)


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh, group: int = 1) -> dict[str, jax.Array]:
    """Puts this process's rows on its devices.

    Rows are sorted so that the groups of the minibatch standard deviation wear the same attribute where that is
    possible: a generator that always draws the same masked face then stands out. They are dealt out like cards, row i
    to device i mod n, so that these groups are the same samples on any number of devices.

    Args:
        batch: arrays of the same number of rows, "attributes" f32[N,A] among them.
        mesh: of `make_mesh`.
        group: samples a group (`discriminator.mbstd_group`).

    Returns:
        The batch, sharded by rows.
    """
    count = mesh.local_mesh.size
    order = np.argsort(batch["attributes"].argmax(1), kind="stable")
    if len(order) % group == 0:  # groups are strided (`layers.minibatch_stddev`)
        order = order.reshape(-1, group).T.reshape(-1)
    order = order.reshape(-1, count).T.reshape(-1)  # dealt to the devices
    return put_rows({name: rows[order] for name, rows in batch.items()}, mesh)


def put_rows(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Puts this process's rows on its devices in their order."""
    sharding = NamedSharding(mesh, P(AXIS))
    return {name: jax.make_array_from_process_local_data(sharding, rows) for name, rows in batch.items()}
