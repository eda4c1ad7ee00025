"""Convolution and ×2 resampling, in the forms that run fast; the one file where a form is chosen.

XLA's CPU backend is 20 to 80 times slower than need be on several natural forms: grouped convolution for modulation,
`lhs_dilation` or stride 2 under differentiation, depthwise FIR filters, the second derivatives of a padded convolution.
What is used here instead:

* on CPU, where there are channels enough to pay for its transforms, the Winograd forms of `winograd`;
* elsewhere every convolution has stride 1, and its derivatives of any order are again such convolutions and matrix
  products (`_correlate` and `_kernel_gradient`, each the derivative of the other);
* there, a resampling 3×3 convolution of StyleGAN2 is a 2×2 convolution at the low resolution whose channels carry the
  four phases (depth-to-space going up, space-to-depth going down);
* the FIR filter [1,3,3,1] is a sum of shifted arrays.

What was tried, and what it costs, is in docs/performance.md. Kernels are HWIO, images NHWC.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from sdgan_jax.nets import winograd
from sdgan_jax.nets.winograd import FIR

Padding = tuple[int, int]  # zeros before and after, the same for both axes

BACKEND = ""  # whose forms are used: "cpu", "gpu" or "tpu"; "" stands for the one that JAX runs on
WINOGRAD_CHANNELS = 128  # sqrt(C·D) from which a form with fewer multiplications is faster than a plain one
WINOGRAD_PIXELS = 1024  # N·H·W at the lower resolution, likewise: the kernel's transform has to pay, too
FEW_CHANNELS = 32  # sqrt(C·D) up to which the derivative in a kernel is XLA's convolution on CPU, too


def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Correlates `x` [N,H,W,C] with `kernel` [k,k,C,D], k odd, zero padding; returns [N,H,W,D].

    Here and below, the result has the dtype of `x` and `kernel`, float32 or bfloat16.
    """
    if kernel.shape[0] == 1:
        return jnp.einsum("nhwc,cd->nhwd", x, kernel[0, 0])
    if kernel.shape[0] == 3 and _winograd_pays(x, kernel, x.shape[:3], tile=4):
        return winograd.convolve(x, kernel)
    half = kernel.shape[0] // 2
    return _correlate(x, kernel, (half, half))


def convolve_strided(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Correlates `x` [N,2H,2W,C] with `kernel` [3,3,C,D] at stride 2, one zero around; returns [N,H,W,D].

    XLA's own form, on CPU too: twice as fast there as a 2×2 convolution of blocks of 2×2 pixels, for values and first
    derivatives. Second ones, which are very slow there, nobody takes.
    """
    return jax.lax.conv_general_dilated(x, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC"))


def convolve_up(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Transposed convolution of stride 2 followed by the FIR filter with gain 4, as StyleGAN2's up-layer.

    Args:
        x: f32[N,H,W,C].
        kernel: f32[3,3,C,D], in the orientation of a transposed convolution (not flipped).

    Returns:
        f32[N,2H,2W,D].
    """
    if _winograd_pays(x, kernel, x.shape[:3], tile=2):
        return winograd.convolve_up(x, kernel)
    c, d = kernel.shape[2:]
    # Output 2m + p of one axis is x[m-1] kernel[2+p] + x[m] kernel[p], with kernel[3] = 0.
    taps = jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0))).reshape(2, 2, 2, 2, c, d)[::-1, :, ::-1]
    taps = taps.transpose(0, 2, 4, 1, 3, 5).reshape(2, 2, c, 4 * d)  # [k,k,C,(p,q,D)]
    y = _correlate(x, taps, (1, 1))
    # Its last row and column are zero.
    return _filter(_depth_to_space(y), (1, 0), gain=2.0)


