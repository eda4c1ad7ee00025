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


def quick_compilation(platform: str) -> dict[str, str | bool | int | float] | None:
    """Returns XLA's options, for `jax.jit`, under which programs compile sooner and run as fast.

    LLVM takes most of the time to compile on CPU; see docs/performance.md. JAX takes such options for whole programs
    only, not for functions that are called within another program or differentiated.

    Args:
        platform: "cpu", "gpu" or "tpu".
    """
    return {"xla_backend_optimization_level": 1} if platform == "cpu" else None


@contextlib.contextmanager
def compiling_for(platform: str) -> Iterator[None]:
    """Traces the block for devices of another kind, such as "tpu", than those of this machine."""
    token = _ABSENT.set(platform)
    try:
        yield
    finally:
        _ABSENT.reset(token)
