"""Text table of the benchmark's results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NAMES = {
    "g_forward": "G forward",
    "d_step": "D step",
    "r1": "R1 update",
    "d_step+r1": "D step with R1",
    "g_step": "G step",
    "path_length": "path length update",
    "g_step+path_length": "G step with path length",
    "f_step": "F step",
    "step": "whole step",
    "steady": "whole steady step",
}
_LAZY = {"r1": "R1", "path_length": "path length", "f_step": "F"}
BUSY = 1.3  # ratio of greatest to least time of the steady step above which the table warns of other load
_WIDTHS = (9, 16, 10, 9, 9, 10, 9)


def table(results: Mapping[str, Any]) -> str:
    """Formats the results of `measurement.measure` as text with a row for each part."""
    parts, peer, reading = results["parts"], results["peer"], results["input"]
    order = [name for name in _NAMES if name in parts and name not in ("step", "steady")]
    order += [name for name in parts if name.split("+")[0] == "step"] + ["steady"]
    heads = ("seconds", "(min-max)", "images/s", "GFLOP", "of peak", "memory", "compile")
    head = f"{'':26}" + "".join(f"{text:>{width}}" for text, width in zip(heads, _WIDTHS, strict=True))
    lines = [*_headline(results), "", head + (f" | {'peer':>8}{'(min-max)':>16}{'ours is':>9}" if peer else "")]
    lines += [_row(name, parts[name]) for name in order]
    counts = ", ".join(f"{kind['count']} × {_title(name)}" for name, kind in results["period"].items())
    times = reading["times_the_step"]
    lines += [
        "",
        f"The steady step is the mean of: {counts}. It generates its images once for all parts.",
        f"Input alone: {reading['images_per_second']:.4g} images/s, {times:,.1f} times the rate of the steady step"
        + ("." if times > 1 else ": the step will wait for input; set --config.data_workers or use more cores."),
    ]
    seconds = parts["steady"]["ours"]["seconds"]
    if seconds["max"] > BUSY * seconds["min"]:
        varied = seconds["max"] / seconds["min"] - 1
        lines.append(f"Times vary by {varied:.0%}: other programs ran on this machine; measure again.")
    return "\n".join(lines) + "\n"


def _headline(results: Mapping[str, Any]) -> list[str]:
    """Returns lines that describe the model, the machine and the peer."""
    machine, config, peak = results["machine"], results["model"]["config"], results["peak"]
    sizes = [f"{name.upper()} {count / 1e6:.1f}M" for name, count in results["model"]["parameters"].items() if count]
    low = config["generator"]["low_precision_blocks"], config["discriminator"]["low_precision_blocks"]
    precision = f"bfloat16 in {low[0]} and {low[1]} blocks" if any(low) else "float32"
    where = f"{machine['processor']}, {machine['cores']} cores"
    if machine["device_kind"] != "cpu" or machine["devices"] > 1:
        where = f"{machine['devices']} × {machine['device_kind']}"
    lines = [
        f"{config['resolution']}×{config['resolution']}, batch {config['batch_size']}, {precision}, "
        f"parameters: {', '.join(sizes)}",
        f"{where}; jax {machine['jax']}; matrix product {peak['flops_per_second'] / 1e9:,.0f} GFLOP/s a device "
        f"({peak['precision']}); load {machine['load_before']:.1f} before, {machine['load_after']:.1f} after",
        f"state and batch {results['parts']['steady']['ours']['argument_bytes'] / 2**20:,.1f} MiB a device"
        + (f"; {config['fsdp']} devices share a copy of the state" if config["fsdp"] > 1 else ""),
    ]
    return lines + ([f"peer: {results['peer']}"] if results["peer"] else [])


def _row(name: str, part: Mapping[str, Any]) -> str:
    """Formats the row of a part: this implementation | the peer."""
    ours = part["ours"]
    cells = [
        *_seconds(ours["seconds"]),
        f"{ours['images_per_second']:.3g}",
        f"{ours['flops'] / 1e9:,.1f}",
        f"{ours['share_of_peak']:.0%}",
        f"{ours['memory_bytes'] / 2**20:,.0f} MiB" if "memory_bytes" in ours else "",
        f"{ours['compile_seconds']:.1f} s" if "compile_seconds" in ours else "",
    ]
    line = f"{_title(name):26}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
    if "peer" in part:
        median, spread = _seconds(part["peer"]["seconds"])
        line += f" | {median:>8}{spread:>16}{part['speedup']['median']:>7.2f} ×"
    return line.rstrip()


def _seconds(seconds: Mapping[str, float]) -> tuple[str, str]:
    """Formats the median and the range."""
    return f"{seconds['median']:.3g}", f"({seconds['min']:.3g}-{seconds['max']:.3g})"


def _title(name: str) -> str:
    """Returns the name of a part in words."""
    kind, *due = name.split("+")
    return _NAMES.get(name) or f"{_NAMES[kind]}, {', '.join(_LAZY[part] for part in due)}"
