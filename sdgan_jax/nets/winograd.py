"""Convolutions with fewer multiplications than taps: linear transforms around one batched matrix product.

Winograd, "Arithmetic Complexity of Computations", 1980; Lavin & Gray, "Fast Algorithms for Convolutional Neural
Networks", 2016. An image is cut into tiles. A small matrix transforms every tile along both axes (`analyse`), one
matrix product for each transformed point mixes the channels, and a second small matrix transforms back (`synthesise`).
`analyse` and `synthesise` are each the adjoint of the other, so derivatives of any order consist of the same three
steps at the same cost.

* A 3×3 convolution on tiles of 4×4 outputs, F(4×4, 3×3), takes 36 products instead of 144. Its interpolation points are
  0, ±√½, ±√2 and ∞; the usual 0, ±1, ±2 and ∞ double the rounding error (RMS).
* StyleGAN2's up-layer takes 25 products for the 16 outputs of a tile of 2×2 inputs. Karatsuba's method computes the
  even outputs of the transposed convolution (three products for four); the odd outputs are computed directly; the FIR
  filter is part of `synthesise`. The down-layer is the adjoint of the up-layer.

Kernels are HWIO, images NHWC.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

FIR = (1.0, 3.0, 3.0, 1.0)  # StyleGAN2's resampling filter, per axis, before normalisation
_ROOT = math.sqrt(2.0)


class Transform(NamedTuple):
    """Transform along one axis: every window of `stride + 2 reach` samples becomes `len(rows)` points."""

    rows: tuple[tuple[float, ...], ...]  # each point is the dot product of its row and the window
    stride: int  # samples from one window to the next
    reach: int  # samples shared with the neighbouring window on either side


# F(4, 3): y = A^T [(G k) · (B^T x)]; the interpolation polynomials are scaled so that B^T is simple.
_CONVOLVE_IN = Transform(
    (
        (1.0, 0.0, -2.5, 0.0, 1.0, 0.0),
        (0.0, -_ROOT, -2.0, _ROOT / 2, 1.0, 0.0),
        (0.0, _ROOT, -2.0, -_ROOT / 2, 1.0, 0.0),
        (0.0, -_ROOT / 2, -0.5, _ROOT, 1.0, 0.0),
        (0.0, _ROOT / 2, -0.5, -_ROOT, 1.0, 0.0),
        (0.0, 1.0, 0.0, -2.5, 0.0, 1.0),
    ),
    stride=4,
    reach=1,
)
_CONVOLVE_OUT = Transform(
    (
        (1.0, 0.0, 0.0, 0.0),
        (1.0, _ROOT / 2, 0.5, _ROOT / 4),
        (1.0, -_ROOT / 2, 0.5, -_ROOT / 4),
        (1.0, _ROOT, 2.0, 2 * _ROOT),
        (1.0, -_ROOT, 2.0, -2 * _ROOT),
        (0.0, 0.0, 0.0, 1.0),
    ),
    stride=4,
    reach=0,
)
_CONVOLVE_KERNEL = (
    (1.0, 0.0, 0.0),
    (-2 / 3, -_ROOT / 3, -1 / 3),
    (-2 / 3, _ROOT / 3, -1 / 3),
    (1 / 6, _ROOT / 6, 1 / 3),
    (1 / 6, -_ROOT / 6, 1 / 3),
    (0.0, 0.0, 1.0),
)

# The transposed convolution of a tile (a, b) is a k0, a k1, a k2 + b k0, b k1, b k2 before the filter.
_UP_IN = Transform(((1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0), (0.0, 1.0)), stride=2, reach=0)
_UP_KERNEL = ((1.0, 0.0, 0.0), (1.0, 0.0, 1.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (0.0, 1.0, 0.0))
_UP_UNFILTERED = np.array(
    ((1, 0, -1, 0, 0), (0, 0, 1, 0, 0), (0, 0, -1, 0, 1), (0, 1, 0, 0, 0), (0, 0, 0, 1, 0)), np.float64
)
_UP_OUT = Transform(
    tuple(tuple(np.convolve(row, 2.0 * np.array(FIR) / sum(FIR)).tolist()) for row in _UP_UNFILTERED),
    stride=4,
    reach=2,
)


def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Correlates `x` f32[N,H,W,C], H and W multiples of 4, with `kernel` f32[3,3,C,D] under zero padding."""
    points = analyse(x, _CONVOLVE_IN)
    return synthesise(_mix(points, _to_points(kernel, _CONVOLVE_KERNEL)), _CONVOLVE_OUT)


