"""Fixed noise tables: the same numbers in every process, drawn once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

SIDE = 256  # of the tables; indices wrap


@lru_cache(maxsize=512)
def _knots(seed: int, cells: int) -> np.ndarray:
    return np.random.default_rng((seed, cells)).uniform(-1, 1, (cells + 1, cells + 1))


@lru_cache(maxsize=16)
def _places(side: int, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Index of the knot before each of `side` places, and the smoothed share of the way to the next."""
    at = np.linspace(0, cells, side, endpoint=False)
    low = at.astype(int)
    f = at - low
    return low, f * f * (3 - 2 * f)


@lru_cache(maxsize=800)  # three tables of each of 256 kinds of hair, and a few
def smooth_noise(side: int, seed: int, cells: int) -> np.ndarray:
    """f32[side,side] in about [-1, 1]: random values on `cells` x `cells` knots, joined smoothly."""
    knots = _knots(seed, cells)
    low, f = _places(side, cells)
    rows = knots.take(low, 0) * (1 - f)[:, None] + knots.take(low + 1, 0) * f[:, None]
    return (rows.take(low, 1) * (1 - f) + rows.take(low + 1, 1) * f).astype(np.float32)


def smooth_at(seed: int, cells: int, across: np.ndarray, along: np.ndarray) -> np.ndarray:
    """What `wrapped(smooth_noise(SIDE, seed, cells), ...)` gives, without the table."""
    knots, (low, f) = _knots(seed, cells).reshape(-1), _places(SIDE, cells)
    i, j = (place.astype(np.int32) & (SIDE - 1) for place in (across, along))
    at, fi, fj = low.take(i) * (cells + 1) + low.take(j), f.take(i), f.take(j)
    left = knots.take(at) * (1 - fi) + knots.take(at + cells + 1) * fi
    right = knots.take(at + 1) * (1 - fi) + knots.take(at + cells + 2) * fi
    return (left * (1 - fj) + right * fj).astype(np.float32)


@lru_cache(maxsize=1)
def grain() -> np.ndarray:
    """f32[SIDE*SIDE] white noise in [-1, 1], softened over 3 x 3 cells; wraps."""
    g = np.random.default_rng(11).uniform(-1, 1, (SIDE, SIDE))
    for axis in (0, 1):
        g = (np.roll(g, 1, axis) + 2 * g + np.roll(g, -1, axis)) / 4
    return (g / np.abs(g).max()).astype(np.float32).reshape(-1)


@lru_cache(maxsize=1)
def strands() -> np.ndarray:
    """f32[SIDE*SIDE] in [-1, 1]: long threads along the second axis, fine across the first; wraps."""
    g = np.random.default_rng(12).uniform(-1, 1, (SIDE, SIDE))
    total = np.zeros_like(g)
    for k in range(-20, 21):
        total += np.roll(g, k, 1)
    total = total + 0.5 * (np.roll(total, 1, 0) + np.roll(total, -1, 0))
    total += 1.6 * np.repeat(total[::8], 8, 0)  # locks of hair
    total /= np.sqrt((total * total).mean())
    return np.clip(total / 2.2, -1, 1).astype(np.float32).reshape(-1)


def wrapped(table: np.ndarray, across: Any, along: Any) -> Any:
    """Values f32[...] of a wrapping table f32[SIDE*SIDE] at coordinates in cells, arrays of numpy or jax."""
    i = across.astype(np.int32) & (SIDE - 1)
    j = along.astype(np.int32) & (SIDE - 1)
    return across.__array_namespace__().asarray(table).take(i * SIDE + j)
