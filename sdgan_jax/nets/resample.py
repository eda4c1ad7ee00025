"""Convolution and ×2 resampling, in the forms that run fast; the one file where a form is chosen.

XLA's CPU backend is 20 to 40 times slower than need be on several natural forms: grouped convolution for modulation,
`lhs_dilation` or stride 2 under differentiation, depthwise FIR filters. What is used here instead:

* every convolution is a 3×3 (or 1×1) stride-1 SAME convolution;
* "convolve and resample" of StyleGAN2 (3×3 kernel and the FIR filter [1,3,3,1], 4×4) is one 6×6 kernel, whose four
  phases are four 3×3 kernels at the low resolution: the channels carry the phases (depth-to-space going up,
  space-to-depth going down), so the filter costs nothing;
* a filter alone is a sum of shifted arrays.

Kernels are HWIO, images NHWC.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

FIR = (1.0, 3.0, 3.0, 1.0)  # StyleGAN2's resampling filter, per axis, before normalisation


def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Correlates `x` f32[N,H,W,C] with `kernel` f32[k,k,C,D], k odd, zero padding; returns f32[N,H,W,D]."""
    if kernel.shape[:2] == (1, 1):
        return jnp.einsum("nhwc,cd->nhwd", x, kernel[0, 0])
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def convolve_up(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Transposed convolution of stride 2 followed by the FIR filter with gain 4, as StyleGAN2's up-layer.

    Args:
        x: f32[N,H,W,C].
        kernel: f32[3,3,C,D], in the orientation of a transposed convolution (not flipped).

    Returns:
        f32[N,2H,2W,D].
    """
    n, h, w, c = x.shape
    d = kernel.shape[-1]
    phases = _filtered(kernel, gain=2.0).reshape(3, 2, 3, 2, c, d)[::-1, :, ::-1]
    phases = phases.transpose(0, 2, 4, 1, 3, 5).reshape(3, 3, c, 4 * d)  # [k,k,C,(p,q,D)]
    y = convolve(x, phases).reshape(n, h, w, 2, 2, d)
    return y.transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * h, 2 * w, d)


def convolve_down(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """FIR filter followed by a convolution of stride 2, as StyleGAN2's down-layer.

    Args:
        x: f32[N,2H,2W,C].
        kernel: f32[3,3,C,D].

    Returns:
        f32[N,H,W,D].
    """
    n, h, w, c = x.shape
    d = kernel.shape[-1]
    x = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, h // 2, w // 2, 4 * c)
    phases = _filtered(kernel, gain=1.0).reshape(3, 2, 3, 2, c, d)
    return convolve(x, phases.transpose(0, 2, 1, 3, 4, 5).reshape(3, 3, 4 * c, d))


def upsample(x: jax.Array) -> jax.Array:
    """Doubles both sides of f32[N,H,W,C] by zero insertion and the FIR filter with gain 4."""
    for axis in (1, 2):
        before, after = _neighbours(x, x, axis)
        phases = jnp.stack(((before + 3.0 * x) / 4.0, (3.0 * x + after) / 4.0), axis=axis + 1)
        x = phases.reshape(*x.shape[:axis], 2 * x.shape[axis], *x.shape[axis + 1 :])
    return x


def downsample(x: jax.Array) -> jax.Array:
    """Halves both sides of f32[N,2H,2W,C] by the FIR filter and dropping every other sample."""
    for axis in (1, 2):
        pairs = x.reshape(*x.shape[:axis], x.shape[axis] // 2, 2, *x.shape[axis + 1 :])
        even, odd = jnp.moveaxis(pairs, axis + 1, 0)
        before, after = _neighbours(odd, even, axis)
        x = (before + 3.0 * even + 3.0 * odd + after) / 8.0
    return x


def box_downsample(x: jax.Array) -> jax.Array:
    """Halves both sides of f32[N,2H,2W,C] by averaging 2×2 boxes."""
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))


def _neighbours(left: jax.Array, right: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """`left` shifted to the next index and `right` to the one before, along `axis`, zeros moved in."""
    zero = [(0, 0)] * left.ndim
    size = left.shape[axis]
    zero[axis] = (1, 0)
    before = jax.lax.slice_in_dim(jnp.pad(left, zero), 0, size, axis=axis)
    zero[axis] = (0, 1)
    after = jax.lax.slice_in_dim(jnp.pad(right, zero), 1, size + 1, axis=axis)
    return before, after


def _filtered(kernel: jax.Array, gain: float) -> jax.Array:
    """The 6×6 kernel that acts as `kernel` f32[3,3,C,D] and the FIR filter, `gain` per axis, one after the other."""
    taps = [gain * tap / sum(FIR) for tap in FIR]
    for axis in (0, 1):
        pads = [[(t, 3 - t) if a == axis else (0, 0) for a in range(4)] for t in range(4)]
        kernel = sum(tap * jnp.pad(kernel, pad) for tap, pad in zip(taps, pads, strict=True))
    return kernel
