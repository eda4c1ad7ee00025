"""The kind of device that a program is traced for; forms of operators depend on it.

It is JAX's default backend, except where a program is compiled for devices that this machine does not have.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

import jax

_ABSENT: contextvars.ContextVar[str | None] = contextvars.ContextVar("absent_backend", default=None)


def name() -> str:
    """Returns "cpu", "gpu" or "tpu"."""
    return _ABSENT.get() or jax.default_backend()


@contextlib.contextmanager
def compiling_for(platform: str) -> Iterator[None]:
    """Traces the block for devices of another kind, such as "tpu", than those of this machine."""
    token = _ABSENT.set(platform)
    try:
        yield
    finally:
        _ABSENT.reset(token)
