"""Random initial weights, drawn together.

XLA compiles a draw of each shape anew: on CPU ten seconds for the arrays of a small GAN. Slices of one draw take three.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

_AT_ONCE = 2**20  # numbers in a draw; in one for a larger array a multiple of them, so that few shapes occur
_COMMON: contextvars.ContextVar[_Draws | None] = contextvars.ContextVar("common_draws", default=None)


def scaled_normal(scale: float) -> nn.initializers.Initializer:
    """Returns an initialiser that draws from N(0, scale²)."""

    def initialise(key: jax.Array, shape: Any, dtype: Any = float) -> jax.Array:
        common = _COMMON.get()
        drawn = jax.random.normal(key, shape) if common is None else common.take(math.prod(shape)).reshape(shape)
        return (scale * drawn).astype(dtype)

    return initialise


@contextlib.contextmanager
def drawn_together(key: jax.Array) -> Iterator[None]:
    """Within the block, `scaled_normal` slices common draws by `key` in the order of its calls; its own keys go unused.

    A block belongs into one trace, so that no array outlives it.
    """
    token = _COMMON.set(_Draws(key))
    try:
        yield
    finally:
        _COMMON.reset(token)


class _Draws:
    """Numbers from N(0, 1), each given out once."""

    def __init__(self, key: jax.Array):
        self._key, self._left = key, jnp.zeros(0)

    def take(self, count: int) -> jax.Array:
        """Returns the next f32[count]; a rest that is too short is dropped."""
        if count > len(self._left):
            self._key, key = jax.random.split(self._key)
            self._left = jax.random.normal(key, (-(-count // _AT_ONCE) * _AT_ONCE,))
        taken, self._left = self._left[:count], self._left[count:]
        return taken
