"""Convolution and ×2 resampling in the forms that run fast. This file alone chooses a form.

XLA's CPU backend runs several natural forms 20 to 80 times slower than necessary: grouped convolution for modulation,
`lhs_dilation` or stride 2 under differentiation, depthwise FIR filters, second derivatives of a padded convolution.
The forms used here avoid them:

* On CPU, layers with enough channels to pay for the transforms use the Winograd forms of `winograd`.
* All other convolutions on CPU have stride 1. Their derivatives of any order are again stride-1 convolutions and matrix
  products (`_correlate` and `_kernel_gradient`, each the derivative of the other).
* The plain form of a resampling 3×3 convolution of StyleGAN2 on CPU is a 2×2 convolution at the low resolution whose
  channels hold the four phases (depth-to-space going up, space-to-depth going down). On GPU and TPU it is XLA's own,
  with `lhs_dilation` or stride 2: 9 products for each pixel and pair of channels instead of 16.
* On CPU, a SAME convolution with few channels on one side is computed on blocks of 2×2 pixels.
* The FIR filter [1,3,3,1] is a sum of shifted arrays.

docs/performance.md lists the alternatives that were measured. Kernels are HWIO, images NHWC.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from sdgan_jax.nets import backend, winograd
from sdgan_jax.nets.winograd import FIR

Padding = tuple[int, int]  # zeros before and after, the same for both axes
Pair = tuple[jax.Array, jax.Array]

WINOGRAD_CHANNELS = 16  # least sqrt(C·D) at which the Winograd form is faster than the plain one
WINOGRAD_PRODUCTS = 2**25  # least N·H·W·C·D, pixels at the lower resolution, that makes up for slower compilation
FEW_CHANNELS = 32  # greatest sqrt(C·D) at which XLA's convolution is the faster kernel gradient on CPU
THIN_CHANNELS = 8  # least min(C, D) at which a convolution on CPU is faster by pixels than by blocks of them
_LAYOUT = ("NHWC", "HWIO", "NHWC")


def convolve(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Correlates images with a kernel under zero padding of (k - 1) / 2, in the faster form.

    Args:
        x: [N,H,W,C], float32 or bfloat16; H and W are multiples of the stride.
        kernel: [k,k,C,D] of the dtype of `x`; k is odd at stride 1, and 1 or 3 at stride 2.
        stride: 1 or 2.

    Returns:
        [N,H/stride,W/stride,D] of the same dtype.
    """
    if kernel.shape[0] == 1:
        return jnp.einsum("nhwc,cd->nhwd", x[:, ::stride, ::stride], kernel[0, 0])
    if stride > 1:
        return convolve_strided(x, kernel)
    if kernel.shape[0] == 3 and _winograd_pays(x, kernel, tile=4):
        return winograd.convolve(x, kernel)
    return convolve_plain(x, kernel)


def convolve_plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Computes `convolve` at stride 1 in the plain form."""
    half = kernel.shape[0] // 2
    return _correlate(x, kernel, (half, half))


def convolve_strided(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Correlates `x` [N,2H,2W,C] with `kernel` [3,3,C,D] at stride 2, padded by one zero; returns [N,H,W,D].

    This is XLA's own form on CPU too: values and first derivatives take half the time of a 2×2 convolution of blocks of
    2×2 pixels. Second derivatives are very slow there, and nothing in this project takes them.
    """
    return jax.lax.conv_general_dilated(x, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=_LAYOUT)


