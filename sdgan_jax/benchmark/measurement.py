"""Speed of a config's training step, part by part, and its share of the machine's peak.

Measurements run in rounds. A round measures each part once, this implementation and directly after it the peer, so that
other load on the machine affects both. A time is the median over rounds, reported with minimum and maximum.

The whole steady step is the mean over one period of the lazy parts (R1, path length, F). Each kind of step is measured
separately, at a step number of that kind. The training step generates its images once for G, D and F, and therefore
takes less time than the sum of its parts.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import pathlib
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from tqdm import auto as tqdm

from sdgan_jax.benchmark.steps import Compiled, period
from sdgan_jax.config import Config
from sdgan_jax.data import stream
from sdgan_jax.training.gan import inputs
from sdgan_jax.training.gan.state import State
from tfds_megn import workers

LEAST_SECONDS = 0.3  # duration of one measurement; shorter parts are called several times
SUMS = {
    "d_step+r1": ("d_step", "r1"),
    "g_step+path_length": ("g_step", "path_length"),
}  # also reported
_MATMUL_SIDE = {"cpu": 2048}  # side of the matrices that find the peak; 8192 on other backends

Run = Callable[[str, int], None]  # runs a part so many times and returns when it is done
Samples = dict[str, list[float]]  # part -> seconds per call, one for each round


class Peer(Protocol):
    """Another implementation of the same networks and updates.

    Attributes:
        name: name in the table.
    """

    name: str

    def run(self, part: str, calls: int) -> None:
        """Runs a part of `steps`, or several joined by "+", `calls` times and returns when it is done."""


def measure(
    config: Config, repeats: int = 5, peer: Peer | None = None, log: Callable[[str], None] = print
) -> dict[str, Any]:
    """Measures the training step of a config, its parts and its input.

    A dataset that does not exist yet is prepared first.

    Args:
        config: a validated config.
        repeats: number of rounds.
        peer: implementation to measure in alternation, or None.
        log: receives lines of progress.

    Returns:
        A tree for JSON, in seconds and bytes: `machine`, `model`, `peer` (name or None), `peak` (fastest measured
        matrix product), `period` (kinds of step), `input`, and `parts`, a dict from names to `ours` (`seconds`, rates,
        `flops`, `memory_bytes` and `argument_bytes` of one device, `share_of_peak`, `compile_seconds`), `peer`
        (`seconds`) and `speedup`.

    Raises:
        ValueError: data or devices do not fit the config, or `repeats` is below 1.
        FileNotFoundError: `config.manual_dir` contains no photos.
    """
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}; it must be at least 1")
    load = os.getloadavg()[0]
    ours = Compiled(config)
    log(f"measuring the input, {config.dataset}")
    reading = measure_input(config, ours.mesh, repeats)
    costs = {}
    for name in ours.steps:
        costs[name] = ours.compile(name)
        log(f"compiled {name} in {costs[name]['compile_seconds']:.1f} s")
    kinds, peak = period(config), _Peak(config)
    runs: dict[str, Run] = {"ours": ours.run} | ({"peer": peer.run} if peer is not None else {})
    samples = _take_samples(runs, [name for name in ours.steps if name != "step"] + list(kinds), repeats, peak)
    rows = summarise(config, samples, costs, kinds, peak.flops_per_second)
    reading["times_the_step"] = reading["images_per_second"] / rows["steady"]["ours"]["images_per_second"]
    return {
        "machine": describe_machine() | {"load_before": load, "load_after": os.getloadavg()[0]},
        "model": _describe_model(config, ours.state),
        "peer": peer.name if peer is not None else None,
        "peak": {"precision": peak.precision, "flops_per_second": peak.flops_per_second},
        "period": kinds,
        "input": reading,
        "parts": rows,
    }


def measure_input(config: Config, mesh: jax.sharding.Mesh, repeats: int) -> dict[str, float]:
    """Measures how fast batches are read onto the devices with no other work.

    Returns:
        `images_per_second` (the median), and its `min` and `max`.
    """
    batches = stream.train_iterator(config)

    def read(seconds: float) -> float:
        """Reads for so many seconds and returns images per second."""
        start = time.perf_counter()
        for count in itertools.count(1):
            batch = inputs.put_batch(next(batches), mesh, config.discriminator.mbstd_group)
            jax.block_until_ready(batch)
            elapsed = time.perf_counter() - start
            if elapsed > seconds and count >= 3:
                return count * config.batch_size / elapsed
        raise AssertionError

    read(4 * LEAST_SECONDS)  # starts the threads and empties their buffers
    rates = [read(LEAST_SECONDS) for _ in range(repeats)]
    batches.close()
    return {"images_per_second": statistics.median(rates), "min": min(rates), "max": max(rates)}


class _Peak:
    """Rate of the fastest matrix product of one device over all rounds.

    Attributes:
        precision: dtype of that product, one of those in which the config computes.
        flops_per_second: rate of that product.
    """

    def __init__(self, config: Config) -> None:
        low = config.generator.low_precision_blocks or config.discriminator.low_precision_blocks
        self._precisions = ("float32", "bfloat16") if low else ("float32",)
        self._side = _MATMUL_SIDE.get(jax.default_backend(), 8192)
        self._multiply = jax.jit(jnp.matmul)
        self.precision, self.flops_per_second = "float32", 0.0

    def run(self, precision: str, calls: int) -> None:
        x = jnp.ones((self._side, self._side), precision)
        for _ in range(calls):
            product = self._multiply(x, x)
        product.block_until_ready()

    def sample(self) -> None:
        """Times products in every precision and keeps the best rate."""
        for precision in self._precisions:
            rate = 2.0 * self._side**3 / _seconds(self.run, precision, _warm_up(self.run, precision))
            if rate > self.flops_per_second:
                self.precision, self.flops_per_second = precision, rate


def _take_samples(runs: Mapping[str, Run], names: list[str], repeats: int, peak: _Peak) -> dict[str, Samples]:
    """Times every part on all sides, round by round; returns side -> part -> seconds per call."""
    pairs = [(side, name) for name in names for side in runs]
    samples: dict[str, Samples] = {side: {name: [] for name in names} for side in runs}
    calls = {}
    with tqdm.tqdm(total=len(pairs) * (repeats + 1), desc="measuring", unit="part", dynamic_ncols=True) as bar:
        for side, name in pairs:
            bar.set_postfix_str(f"warm-up, {side}: {name}")
            calls[side, name] = _warm_up(runs[side], name)
            bar.update()
        for round_ in range(repeats):
            peak.sample()
            for side, name in pairs:
                bar.set_postfix_str(f"round {round_ + 1} of {repeats}, {side}: {name}")
                samples[side][name].append(_seconds(runs[side], name, calls[side, name]))
                bar.update()
    return samples


def _warm_up(run: Run, part: str) -> int:
    """Runs a part for the first time and returns the number of calls that fill LEAST_SECONDS."""
    if _seconds(run, part, 1) > LEAST_SECONDS:  # later calls take about as long
        return 1
    return max(1, math.ceil(LEAST_SECONDS / _seconds(run, part, 1)))


def _seconds(run: Run, part: str, calls: int) -> float:
    """Returns the mean seconds per call."""
    start = time.perf_counter()
    run(part, calls)
    return (time.perf_counter() - start) / calls


def summarise(
    config: Config,
    samples: Mapping[str, Samples],
    costs: Mapping[str, Mapping[str, float]],
    kinds: Mapping[str, Mapping[str, int]],
    peak: float,
) -> dict[str, Any]:
    """Computes the figures of every part, of the sums of parts and of the whole steady step.

    Args:
        config: config of the measured run.
        samples: side -> part -> seconds per call in each round.
        costs: part -> result of `Compiled.compile`.
        kinds: result of `period`.
        peak: FLOP/s of one device.

    Returns:
        The entry `parts` of `measure`; "steady" is the whole steady step.
    """
    whole, steps = costs["step"], sum(kind["count"] for kind in kinds.values())
    # XLA counts every lazy part in a step; those that are not due are subtracted.
    lazy = [name for name in ("r1", "path_length", "f_step") if name in costs]
    flops = {name: cost["flops"] for name, cost in costs.items()}
    for kind in kinds:
        flops[kind] = whole["flops"] - sum(flops[name] for name in lazy if name not in kind.split("+"))
    terms_of = {name: {name: 1.0} for name in samples["ours"]}
    terms_of |= {name: dict.fromkeys(terms, 1.0) for name, terms in SUMS.items() if set(terms) <= set(samples["ours"])}
    terms_of["steady"] = {kind: counted["count"] / steps for kind, counted in kinds.items()}
    rows: dict[str, Any] = {}
    for name, terms in terms_of.items():
        seconds = {side: _weighted_sum(parts, terms) for side, parts in samples.items()}
        operations = sum(weight * flops[term] for term, weight in terms.items())
        rows[name] = {"ours": {"seconds": spread(seconds["ours"])} | _rates(config, seconds["ours"], operations, peak)}
        cost = whole if name == "steady" else costs.get(name)
        if cost is not None:
            rows[name]["ours"] |= {key: cost[key] for key in ("memory_bytes", "argument_bytes", "compile_seconds")}
        if "peer" in samples:
            rows[name]["peer"] = {"seconds": spread(seconds["peer"])}
            rows[name]["speedup"] = spread([b / a for a, b in zip(seconds["ours"], seconds["peer"], strict=True)])
    return rows


def _weighted_sum(samples: Samples, terms: Mapping[str, float]) -> list[float]:
    """Adds weighted parts round by round, so that the spread is that of the sum."""
    rounds = zip(*([weight * seconds for seconds in samples[name]] for name, weight in terms.items()), strict=True)
    return [sum(values) for values in rounds]


def spread(values: list[float]) -> dict[str, Any]:
    """Returns median, minimum and maximum with the values themselves."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": values}


def _rates(config: Config, seconds: list[float], flops: float, peak: float) -> dict[str, float]:
    """Returns the rates that follow from the median time for one batch."""
    median = statistics.median(seconds)
    rate = config.batch_size / median
    return {
        "images_per_second": rate,
        "kimg_per_second": rate / 1000,
        "seconds_per_kimg": 1000 / rate,
        "flops": flops,
        "share_of_peak": flops / median / peak,
    }


def describe_machine() -> dict[str, Any]:
    """Describes the processor, the devices and the versions of Python and JAX."""
    info = pathlib.Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    return {
        "processor": named[1].strip() if named else platform.processor(),
        "cores": workers.available_cores(),
        "devices": jax.device_count(),
        "device_kind": jax.devices()[0].device_kind,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "jaxlib": jax.lib.__version__,
    }


def _describe_model(config: Config, state: State) -> dict[str, Any]:
    """Describes the config and counts the parameters of G, D and F."""
    counts = {name: sum(leaf.size for leaf in jax.tree.leaves(getattr(state, f"params_{name}"))) for name in "gdf"}
    return {"config": dataclasses.asdict(config), "parameters": counts}
