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

from sdgan_jax.nets import backend
from sdgan_jax.pretrained.archive import Tree
from sdgan_jax.training import shards
from sdgan_jax.training.shards import AXIS as AXIS


def make_mesh(batch_size: int, devices: list[jax.Device] | None = None, fsdp: int = 1) -> Mesh:
    """Returns a mesh of all devices of all processes with the axes `data` and `fsdp`.

    Args:
        batch_size: images in a step.
        devices: other devices than all.
        fsdp: number of devices along `fsdp`, neighbours in the list, which share one copy of the state.

    Raises:
        ValueError: the devices cannot be split into so many, or the batch cannot be split evenly over the devices.
    """
    devices = devices or jax.devices()
    count = len(devices)
    if count % fsdp:
        fitting = ", ".join(str(number) for number in range(1, count + 1) if count % number == 0)
        raise ValueError(f"config.fsdp is {fsdp}, which does not divide the {count} devices; it can be {fitting}")
    if batch_size % count:
        raise ValueError(
            f"config.batch_size is {batch_size}, which {count} devices cannot share evenly; "
            f"make it a multiple of {count}"
        )
    return Mesh(np.asarray(devices).reshape(-1, fsdp), AXIS, axis_types=(AxisType.Auto,) * len(AXIS))


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of an array of which every device has a full copy."""
    return NamedSharding(mesh, P())


def placed(state: Tree, mesh: Mesh) -> Tree:
    """Returns the shardings of a state, or of its shapes: large arrays are split over `fsdp`, see `shards.spec`."""
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), shards.specs(state, mesh.shape[shards.FSDP]))


def make_state(init: Callable[[], Tree], mesh: Mesh) -> Tree:
    """Compiles and calls `init`; returns the state `placed`, with the same numbers on any mesh.

    Keys of the kind `unsafe_rbg` promise that only where `fsdp` is 1.
    """
    init = jax.jit(init)  # traced once for both calls
    return jax.jit(init, out_shardings=placed(jax.eval_shape(init), mesh))()


def connect() -> None:
    """Connects all devices of all processes right after the processes have joined.

    Connections made at the first step fail when one process reaches it half a minute after the others.
    """
    mesh = make_mesh(jax.device_count())
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
    """Compiles the per-device step over the mesh: state `placed` and donated, batch split by rows."""

    def mapped_step(state: Any, batch: Any) -> tuple[Any, Any]:
        specs = shards.specs(state, mesh.shape[shards.FSDP])

        def on_device(state: Any, batch: Any) -> tuple[Any, Any]:
            state, metrics = step(shards.mark(state, specs), batch)
            return shards.unmark(state), metrics

        in_specs, out_specs = (specs, P(AXIS)), (specs, P())
        return jax.shard_map(on_device, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)(
            state, batch
        )

    options = backend.quick_compilation(mesh.devices.flat[0].platform)
    return jax.jit(mapped_step, donate_argnums=0, compiler_options=options)


def put_rows(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Puts the rows of this process on its devices, in order."""
    sharding = NamedSharding(mesh, P(AXIS))
    return {name: jax.make_array_from_process_local_data(sharding, rows) for name, rows in batch.items()}