def convolve_up(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Applies StyleGAN2's up-layer, a transposed convolution of stride 2 and the FIR filter with gain 4.

    Args:
        x: f32[N,H,W,C].
        kernel: f32[3,3,C,D], in the orientation of a transposed convolution (not flipped).

    Returns:
        f32[N,2H,2W,D].
    """
    if _winograd_pays(x, kernel, tile=2):
        return winograd.convolve_up(x, kernel)
    return convolve_up_plain(x, kernel)


def convolve_up_plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Computes `convolve_up` without Winograd's transforms: on CPU by phases, elsewhere by XLA's `lhs_dilation`."""
    if backend.name() != "cpu":
        x = jax.lax.conv_general_dilated(
            x, kernel[::-1, ::-1], (1, 1), ((2, 2), (2, 2)), lhs_dilation=(2, 2), dimension_numbers=_LAYOUT
        )
        return _filter(x, (1, 1), gain=2.0)
    c, d = kernel.shape[2:]
    # Output 2m + p of one axis is x[m-1] kernel[2+p] + x[m] kernel[p], with kernel[3] = 0.
    taps = jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0))).reshape(2, 2, 2, 2, c, d)[::-1, :, ::-1]
    taps = taps.transpose(0, 2, 4, 1, 3, 5).reshape(2, 2, c, 4 * d)  # [k,k,C,(p,q,D)]
    y = _correlate(x, taps, (1, 1))
    # The last row and column of y are zero.
    return _filter(_depth_to_space(y), (1, 0), gain=2.0)


def convolve_down(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Applies StyleGAN2's down-layer, the FIR filter and a convolution of stride 2.

    Args:
        x: f32[N,2H,2W,C].
        kernel: f32[3,3,C,D].

    Returns:
        f32[N,H,W,D].
    """
    if _winograd_pays(x, kernel, tile=2, stride=2):
        return winograd.convolve_down(x, kernel)
    return convolve_down_plain(x, kernel)


def convolve_down_plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Computes `convolve_down` without Winograd's transforms: on CPU by phases, elsewhere by XLA's stride 2."""
    if backend.name() != "cpu":
        x = _filter(x, (2, 2), gain=1.0)
        return jax.lax.conv_general_dilated(x, kernel, (2, 2), ((0, 0), (0, 0)), dimension_numbers=_LAYOUT)
    x = _filter(x, (2, 3), gain=1.0)  # one row and one column more than needed, to make pairs
    return _correlate(space_to_depth(x), _pair_taps(jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0)))), (0, 0))


