"""StyleGAN2's layers: equalised learning rate, modulated convolution, minibatch standard deviation.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020. Weights are stored as N(0, 1) / lr_mul and
multiplied at run time by lr_mul / sqrt(fan_in), so that Adam changes every layer at the same relative speed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from sdgan_jax.nets import resample
from sdgan_jax.nets.initialisers import scaled_normal
from sdgan_jax.nets.module import Module


def channels_at(resolution: int, base: int, most: int, widths: Sequence[int] = ()) -> int:
    """Returns the channels at `resolution`: min(base / resolution, most), or its entry of `widths` (for 4, 8, …)."""
    return widths[resolution.bit_length() - 3] if widths else min(base // resolution, most)


def dtype_at(resolution: int, highest: int, low_precision_blocks: int) -> DTypeLike:
    """Returns bfloat16 for the `low_precision_blocks` highest resolutions up to `highest`, except 4; else float32."""
    return jnp.bfloat16 if resolution > 4 and resolution << low_precision_blocks > highest else jnp.float32


def leaky_relu(x: jax.Array) -> jax.Array:
    """Leaky ReLU of slope 0.2 with gain sqrt(2), which keeps the variance."""
    return jnp.where(x >= 0, x, 0.2 * x) * math.sqrt(2.0)


def clamp(x: jax.Array, limit: float) -> jax.Array:
    """Clips `x` to ±limit; a limit of 0 means no clipping."""
    return jnp.clip(x, -limit, limit) if limit else x


def normalise(x: jax.Array) -> jax.Array:
    """Divides `x` f32[N,D] by its root mean square along D."""
    return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-8)


class EqualDense(Module):
    """Dense layer with equalised learning rate: f32[...,C] to f32[...,features]."""

    features: int
    lr_mul: float = 1.0
    bias_init: float = 0.0
    activate: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", scaled_normal(1.0 / self.lr_mul), (x.shape[-1], self.features))
        x = x @ (kernel * (self.lr_mul / math.sqrt(x.shape[-1])))
        bias = nn.initializers.constant(self.bias_init / self.lr_mul)
        x = x + self.lr_mul * self.param("bias", bias, (self.features,))
        return leaky_relu(x) if self.activate else x


class EqualConv(Module):
    """Convolution with equalised learning rate: [N,H,W,C] to [N,H,W,features], doubled when `up`, halved when `down`.

    It computes in the dtype of its input; its parameters are always float32.
    """

    features: int
    size: int = 3
    up: bool = False
    down: bool = False
    use_bias: bool = True
    activate: bool = True
    clamp: float = 0.0  # bound of the result; 0 for none

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", scaled_normal(1.0), shape) / math.sqrt(math.prod(shape[:3]))
        kernel = kernel.astype(x.dtype)
        if self.up:
            x = resample.convolve_up(x, kernel)
        elif not self.down:
            x = resample.convolve(x, kernel)
        elif self.size == 1:
            x = resample.convolve(resample.downsample(x), kernel)
        else:
            x = resample.convolve_down(x, kernel)
        if self.use_bias:
            x = x + self.param("bias", nn.initializers.zeros, (self.features,)).astype(x.dtype)
        return clamp(leaky_relu(x) if self.activate else x, self.clamp)


class ModulatedConv(Module):
    """Convolution whose input channels are scaled per sample by a style (weight modulation and demodulation).

    Scaling the input and then the output equals scaling the weights, and needs only one convolution for the whole
    batch. The style is an affine map of w whose bias starts at 1. The layer computes in the dtype of its input, style
    and demodulation in float32.
    """

    features: int
    size: int = 3
    up: bool = False
    demodulate: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, w: jax.Array) -> jax.Array:
        """Convolves `x` [N,H,W,C] under `w` f32[N,D]; returns [N,H,W,features], doubled when `up`."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", scaled_normal(1.0), shape) / math.sqrt(math.prod(shape[:3]))
        style = EqualDense(x.shape[-1], bias_init=1.0, name="affine")(w)  # [N,C]
        x = x * style[:, None, None, :].astype(x.dtype)
        convolve = resample.convolve_up if self.up else resample.convolve
        x = convolve(x, kernel.astype(x.dtype))
        if self.demodulate:
            power = jnp.square(style) @ jnp.square(kernel).sum((0, 1))  # [N,features]
            x = x * jax.lax.rsqrt(power + 1e-8)[:, None, None, :].astype(x.dtype)
        return x


class AdaIN(nn.Module):
    """Adaptive instance normalisation (Huang & Belongie 2017; StyleGAN): scale · (x - mean) / deviation + shift.

    Mean and deviation are computed per sample and channel. Scale, which starts at 1, and shift are affine in w.
    """

    @nn.compact
    def __call__(self, x: jax.Array, w: jax.Array) -> jax.Array:
        """Normalises `x` [N,H,W,C] and applies the style `w` f32[N,D]."""
        scale = EqualDense(x.shape[-1], bias_init=1.0, name="scale")(w)[:, None, None]
        shift = EqualDense(x.shape[-1], name="shift")(w)[:, None, None]
        centred = x.astype(jnp.float32)
        centred = centred - centred.mean((1, 2), keepdims=True)
        inverse = jax.lax.rsqrt(jnp.square(centred).mean((1, 2), keepdims=True) + 1e-8)
        return (scale * inverse * centred + shift).astype(x.dtype)


def group_size(count: int, group: int) -> int:
    """Returns the size of the groups of `count` samples: the largest divisor of `count` up to `group`."""
    return max(size for size in range(1, min(group, count) + 1) if count % size == 0)


def minibatch_stddev(x: jax.Array, group: int) -> jax.Array:
    """Appends the standard deviation over groups of samples as a further channel.

    Groups are strided: with M = N / group, samples i, i + M, i + 2M, ... form a group, as in the reference.

    Args:
        x: f32[N,H,W,C].
        group: greatest group size, see `group_size`. Groups of 1 give a constant.

    Returns:
        f32[N,H,W,C+1].
    """
    n, h, w, c = x.shape
    size = group_size(n, group)
    groups = x.reshape(size, n // size, h, w, c)
    deviation = jnp.sqrt(groups.var(0) + 1e-8).mean((1, 2, 3))  # [N/size]
    return jnp.concatenate((x, jnp.broadcast_to(jnp.tile(deviation, size)[:, None, None, None], (n, h, w, 1))), -1)
