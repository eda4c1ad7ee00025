"""Repeatable noise for cloth and hair: tables that wrap around, read anywhere."""

from __future__ import annotations

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

_SIDE = 256


def grain(x: jax.Array, y: jax.Array) -> jax.Array:
    """Fine noise of deviation 1, one grain a unit; f32[...] at points f32[...]."""
    return _read(_table(0), x, y)


def strands(across: jax.Array, along: jax.Array) -> jax.Array:
    """Noise of deviation 1 that runs on for a dozen units along hairs a unit wide."""
    return _read(_table(12), across, along)


@lru_cache(maxsize=2)
def _table(length: int) -> np.ndarray:
    """White noise f32[256,256], blurred down the rows over `length`."""
    table = np.random.default_rng(7 + length).standard_normal((_SIDE, _SIDE))
    if length:
        table = sum(np.roll(table, k, 0) for k in range(length)) / np.sqrt(length)
    return table.astype(np.float32)


def _read(table: np.ndarray, x: jax.Array, y: jax.Array) -> jax.Array:
    j, i = jnp.floor(x), jnp.floor(y)
    a, b = x - j, y - i
    j, i = (jnp.mod(p, _SIDE).astype(jnp.int32) for p in (j, i))
    right, below = (j + 1) % _SIDE, (i + 1) % _SIDE
    flat = jnp.asarray(table).reshape(-1)
    above = flat[i * _SIDE + j] * (1 - a) + flat[i * _SIDE + right] * a
    under = flat[below * _SIDE + j] * (1 - a) + flat[below * _SIDE + right] * a
    return above * (1 - b) + under * b
