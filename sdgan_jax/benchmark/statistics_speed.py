"""Speed of FID's statistics, mean and covariance of Inception features, beside another implementation."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from tqdm import auto as tqdm

from sdgan_jax.benchmark import measurement
from sdgan_jax.metrics import moments
from sdgan_jax.metrics.conventions import CONVENTIONS
from sdgan_jax.metrics.moments import Moments
from sdgan_jax.pretrained import InceptionNetwork
from sdgan_jax.pretrained.archive import Tree

IMAGES, BATCH, SIDE = 64, 32, 64  # images of a round, of a batch, and their side in pixels
_CONVENTION = "torch-fidelity"

Features = Callable[[np.ndarray], np.ndarray]  # u8[N,H,W,3] to f32[N,D]


def measure(network: InceptionNetwork, peer: Features, repeats: int) -> dict[str, Any]:
    """Measures images per second, round by round on both sides, compilation not counted.

    Args:
        network: Inception, with the weights of the peer.
        peer: the features of another implementation.
        repeats: number of rounds, at least 1.

    Returns:
        A tree for JSON: `machine`, `images`, `batch`, `side`; in `ours` and `peer` the images per second (`median`,
        `min`, `max`, `rounds`), and `speedup` likewise; `difference`, the greatest between features, of their maximum.
    """
    load = os.getloadavg()[0]
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, SIDE, SIDE, 3), dtype=np.uint8)
    sides = {"ours": _compiled(network), "peer": peer}
    first = {name: features(images[:BATCH]) for name, features in sides.items()}  # compiles, and starts threads
    difference = np.abs(first["ours"] - first["peer"]).max() / np.abs(first["peer"]).max()
    rates: dict[str, list[float]] = {name: [] for name in sides}
    with tqdm.tqdm(total=2 * repeats, desc="measuring", unit="round") as bar:
        for _ in range(repeats):
            for name, features in sides.items():
                start = time.perf_counter()
                _statistics(features, images)
                rates[name].append(IMAGES / (time.perf_counter() - start))
                bar.update()
    speedups = [a / b for a, b in zip(rates["ours"], rates["peer"], strict=True)]
    return {
        "machine": measurement.describe_machine() | {"load_before": load, "load_after": os.getloadavg()[0]},
        "images": IMAGES,
        "batch": BATCH,
        "side": SIDE,
        "ours": measurement.spread(rates["ours"]),
        "peer": measurement.spread(rates["peer"]),
        "speedup": measurement.spread(speedups),
        "difference": float(difference),
    }


def table(results: Mapping[str, Any]) -> str:
    """Formats the results of `measure` as text."""
    machine = results["machine"]
    lines = [
        f"FID statistics of {results['side']}×{results['side']} images, batch {results['batch']}, random weights",
        f"{machine['processor']}, {machine['cores']} cores; load before {machine['load_before']:.1f}",
        "",
        f"{'images/s':16}{'median':>10}{'(min-max)':>18}",
    ]
    for name, row in (("ours", results["ours"]), ("torch-fidelity", results["peer"]), ("ours is", results["speedup"])):
        span = f"({row['min']:.2f}-{row['max']:.2f})"
        lines.append(f"{name:16}{row['median']:10.2f}{span:>18}")
    return "\n".join([*lines, "", f"Features differ by {results['difference']:.1g} of their maximum."]) + "\n"


def _compiled(network: InceptionNetwork) -> Features:
    """Returns our features as a function on the host."""
    convention = CONVENTIONS[_CONVENTION]

    @jax.jit
    def run(variables: Tree, pixels: jax.Array) -> jax.Array:
        return dataclasses.replace(network, variables=variables)(convention.prepare(pixels))[0]

    return lambda images: np.asarray(run(network.variables, images.astype(np.float32)))


def _statistics(features: Features, images: np.ndarray) -> Moments:
    """Computes the moments of the features of all images."""
    return moments.merge_all(Moments.of(features(images[i : i + BATCH])) for i in range(0, len(images), BATCH))
