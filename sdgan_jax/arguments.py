"""Checks of the arguments that users give to a model: one line names the argument, its type and its shape."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

_LARGEST = 32.0  # of images in [-1,1]; what G draws reaches 1.6, with random weights 10, and colours 255


def images(value: ArrayLike, size: int) -> jax.Array:
    """Returns images f32[N,size,size,3]; raises `ValueError` for another type or shape, and for other numbers."""
    wanted = f"images must be f32[N,{size},{size},3] in [-1,1]"
    array = _as_array(value, wanted)
    if array.shape[1:] != (size, size, 3) or not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"{wanted}; got {array.dtype}{list(array.shape)}")
    _check_count(array)
    if not isinstance(array, jax.core.Tracer) and not bool((jnp.abs(array) <= _LARGEST).all()):
        largest = np.abs(np.asarray(array)).max()  # of NaN, which XLA's maximum may leave out, it is NaN
        raise ValueError(f"{wanted}; got numbers up to {largest:g}, in absolute value")
    return jnp.asarray(array, jnp.float32)


def latent(name: str, value: ArrayLike, ndim: int, layers: int, dim: int) -> jax.Array:
    """Returns latents f32[N,dim] for `ndim` 2, f32[N,layers,dim] for 3; raises `ValueError` for another shape."""
    shape = (dim,) if ndim == 2 else (layers, dim)
    row, layered = f"f32[N,{dim}]", f"f32[N,{layers},{dim}]"
    wanted = f"{name} must be " + (f"{row} or {layered}" if name == "w_plus" else row if ndim == 2 else layered)
    array = _as_array(value, wanted)
    if ndim not in (2, 3) or array.shape[1:] != shape or not jnp.issubdtype(array.dtype, jnp.number):
        raise ValueError(f"{wanted}; got {array.dtype}{list(array.shape)}")
    _check_count(array)
    if not isinstance(array, jax.core.Tracer) and not bool(jnp.isfinite(array).all()):
        raise ValueError(f"{name} contains NaN or infinities")
    return jnp.asarray(array, jnp.float32)


def _check_count(array: jax.Array | np.ndarray) -> None:
    """Raises `ValueError` for an array without rows."""
    if not array.shape[0]:
        raise ValueError("nothing to do: N is 0")


def _as_array(value: ArrayLike, wanted: str) -> jax.Array | np.ndarray:
    """Returns an array as it is, anything else as one of NumPy; raises `ValueError` where that cannot be."""
    if isinstance(value, jax.Array):
        return value
    try:
        return np.asarray(value)
    except Exception:  # such as rows of several lengths
        raise ValueError(f"{wanted}; got {type(value).__name__}") from None


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


def noise_keys(noise: Any, count: int) -> jax.Array:
    """Returns a PRNG key for each of `count` samples, split from one; raises `ValueError` for another noise."""
    try:
        return jax.random.split(noise, count)
    except (TypeError, ValueError):  # of JAX, whose words are about its keys
        plain = noise is None or isinstance(noise, str | int | float)
        shown = repr(noise) if plain else f"{type(noise).__name__}{list(getattr(noise, 'shape', ()))}"
        raise ValueError(f"noise is {shown}; it must be 'const', 'none' or a PRNG key") from None


def check_dtype(dtype: str) -> None:
    """Raises `ValueError` for a type of stored weights that loses them, or that cannot be read."""
    if dtype not in ("float32", "float16"):
        raise ValueError(f"dtype is {dtype!r}; it must be 'float32' or 'float16'")


def check_steps(steps: int) -> None:
    """Raises `ValueError` for a number of steps that is negative, or not whole."""
    if not isinstance(steps, (int, np.integer)) or steps < 0:
        raise ValueError(f"steps is {steps}; it must be an integer, 0 or more")


def check_finite(**numbers: float) -> None:
    """Raises `ValueError` for NaN, infinities, and what is not one number."""
    for name, number in numbers.items():
        try:
            finite = math.isfinite(number)
        except (TypeError, OverflowError):
            finite = False
        if not finite:
            shown = repr(number) if isinstance(number, str) else str(number)
            if np.ndim(number):
                shown = f"an array {list(np.shape(number))}"
            raise ValueError(f"{name} is {shown}; it must be a finite number")
