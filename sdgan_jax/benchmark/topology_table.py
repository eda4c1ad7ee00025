"""Text of what the compiler says of a step on a TPU pod."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NAMES = {"main": "main update", "r1": "R1 update", "path_length": "path length update", "f": "F update"}
_GIB = 2**30


def table(results: Mapping[str, Any]) -> str:
    """Formats the results of `topology.measure` as text."""
    config, chip, memory, spent = (results[name] for name in ("config", "chip", "memory", "compiling"))
    side, capacity = config["resolution"], memory.get("capacity", chip["hbm_bytes"])
    shared = f", {config['fsdp']} share a copy of the state" if config["fsdp"] > 1 else ""
    lines = [
        f"{side}×{side}, batch {config['batch_size']}, {results['devices']} × {chip['name']} ({results['topology']})"
        f"{shared}; jax {results['versions']['jax']}",
        "",
        f"memory of a device   {memory['total'] / _GIB:.2f} of {capacity / _GIB:.2f} GiB"
        + ("" if results["fits"] else ": it does not fit. " + _way_out(results)),
    ]
    if results["fits"]:
        kinds = ", ".join(f"{name} {memory[name] / _GIB:.2f}" for name in ("arguments", "temporaries", "program"))
        lines += [
            f"                     {kinds}",
            *_exchanges(results),
            "",
            *_phases(results),
            "",
            *_prediction(results),
        ]
    seconds = ", ".join(f"{name} {spent[f'{name}_seconds']:.0f} s" for name in ("trace", "lower", "compile"))
    lines += [
        "",
        f"compilation          {seconds}; {spent['processor_seconds']:.0f} processor seconds, "
        f"{spent['peak_host_bytes'] / _GIB:.1f} GiB of host memory",
    ]
    return "\n".join(lines) + "\n"


def _way_out(results: Mapping[str, Any]) -> str:
    """Says what a step that needs too much memory can do."""
    config, devices, most = results["config"], results["devices"], results["largest_batch"]
    other = "--config.generator.remat=true --config.discriminator.remat=true, or more devices"
    if most is None:
        return f"Set {other}"
    if most == 0:
        return f"Not even one image a device would; set {other}"
    rows, fitting, group = config["batch_size"] // devices, most // devices, config["discriminator"]["mbstd_group"]
    most_in_part = fitting // config["accumulate"]
    parts = [count for count in range(1, rows + 1) if rows % (count * group) == 0 and rows // count <= most_in_part]
    accumulate = f"--config.accumulate={parts[0]}, " if parts else ""
    return (
        f"By a line through this and a smaller batch, {fitting} images a device would; set "
        f"--config.batch_size={most}, {accumulate}{other}"
    )


def _exchanges(results: Mapping[str, Any]) -> list[str]:
    """Returns a line for the exchanges of each kind and phase, and one for transfers to the host."""
    lines, head = [], "exchanges            "
    kinds: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for one in results["collectives"]:
        kinds.setdefault((one["phase"], one["kind"], one["group"]), []).append(one)
    for (phase, kind, size), found in kinds.items():
        arrays, total = (sum(one[key] for one in found) for key in ("arrays", "bytes"))
        number = f"{len(found)} × " if len(found) > 1 else ""
        group = f" in groups of {size}" if 0 < size < results["devices"] else ""
        lines.append(f"{head}{_NAMES[phase]}: {number}{kind} of {arrays} arrays, {total / 2**20:,.1f} MiB{group}")
        head = " " * len(head)
    host = results["host_transfers"]
    return [*lines, f"host transfers       {', '.join(host) if host else 'none'}"]


def _phases(results: Mapping[str, Any]) -> list[str]:
    """Returns a row for each phase and one for their mean over the steps."""
    rows = {_NAMES[name]: phase for name, phase in results["phases"].items()} | {"mean step": results["steady"]}
    lines = [f"{'a device':21}{'GFLOP':>10}{'memory traffic':>18}{'exchanged':>14}"]
    return lines + [
        f"{name:21}{row['flops'] / 1e9:10,.1f}{row['traffic'] / _GIB:14,.2f} GiB{row['exchanged'] / 2**20:10,.1f} MiB"
        for name, row in rows.items()
    ]


def _prediction(results: Mapping[str, Any]) -> list[str]:
    """Returns the times that follow from the published figures of the chip."""
    steady, chip = results["steady"], results["chip"]
    return [
        f"mean step, predicted compute {1e3 * steady['compute_seconds']:.2f} ms ({chip['flops'] / 1e12:.0f} TFLOP/s), "
        f"memory {1e3 * steady['memory_seconds']:.2f} ms ({chip['hbm_bandwidth'] / 1e9:.0f} GB/s), "
        f"exchange {1e3 * steady['exchange_seconds']:.2f} ms",
        f"efficiency           {steady['efficiency']:.0%} = compute / (compute + exchange); "
        f"{steady['efficiency_memory']:.0%} with the time of the memory in place of compute",
        f"{'':21}with as many images a device: "
        + ", ".join(f"{size} devices {one['efficiency']:.0%}" for size, one in results["scaling"].items()),
        "Published peaks, a ring all-reduce in both directions, no overlap. Real steps compute longer.",
    ]
