"""Pooling as a sum or a maximum of shifted arrays, one axis after the other.

XLA's windowed reduction is slow on CPU.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np


def max_pool(x: jax.Array, size: int = 3, stride: int = 2, padding: int = 0) -> jax.Array:
    """Returns the maximum of `size` × `size` pixels.

    Args:
        x: f32[N,H,W,C], at least 0 where there is padding, for which zeros stand.
        size: side of a window.
        stride: pixels from one window to the next; windows that do not fit are left out.
        padding: rows and columns on each side.

    Returns:
        f32[N,H',W',C], H' = (H + 2 padding - size) // stride + 1.
    """
    for axis in (1, 2):
        x = functools.reduce(jnp.maximum, _taps(x, axis, size, stride, padding))
    return x


def average_pool(x: jax.Array) -> jax.Array:
    """Returns the mean of the 3×3 pixels around each pixel of f32[N,H,W,C]; pixels outside the image do not count."""
    for axis in (1, 2):
        place = np.arange(x.shape[axis])
        counts = 1.0 + (place > 0) + (place < len(place) - 1)
        shares = (1 / counts).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(4)])
        x = functools.reduce(jnp.add, _taps(x, axis, 3, 1, 1)) * shares
    return x


def _taps(x: jax.Array, axis: int, size: int, stride: int, padding: int) -> list[jax.Array]:
    """Returns sample 0, 1, … of every window of `size` samples along an axis, padded with zeros."""
    x = jnp.pad(x, [(padding, padding) if a == axis else (0, 0) for a in range(4)])
    windows = (x.shape[axis] - size) // stride + 1
    return [jax.lax.slice_in_dim(x, i, i + (windows - 1) * stride + 1, stride, axis) for i in range(size)]
