"""Devices: the mesh, the placement of state and batch on it, and the mapping of the step over it."""

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
    """Returns a mesh of all devices of all processes with the single axis `data`.

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
    """Returns the sharding of the state: every device has a full copy."""
    return NamedSharding(mesh, P())


def connect() -> None:
    """Connects all devices of all processes right after the processes have joined.

    Connections made at the first step fail when one process reaches it half a minute after the others.
    """
    mesh = Mesh(np.asarray(jax.devices()), (AXIS,))
    ones = jax.make_array_from_callback((mesh.size,), NamedSharding(mesh, P(AXIS)), lambda index: np.ones(1))
    jax.block_until_ready(jax.jit(jnp.sum, out_shardings=replicated(mesh))(ones))
    multihost_utils.sync_global_devices("connected")


@contextlib.contextmanager
def first_process_first() -> Iterator[None]:
    """Runs the block, such as preparing data, in the first process before the other processes run it."""
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


def put_rows(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Puts the rows of this process on its devices, in order."""
    sharding = NamedSharding(mesh, P(AXIS))
    return {name: jax.make_array_from_process_local_data(sharding, rows) for name, rows in batch.items()}