def convolve_up(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Computes `resample.convolve_up` of `x` f32[N,H,W,C], H and W even, and `kernel` f32[3,3,C,D]."""
    points = analyse(x, _UP_IN)
    return synthesise(_mix(points, _to_points(kernel, _UP_KERNEL)), _UP_OUT)


def convolve_down(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Computes `resample.convolve_down` of `x` f32[N,2H,2W,C], H and W even, and `kernel` f32[3,3,C,D].

    This is the adjoint of `convolve_up` at a quarter of its gain.
    """
    points = analyse(x, _UP_OUT)
    return synthesise(_mix(points, _to_points(0.25 * kernel, _UP_KERNEL)), _UP_IN)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
@functools.partial(jax.jit, static_argnums=1)
def analyse(x: jax.Array, transform: Transform) -> jax.Array:
    """Transforms the tiles of `x` f32[N,H,W,C] to points f32[P,P,N,H/stride,W/stride,C].

    A step applies it and its adjoint 200 times. `jax.jit` traces them once for each shape, which nearly halves the time
    to trace a step; XLA inlines them.
    """
    x = jnp.stack([_combine(row, _windows(x, 1, transform)) for row in transform.rows])
    return jnp.stack([_combine(row, _windows(x, 3, transform)) for row in transform.rows], axis=1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
@functools.partial(jax.jit, static_argnums=1)
def synthesise(points: jax.Array, transform: Transform) -> jax.Array:
    """Applies the adjoint of `analyse`: f32[P,P,N,I,J,C] to f32[N,I·stride,J·stride,C]."""
    columns = list(zip(*transform.rows, strict=True))
    x = _overlap([_combine(column, list(points)) for column in columns], 2, transform)  # [P,N,H,J,C]
    return _overlap([_combine(column, list(x)) for column in columns], 2, transform)


analyse.defvjp(lambda x, t: (analyse(x, t), None), lambda t, _, y: (synthesise(y, t),))
synthesise.defvjp(lambda p, t: (synthesise(p, t), None), lambda t, _, y: (analyse(y, t),))


def _to_points(kernel: jax.Array, rows: tuple[tuple[float, ...], ...]) -> jax.Array:
    """Transforms `kernel` f32[3,3,C,D] to points f32[P·P,C,D]."""
    both = jnp.asarray(np.kron(rows, rows), kernel.dtype)  # [P·P,9]
    return (both @ kernel.reshape(9, -1)).reshape(-1, *kernel.shape[2:])


def _mix(points: jax.Array, kernel: jax.Array) -> jax.Array:
    """Multiplies f32[P,P,N,I,J,C] by f32[P·P,C,D] at every point; returns f32[P,P,N,I,J,D]."""
    mixed = points.reshape(len(kernel), -1, points.shape[-1]) @ kernel
    return mixed.reshape(*points.shape[:-1], -1)


def _combine(weights: tuple[float, ...], arrays: list[jax.Array]) -> jax.Array:
    """Returns the weighted sum; terms of weight 0 are left out."""
    terms = [w * a if w != 1.0 else a for w, a in zip(weights, arrays, strict=True) if w]
    return functools.reduce(jnp.add, terms)


def _windows(x: jax.Array, axis: int, transform: Transform) -> list[jax.Array]:
    """Returns sample i of every window, for i from -reach to stride + reach - 1; `axis` then counts windows."""
    stride, reach = transform.stride, transform.reach
    shape = (*x.shape[:axis], x.shape[axis] // stride, stride, *x.shape[axis + 1 :])
    phases = [jax.lax.index_in_dim(x.reshape(shape), i, axis + 1, keepdims=False) for i in range(stride)]
    before = [_shift(phase, axis, 1) for phase in phases[stride - reach :]]
    after = [_shift(phase, axis, -1) for phase in phases[:reach]]
    return before + phases + after


def _overlap(samples: list[jax.Array], axis: int, transform: Transform) -> jax.Array:
    """Applies the adjoint of `_windows`."""
    stride, reach = transform.stride, transform.reach
    phases = samples[reach : reach + stride]
    for i in range(reach):
        phases[stride - reach + i] += _shift(samples[i], axis, -1)
        phases[i] += _shift(samples[reach + stride + i], axis, 1)
    x = jnp.stack(phases, axis + 1)
    return x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :])


def _shift(x: jax.Array, axis: int, by: int) -> jax.Array:
    """Shifts `x` along `axis` by one, to the next index (`by` 1) or the previous one (-1); zeros enter."""
    padding = [(0, 0, 0)] * x.ndim
    padding[axis] = (by, -by, 0)
    return jax.lax.pad(x, jnp.zeros((), x.dtype), padding)