def convolve_same(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Applies TensorFlow's SAME convolution with a kernel of even size, whose padding is asymmetric.

    Args:
        x: [N,H,W,C]; H and W are even where the stride is 2.
        kernel: [k,k,C,D], k even.
        stride: 1 or 2.

    Returns:
        [N,H/stride,W/stride,D].
    """
    if backend.name() != "cpu":
        return jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=_LAYOUT)
    half = kernel.shape[0] // 2
    if stride == 1 and _blocks_pay(x, kernel):
        return _depth_to_space(_correlate(space_to_depth(x), *_block_taps(kernel)))
    if stride == 1:
        return _correlate(x, kernel, (half - 1, half))
    x = jnp.pad(x, ((0, 0), (half - 1, half - 1), (half - 1, half - 1), (0, 0)))
    return _correlate(space_to_depth(x), _pair_taps(kernel), (0, 0))


def convolve_same_transposed(y: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Applies TensorFlow's SAME transposed convolution, the adjoint of `convolve_same` in its images.

    Args:
        y: [N,H,W,D].
        kernel: [k,k,C,D], k even; the kernel of the forward convolution, which is how TensorFlow stores it.
        stride: 1 or 2.

    Returns:
        [N,H·stride,W·stride,C].
    """
    if backend.name() != "cpu":
        return jax.lax.conv_transpose(y, kernel, (stride, stride), "SAME", transpose_kernel=True)
    half = kernel.shape[0] // 2
    if stride == 1 and _blocks_pay(y, kernel):
        return _depth_to_space(_correlate_transposed(space_to_depth(y), *_block_taps(kernel)))
    if stride == 1:
        return _correlate_transposed(y, kernel, (half - 1, half))
    x = _depth_to_space(_correlate_transposed(y, _pair_taps(kernel), (0, 0)))
    return x[:, half - 1 : x.shape[1] - half + 1, half - 1 : x.shape[2] - half + 1]


def convolve_strided_adjoint(y: jax.Array, kernel: jax.Array) -> jax.Array:
    """Applies the adjoint of `convolve_strided`: `y` [N,H,W,D] and `kernel` [3,3,C,D] to [N,2H,2W,C].

    It equals torch's transposed convolution of stride 2 with padding 1 and output padding 1.
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


def space_to_depth(x: jax.Array, side: int = 2) -> jax.Array:
    """Moves blocks of `side` × `side` pixels into channels: [N,H,W,C] to [N,H/side,W/side,(p,q,C)].

    Args:
        x: array [N,H,W,C]; `side` divides H and W.
        side: pixels along a side of a block.
    """
    n, h, w, c = x.shape
    x = x.reshape(n, h // side, side, w // side, side, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h // side, w // side, side * side * c)


def box_downsample(x: jax.Array) -> jax.Array:
    """Halves both sides of f32[N,2H,2W,C] by averaging 2×2 boxes."""
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))


def _winograd_pays(x: jax.Array, kernel: jax.Array, tile: int, stride: int = 1) -> bool:
    """Returns whether the Winograd form is the faster one.

    Args:
        x: images; `stride` times the size of the lower resolution.
        kernel: its kernel.
        tile: side of a tile at the lower resolution.
        stride: 1, or 2 for a down-layer.
    """
    n, h, w = x.shape[0], x.shape[1] // stride, x.shape[2] // stride
    if not isinstance(n, int):  # exported for any batch size, and for platforms other than this one
        return False
    products = kernel.shape[2] * kernel.shape[3]
    large = products >= WINOGRAD_CHANNELS**2 and n * h * w * products >= WINOGRAD_PRODUCTS
    # bfloat16 loses too much accuracy in the transforms.
    return backend.name() == "cpu" and x.dtype != jnp.bfloat16 and large and h % tile == w % tile == 0


def _depth_to_space(x: jax.Array) -> jax.Array:
    """Moves channels into 2×2 pixels: [N,H,W,(p,q,C)] to [N,2H,2W,C]."""
    n, h, w, c = x.shape
    return x.reshape(n, h, w, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * h, 2 * w, c // 4)


def _pair_taps(kernel: jax.Array) -> jax.Array:
    """Turns a stride-2 kernel [2k,2k,C,D] into a stride-1 kernel [k,k,(p,q,C),D] for `space_to_depth`."""
    size, _, c, d = kernel.shape
    taps = kernel.reshape(size // 2, 2, size // 2, 2, c, d).transpose(0, 2, 1, 3, 4, 5)
    return taps.reshape(size // 2, size // 2, 4 * c, d)


def _blocks_pay(x: jax.Array, kernel: jax.Array) -> bool:
    """Returns whether a convolution on CPU is faster on blocks of 2×2 pixels: more products, but fuller vectors."""
    return min(kernel.shape[2:]) < THIN_CHANNELS and x.shape[1] % 2 == x.shape[2] % 2 == 0


def _block_taps(kernel: jax.Array) -> tuple[jax.Array, Padding]:
    """Turns the kernel [2k,2k,C,D] of a SAME convolution into one [k+1,k+1,4C,4D] of `space_to_depth`, with padding.

    Output q of a block b is the sum over t of x[2b + q + t - (k - 1)] kernel[t], so that input p of the block b + u
    meets kernel[2u + p - q + k - 1].
    """
    half, (c, d) = kernel.shape[0] // 2, kernel.shape[2:]
    before, size = half // 2, half + 1
    first = 2 * before - half + 2  # zeros, so that the taps for q start at 1 - q
    sides = (first, 1 + 2 * size - first - 2 * half)
    padded = jnp.pad(kernel, (sides, sides, (0, 0), (0, 0)))
    ends = [slice(1 - q, 1 - q + 2 * size) for q in range(2)]
    taps = jnp.stack([padded[down, right] for down in ends for right in ends], -2)  # [2k+2,2k+2,C,(q,r),D]
    return _pair_taps(taps.reshape(2 * size, 2 * size, c, 4 * d)), (before, half - before)


def _neighbours(left: jax.Array, right: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """Shifts `left` to the next index and `right` to the previous one along `axis`; zeros enter."""
    zero = [(0, 0)] * left.ndim
    size = left.shape[axis]
    zero[axis] = (1, 0)
    before = jax.lax.slice_in_dim(jnp.pad(left, zero), 0, size, axis=axis)
    zero[axis] = (0, 1)
    after = jax.lax.slice_in_dim(jnp.pad(right, zero), 1, size + 1, axis=axis)
    return before, after


def _filter(x: jax.Array, padding: Padding, gain: float) -> jax.Array:
    """Applies the FIR filter along both axes of `x`, padded with zeros, without resampling; `gain` per axis."""
    for axis in (1, 2):
        pads = [padding if a == axis else (0, 0) for a in range(x.ndim)]
        padded = jnp.pad(x, pads)
        size = padded.shape[axis] - len(FIR) + 1
        shifts = [jax.lax.slice_in_dim(padded, t, t + size, axis=axis) for t in range(len(FIR))]
        terms = [gain * tap / sum(FIR) * shift for tap, shift in zip(FIR, shifts, strict=True)]
        x = functools.reduce(jnp.add, terms)
    return x


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _correlate(x: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    """Correlates f32[N,H,W,C] with f32[k,k,C,D] at stride 1 under zero padding."""
    return _correlate_xla(x, kernel, padding)


def _correlate_xla(x: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    """Computes `_correlate` with XLA's own derivatives."""
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), (padding, padding), dimension_numbers=_LAYOUT)


