"""A config's training step, compiled for a TPU pod that is not there: memory, exchanges, FLOPs, compile time.

The compiler of TPUs runs on any Linux machine where `libtpu` is installed. It returns the program that the pod would
run, with its memory and its collectives; nothing is run, and no network is used.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
import resource
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sdgan_jax.benchmark import chips, hlo, steps
from sdgan_jax.config import Config
from sdgan_jax.nets import backend
from sdgan_jax.networks import Networks, make_networks
from sdgan_jax.training import sharding
from sdgan_jax.training.gan import joint_step
from sdgan_jax.training.gan.inputs import check_accumulation
from sdgan_jax.training.gan.state import init_state

SIZES = (8, 64, 256)  # numbers of devices whose efficiency is predicted from one compiled step
LAZY = ("r1", "path_length", "f")  # updates that are not due at every step, and the scopes of their code
_SETTINGS = {  # of libtpu: nothing is asked of the network, and other processes may compile too
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_WORKER_ID": "0",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
_VARIANTS = {"v4": {"chip_config_name": "megacore"}}  # JAX sees the two cores of a v4 chip as one device
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Report:
    """Memory, program and cost of compilation of one step, as the compiler reports them.

    Attributes:
        memory: bytes of one device: `arguments`, `temporaries` (0 for a program that does not fit), `program` and
            `total`; `capacity`, what the compiler can use, where it names it.
        program: the program; None where it does not fit.
        compiling: `trace_seconds`, `lower_seconds`, `compile_seconds`, `processor_seconds` of the three, and
            `peak_host_bytes` of this process.
    """

    memory: dict[str, float]
    program: hlo.Program | None
    compiling: dict[str, float]


def measure(config: Config, topology: str, log: Callable[[str], None] = print) -> dict[str, Any]:
    """Compiles the training step of a config for a topology.

    A step that does not fit is compiled again for fewer images in as many parts, and the batch that fits follows from
    both.

    Args:
        config: a validated config.
        topology: such as "v5e:2x4": chip and shape.
        log: receives lines of progress.

    Returns:
        A tree for JSON, in seconds and bytes of one device: `topology`, `devices`, `chip`, `config`, `memory` (see
        `Report`), `fits`, `largest_batch` (where the given one does not fit, see `_largest_batch`), `compiling`,
        `collectives`, `phases` (`flops`, `traffic`, `exchanged` of each), `steady` (see `predict`), `scaling` (see
        `scale`).

    Raises:
        ValueError: there is no such topology, or the batch does not fit its number of devices.
        RuntimeError: libtpu is not installed.
    """
    chip, devices = chips.chip_of(topology), find_devices(topology)
    mesh = sharding.make_mesh(config.batch_size, devices, config.fsdp)
    check_accumulation(config, mesh.size)
    log(f"compiling for {mesh.size} × {devices[0].device_kind}; this takes minutes")
    report = compile_step(make_networks(config), mesh)
    fits = report.program is not None
    results: dict[str, Any] = {
        "topology": topology,
        "devices": mesh.size,
        "chip": dataclasses.asdict(chip),
        "config": dataclasses.asdict(config),
        "versions": {"jax": jax.__version__, "libtpu": devices[0].client.platform_version.partition("\n")[0]},
        "memory": report.memory,
        "fits": fits,
        "largest_batch": None if fits else _largest_batch(config, mesh, report.memory, log),
        "compiling": report.compiling,
    }
    if report.program is None:
        return results
    found = report.program.collectives()
    phases = count_phases(config, report.program, mesh.size)
    results["compiling"]["instructions"] = len(report.program.instructions)
    results["collectives"] = [dataclasses.asdict(one) | {"phase": phase_of(one.scope)} for one in found]
    results["host_transfers"] = report.program.host_transfers()
    results["phases"] = phases
    results["steady"] = predict(config, chip, phases, mesh.size)
    results["scaling"] = scale(config, chip, phases, mesh.size)
    return results


def compile_step(nets: Networks, mesh: Mesh) -> Report:
    """Compiles the training step, all lazy updates included, for the devices of a mesh that need not be here."""
    config, start, used = nets.config, time.perf_counter(), time.process_time()
    rows = NamedSharding(mesh, PartitionSpec(sharding.AXIS))
    shapes = jax.eval_shape(lambda: init_state(nets))
    state = jax.tree.map(
        lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes, sharding.placed(shapes, mesh)
    )
    n, side = config.batch_size, config.resolution
    batch = {
        "image": jax.ShapeDtypeStruct((n, side, side, 3), np.uint8, sharding=rows),
        "attributes": jax.ShapeDtypeStruct((n, config.num_attributes), np.float32, sharding=rows),
    }
    step = sharding.map_step(joint_step.make_step(nets), mesh)
    with backend.compiling_for(next(iter(mesh.devices.flat)).platform):
        traced = step.trace(state, batch)
        traced_at = time.perf_counter()
        lowered = traced.lower()
    lowered_at = time.perf_counter()
    compiled, shortage = None, {}
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        shortage = read_shortage(str(error))
    compiling = {
        "trace_seconds": traced_at - start,
        "lower_seconds": lowered_at - traced_at,
        "compile_seconds": time.perf_counter() - lowered_at,
        "processor_seconds": time.process_time() - used,
        "peak_host_bytes": 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }
    if compiled is None:
        return Report(shortage, None, compiling)
    return Report(_memory(compiled), hlo.Program(compiled.as_text()), compiling)


def read_shortage(message: str) -> dict[str, float]:
    """Returns `total` and `capacity` in bytes, by the compiler's message that a program needs too much memory.

    Raises:
        RuntimeError: the message is about something else.
    """
    match = re.search(r"Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm", message)
    match = match or re.search(r"\(([\d.]+)([KMGT]?)\) exceeds available HBM \(([\d.]+)([KMGT]?)\)", message)
    if match is None:
        raise RuntimeError(f"the TPU compiler failed: {' '.join(message.split())[:500]}")
    used, capacity = (float(match[i]) * _UNITS[match[i + 1]] for i in (1, 3))
    return {"arguments": 0.0, "temporaries": 0.0, "program": 0.0, "total": used, "capacity": capacity}


def count_phases(config: Config, program: hlo.Program, devices: int) -> dict[str, dict[str, float]]:
    """Counts `flops`, `traffic` and `exchanged` bytes of one device, for the main update and each lazy one.

    The body of a loop is in the program once; it is counted as often as it runs (`steps.loop_counts`). The exchanged
    bytes are those of all-reduces; an all-gather and a reduce-scatter of an array count as half of its all-reduce.
    """
    loops = steps.loop_counts(config, devices)
    phases: dict[str, dict[str, float]] = {}
    exchanged: dict[str, float] = {}
    for one in program.collectives():
        exchanged[phase_of(one.scope)] = exchanged.get(phase_of(one.scope), 0.0) + _as_all_reduce(one, devices)
    flops, traffic = program.flops(), program.traffic()
    for name in LAZY:
        if not config.intervals[name]:
            continue
        own = {"flops": program.flops(name), "traffic": program.traffic(name)}
        flops, traffic = flops - own["flops"], traffic - own["traffic"]
        phases[name] = {key: value * loops[steps.part_of(name)] for key, value in own.items()}
        phases[name]["exchanged"] = exchanged.get(name, 0.0)
    main = {"flops": flops * loops["step"], "traffic": traffic * loops["step"]}
    return {"main": main | {"exchanged": exchanged.get("main", 0.0)}} | phases


def _as_all_reduce(one: hlo.Collective, devices: int) -> float:
    """Returns the bytes of the all-reduce that takes as long as an exchange, in a ring."""
    whole = {"all-gather": one.bytes, "reduce-scatter": one.bytes * (one.group or devices)}
    return whole[one.kind] / 2 if one.kind in whole else one.bytes


def phase_of(path: str) -> str:
    """Returns the phase that code of this scope belongs to: one of `LAZY`, or "main"."""
    return next((name for name in LAZY if hlo.in_scope(path, name)), "main")


def predict(
    config: Config, chip: chips.Chip, phases: Mapping[str, Mapping[str, float]], devices: int
) -> dict[str, float]:
    """Predicts the mean step of one device, from published figures of the chip.

    Returns:
        `flops`, `traffic` and `exchanged` bytes, means over the steps; `compute_seconds` at the chip's peak;
        `memory_seconds` at the bandwidth of its memory; `exchange_seconds` by `chips.exchange_seconds`. `efficiency` is
        the share of the time in which devices compute, were nothing else to wait for: compute / (compute + exchange).
        `efficiency_memory` takes the longer of compute and memory instead. Neither overlaps with the exchange.
    """
    every = {name: config.intervals.get(name, 1) for name in phases}
    mean = {
        key: sum(phase[key] / every[name] for name, phase in phases.items())
        for key in ("flops", "traffic", "exchanged")
    }
    compute, memory = mean["flops"] / chip.flops, mean["traffic"] / chip.hbm_bandwidth
    exchanges = (
        chips.exchange_seconds(chip, phase["exchanged"], devices) / every[name]
        for name, phase in phases.items()
        if phase["exchanged"]
    )
    exchange = sum(exchanges)
    busy = max(compute, memory)
    return mean | {
        "compute_seconds": compute,
        "memory_seconds": memory,
        "exchange_seconds": exchange,
        "efficiency": compute / (compute + exchange),
        "efficiency_memory": busy / (busy + exchange),
        "images_per_second": config.batch_size / (busy + exchange),
    }


def scale(
    config: Config, chip: chips.Chip, phases: Mapping[str, Mapping[str, float]], devices: int
) -> dict[str, dict[str, float]]:
    """Predicts the mean step on each number of `SIZES` devices, each with as many images as those of the config.

    The program of a device does not depend on their number, only the time of the exchanges does.
    """
    rows = config.batch_size // devices
    return {
        str(size): predict(dataclasses.replace(config, batch_size=rows * size), chip, phases, size) for size in SIZES
    }


def largest_rows(rows: tuple[int, int], totals: tuple[float, float], capacity: float) -> int | None:
    """Returns the largest number of images of a device whose step fits, by a line through two sizes.

    Args:
        rows: two numbers of images of a device, the larger one first; the step of that one does not fit.
        totals: bytes that the two steps need.
        capacity: bytes that there are.

    Returns:
        A number below `rows[0]`, 0 where not even one image fits; None where fewer images do not need less.
    """
    slope = (totals[0] - totals[1]) / (rows[0] - rows[1])
    if slope <= 0:
        return None
    return min(rows[0] - 1, max(0, math.floor(rows[1] + (capacity - totals[1]) / slope)))


def _largest_batch(config: Config, mesh: Mesh, memory: Mapping[str, float], log: Callable[[str], None]) -> int | None:
    """Returns the largest batch that fits in as many parts (`config.accumulate`), by a step of about half the batch.

    0 where not even one image a device fits, None where no smaller batch of so many parts does, or none is known to.
    """
    rows = config.batch_size // mesh.size
    # The parts of a batch are whole groups, see `check_accumulation`.
    unit = config.accumulate * config.discriminator.mbstd_group if config.accumulate > 1 else 1
    if rows == unit:
        return 0 if rows == 1 else None
    half = rows // unit // 2 * unit
    smaller = dataclasses.replace(config, batch_size=half * mesh.size)
    log(f"it does not fit; compiling it for a batch of {smaller.batch_size}")
    totals = memory["total"], compile_step(make_networks(smaller), mesh).memory["total"]
    most = largest_rows((rows, half), totals, memory["capacity"])
    return None if most is None or 0 < most < unit else mesh.size * (most // unit) * unit


def find_devices(topology: str) -> list[jax.Device]:
    """Returns the devices of a topology such as "v5e:2x4", which need not be there.

    Raises:
        ValueError: there is no such topology.
        RuntimeError: libtpu is not installed.
    """
    chip = chips.chip_of(topology)
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        description = topologies.get_topology_desc(
            platform="tpu", topology_name=topology, **_VARIANTS.get(chip.name, {})
        )
        return list(description.devices)
    except jax.errors.JaxRuntimeError as error:
        if "INVALID_ARGUMENT" in str(error) or "NOT_FOUND" in str(error):
            raise ValueError(
                f"--topology={topology}: {str(error).partition(': ')[2]}; write one such as v5e:2x4"
            ) from error
        raise RuntimeError(f"the TPU compiler does not start: {error}") from error
    except Exception as error:  # JAX raises what the missing plugin raises
        raise RuntimeError("a topology needs the TPU compiler; install it by pip install -e '.[tpu]'") from error


def _memory(compiled: jax.stages.Compiled) -> dict[str, float]:
    """Returns the memory of a compiled program by kind, in bytes of one device."""
    analysis = compiled.memory_analysis()
    assert analysis is not None
    held = analysis.argument_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    program = analysis.generated_code_size_in_bytes
    return {
        "arguments": float(held),
        "temporaries": float(analysis.temp_size_in_bytes),
        "program": float(program),
        "total": float(held + analysis.temp_size_in_bytes + program),
    }
