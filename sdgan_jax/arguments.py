"""Checks of the arguments that users give to a model: one line names the argument, its type and its shape."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def images(value: ArrayLike, size: int) -> jax.Array:
    """Returns images f32[N,size,size,3]; raises `ValueError` for another type or shape."""
    kind = jnp.result_type(value)
    if np.shape(value)[1:] != (size, size, 3) or not jnp.issubdtype(kind, jnp.floating):
        raise ValueError(f"images must be f32[N,{size},{size},3] in [-1,1]; got {kind}{list(np.shape(value))}")
    return jnp.asarray(value, jnp.float32)


def latent(name: str, value: ArrayLike, ndim: int, layers: int, dim: int) -> jax.Array:
    """Returns latents f32[N,dim] for `ndim` 2, f32[N,layers,dim] for 3; raises `ValueError` for another shape."""
    value = jnp.asarray(value, jnp.float32)
    shape = (dim,) if ndim == 2 else (layers, dim)
    if ndim not in (2, 3) or value.shape[1:] != shape:
        wanted = f"f32[N,{dim}]" + (f" or f32[N,{layers},{dim}]" if name == "w_plus" else "")
        raise ValueError(f"{name} must be {wanted}; got {list(value.shape)}")
    return value


def label(value: ArrayLike | None, count: int, classes: int) -> jax.Array | None:
    """Returns the label of a conditional network, of `classes` classes, as weights.

    Args:
        value: class ids int[count] or weights f32[count,classes]; None for a network without classes.
        count: number of samples.
        classes: number of classes, 0 for a network without.

    Returns:
        f32[count,classes], or None for a network without classes.

    Raises:
        ValueError: for another type or shape; a label that is missing, or that the network does not know.
    """
    if not classes:
        if value is not None:
            raise ValueError("this network knows no classes; leave label out")
        return None
    if value is None:
        raise ValueError(f"this network is conditional; label must be int[N] below {classes} or f32[N,{classes}]")
    array = np.asarray(value)
    if array.shape == (count,) and np.issubdtype(array.dtype, np.integer) and np.isin(array, range(classes)).all():
        array = np.eye(classes)[array]
    if array.shape != (count, classes):
        raise ValueError(
            f"label must be int[{count}] from 0 to {classes - 1} or f32[{count},{classes}]; "
            f"got {array.dtype}{list(array.shape)}"
        )
    return jnp.asarray(array, jnp.float32)


def check_steps(steps: int) -> None:
    """Raises `ValueError` for a negative number of steps."""
    if steps < 0:
        raise ValueError(f"steps is {steps}; it must be 0 or more")


def check_finite(**numbers: float) -> None:
    """Raises `ValueError` for NaN and infinities."""
    for name, number in numbers.items():
        if not math.isfinite(number):
            raise ValueError(f"{name} is {number}; it must be a finite number")