def _correlate_transposed(y: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    """Applies the adjoint of `_correlate` in its images: f32[N,H',W',D] to f32[N,H,W,C]."""
    last = kernel.shape[0] - 1
    return _correlate(y, kernel[::-1, ::-1].swapaxes(2, 3), (last - padding[0], last - padding[1]))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _kernel_gradient(x: jax.Array, y: jax.Array, padding: Padding, size: int) -> jax.Array:
    """Applies the adjoint of `_correlate` in its kernel: f32[N,H,W,C] and f32[N,H',W',D] to f32[k,k,C,D].

    On CPU this is one matrix product for each tap; XLA's own convolution takes up to four times as long there. With few
    channels the products are thin and take up to five times as long as the convolution, which is then used.
    """
    n, h, w, d = y.shape
    c = x.shape[-1]
    if backend.name() != "cpu" or c * d <= FEW_CHANNELS**2:
        like = jax.ShapeDtypeStruct((size, size, c, d), x.dtype)
        return jax.linear_transpose(lambda kernel: _correlate_xla(x, kernel, padding), like)(y)[0]
    x = jnp.pad(x, ((0, 0), padding, padding, (0, 0)))
    y = y.reshape(-1, d)
    # Two-dimensional operands: XLA would first transpose both if N, H and W were contracted as three axes.
    taps = [x[:, i : i + h, j : j + w].reshape(-1, c).T @ y for i in range(size) for j in range(size)]
    return jnp.stack(taps).reshape(size, size, c, d)


def _correlate_forward(x: jax.Array, kernel: jax.Array, padding: Padding) -> tuple[jax.Array, Pair]:
    return _correlate(x, kernel, padding), (x, kernel)


def _correlate_backward(padding: Padding, saved: Pair, y: jax.Array) -> Pair:
    x, kernel = saved
    return _correlate_transposed(y, kernel, padding), _kernel_gradient(x, y, padding, kernel.shape[0])


def _kernel_gradient_forward(x: jax.Array, y: jax.Array, padding: Padding, size: int) -> tuple[jax.Array, Pair]:
    return _kernel_gradient(x, y, padding, size), (x, y)


def _kernel_gradient_backward(padding: Padding, size: int, saved: Pair, kernel: jax.Array) -> Pair:
    x, y = saved
    return _correlate_transposed(y, kernel, padding), _correlate(x, kernel, padding)


_correlate.defvjp(_correlate_forward, _correlate_backward)
_kernel_gradient.defvjp(_kernel_gradient_forward, _kernel_gradient_backward)