def convolve_down(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """FIR filter followed by a convolution of stride 2, as StyleGAN2's down-layer.

    Args:
        x: f32[N,2H,2W,C].
        kernel: f32[3,3,C,D].

    Returns:
        f32[N,H,W,D].
    """
    n, h, w, _ = x.shape
    if _winograd_pays(x, kernel, (n, h // 2, w // 2), tile=2):
        return winograd.convolve_down(x, kernel)
    x = _filter(x, (2, 3), gain=1.0)  # a row and a column too many, to make pairs
    return _correlate(_space_to_depth(x), _pair_taps(jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0)))), (0, 0))


def convolve_same(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """TensorFlow's SAME convolution with a kernel of even size, whose padding is asymmetric.

    Args:
        x: [N,H,W,C]; H and W even where the stride is 2.
        kernel: [k,k,C,D], k even.
        stride: 1 or 2.

    Returns:
        [N,H,W,D], or half that size.
    """
    if _backend() != "cpu":
        return jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    half = kernel.shape[0] // 2
    if stride == 1:
        return _correlate(x, kernel, (half - 1, half))
    x = jnp.pad(x, ((0, 0), (half - 1, half - 1), (half - 1, half - 1), (0, 0)))
    return _correlate(_space_to_depth(x), _pair_taps(kernel), (0, 0))


def convolve_same_transposed(y: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """TensorFlow's SAME transposed convolution, the adjoint of `convolve_same` in its images.

    Args:
        y: [N,H,W,D].
        kernel: [k,k,C,D], k even: that of the convolution it is the adjoint of, as TensorFlow stores it.
        stride: 1 or 2.

    Returns:
        [N,H,W,C], or twice that size.
    """
    if _backend() != "cpu":
        return jax.lax.conv_transpose(y, kernel, (stride, stride), "SAME", transpose_kernel=True)
    half = kernel.shape[0] // 2
    if stride == 1:
        return _correlate_transposed(y, kernel, (half - 1, half))
    x = _depth_to_space(_correlate_transposed(y, _pair_taps(kernel), (0, 0)))
    return x[:, half - 1 : x.shape[1] - half + 1, half - 1 : x.shape[2] - half + 1]


def convolve_strided_adjoint(y: jax.Array, kernel: jax.Array) -> jax.Array:
    """The adjoint of `convolve_strided` in its images: `y` [N,H,W,D] and `kernel` [3,3,C,D] to [N,2H,2W,C].

    It is torch's transposed convolution of stride 2 with padding and output padding 1.
    """
    n, h, w, _ = y.shape
    like = jnp.zeros((n, 2 * h, 2 * w, kernel.shape[2]), y.dtype)
    return jax.vjp(lambda x: convolve_strided(x, kernel), like)[1](y)[0]


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


def _backend() -> str:
    return BACKEND or jax.default_backend()


def _winograd_pays(x: jax.Array, kernel: jax.Array, shape: tuple[int, int, int], tile: int) -> bool:
    """Whether the form of `winograd` is the faster one for N, H, W at the lower resolution, in tiles of that side."""
    n, h, w = shape
    if not isinstance(n, int):  # exported for any batch size, and for other platforms than this one
        return False
    many = kernel.shape[2] * kernel.shape[3] >= WINOGRAD_CHANNELS**2 and n * h * w >= WINOGRAD_PIXELS
    # In bfloat16 the transforms would round too much away.
    return _backend() == "cpu" and x.dtype != jnp.bfloat16 and many and h % tile == w % tile == 0


def _space_to_depth(x: jax.Array) -> jax.Array:
    """[N,2H,2W,C] to [N,H,W,(p,q,C)]."""
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, h // 2, w // 2, 4 * c)


def _depth_to_space(x: jax.Array) -> jax.Array:
    """[N,H,W,(p,q,C)] to [N,2H,2W,C]."""
    n, h, w, c = x.shape
    return x.reshape(n, h, w, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * h, 2 * w, c // 4)


def _pair_taps(kernel: jax.Array) -> jax.Array:
    """A kernel of stride 2, [2k,2k,C,D], as one of stride 1 on what `_space_to_depth` gives: [k,k,(p,q,C),D]."""
    size, _, c, d = kernel.shape
    taps = kernel.reshape(size // 2, 2, size // 2, 2, c, d).transpose(0, 2, 1, 3, 4, 5)
    return taps.reshape(size // 2, size // 2, 4 * c, d)


def _neighbours(left: jax.Array, right: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """`left` shifted to the next index and `right` to the one before, along `axis`, zeros moved in."""
    zero = [(0, 0)] * left.ndim
    size = left.shape[axis]
    zero[axis] = (1, 0)
    before = jax.lax.slice_in_dim(jnp.pad(left, zero), 0, size, axis=axis)
    zero[axis] = (0, 1)
    after = jax.lax.slice_in_dim(jnp.pad(right, zero), 1, size + 1, axis=axis)
    return before, after


def _filter(x: jax.Array, padding: Padding, gain: float) -> jax.Array:
    """The FIR filter along both axes of `x`, padded with zeros, without resampling; `gain` per axis."""
    for axis in (1, 2):
        pads = [padding if a == axis else (0, 0) for a in range(x.ndim)]
        padded = jnp.pad(x, pads)
        size = padded.shape[axis] - len(FIR) + 1
        shifts = [jax.lax.slice_in_dim(padded, t, t + size, axis=axis) for t in range(len(FIR))]
        x = sum(gain * tap / sum(FIR) * shift for tap, shift in zip(FIR, shifts, strict=True))
    return x


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _correlate(x: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    """Stride-1 correlation of f32[N,H,W,C] with f32[k,k,C,D] under zero padding."""
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), (padding, padding), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _correlate_transposed(y: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    """The adjoint of `_correlate` in its images: f32[N,H',W',D] back to f32[N,H,W,C]."""
    last = kernel.shape[0] - 1
    return _correlate(y, kernel[::-1, ::-1].swapaxes(2, 3), (last - padding[0], last - padding[1]))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _kernel_gradient(x: jax.Array, y: jax.Array, padding: Padding, size: int) -> jax.Array:
    """The adjoint of `_correlate` in its kernel: f32[N,H,W,C] and f32[N,H',W',D] to f32[k,k,C,D].

    On CPU one matrix product for each tap: XLA's own convolution takes up to four times as long there, but with few
    channels it is the products, thin ones then, that take up to five times as long.
    """
    n, h, w, d = y.shape
    c = x.shape[-1]
    if _backend() != "cpu" or c * d <= FEW_CHANNELS**2:
        forward = lambda kernel: _correlate.__wrapped__(x, kernel, padding)  # noqa: E731
        return jax.linear_transpose(forward, jax.ShapeDtypeStruct((size, size, c, d), x.dtype))(y)[0]
    x = jnp.pad(x, ((0, 0), padding, padding, (0, 0)))
    y = y.reshape(-1, d)
    # Of two axes each: contracted over N, H and W in one, XLA would first transpose both operands.
    taps = [x[:, i : i + h, j : j + w].reshape(-1, c).T @ y for i in range(size) for j in range(size)]
    return jnp.stack(taps).reshape(size, size, c, d)


def _correlate_forward(x, kernel, padding):
    return _correlate(x, kernel, padding), (x, kernel)


def _correlate_backward(padding, saved, y):
    x, kernel = saved
    return _correlate_transposed(y, kernel, padding), _kernel_gradient(x, y, padding, kernel.shape[0])


def _kernel_gradient_forward(x, y, padding, size):
    return _kernel_gradient(x, y, padding, size), (x, y)


def _kernel_gradient_backward(padding, size, saved, kernel):
    x, y = saved
    return _correlate_transposed(y, kernel, padding), _correlate(x, kernel, padding)


_correlate.defvjp(_correlate_forward, _correlate_backward)
_kernel_gradient.defvjp(_kernel_gradient_forward, _kernel_gradient_backward)
