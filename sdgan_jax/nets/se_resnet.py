"""Residual trunks of SD-GAN: SE-ResNet18 for the features of a face, ResNet18 for those of a template image.

He et al., "Deep Residual Learning", 2016; the improved residual unit of ArcFace (Deng et al. 2019) with squeeze and
excitation (Hu et al. 2018). Kernels are stored with the equalised learning rate of `layers`.

There are two kinds of normalisation. `fixed` scales and shifts each channel, which equals batch normalisation with
known statistics. `group` is group normalisation with a scale and a shift. Neither uses statistics of the batch: a face
has the same features in any batch and on any number of devices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from sdgan_jax.nets import resample
from sdgan_jax.nets.initialisers import scaled_normal
from sdgan_jax.nets.layers import EqualDense
from sdgan_jax.nets.module import Module

REDUCTION = 16  # factor by which squeeze-and-excitation reduces the channels
LEAST = 4  # least number of channels after that reduction
GROUP = 16  # greatest number of channels in a group


class SEResNet(nn.Module):
    """Trunk for faces: [N,S,S,3] to features [N,s,s,widths[-1]], s = S / (2 · the product of the strides).

    Each stage has `blocks` blocks with squeeze-and-excitation. With `pool`, 2×2 max-pooling follows the first layer;
    without it the factor 2 in s is absent.
    """

    widths: Sequence[int] = (64, 128, 256, 512)
    strides: Sequence[int] = (1, 2, 2, 2)
    blocks: int = 2  # number of blocks in a stage
    pool: bool = True
    norm: str = "fixed"  # or "group"

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        x = Conv(self.widths[0], name="input")(images)
        x = PReLU(name="input_prelu")(Norm(self.norm, name="input_norm")(x))
        if self.pool:
            n, h, w, c = x.shape
            x = x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))
        for stage, (width, stride) in enumerate(zip(self.widths, self.strides, strict=True)):
            for index in range(self.blocks):
                x = SEBlock(width, 1 if index else stride, self.norm, name=f"block_{stage}_{index}")(x)
        return x


class ResNet(nn.Module):
    """Trunk for templates: [N,S,S,3] to features [N,s,s,widths[-1]], all >= 0, s = S / the product of the strides."""

    widths: Sequence[int] = (64, 128, 256, 512)
    strides: Sequence[int] = (2, 2, 2, 2)
    blocks: int = 2
    norm: str = "fixed"

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        x = nn.relu(Norm(self.norm, name="input_norm")(Conv(self.widths[0], name="input")(images)))
        for stage, (width, stride) in enumerate(zip(self.widths, self.strides, strict=True)):
            for index in range(self.blocks):
                x = Block(width, 1 if index else stride, self.norm, name=f"block_{stage}_{index}")(x)
        return x


class SEBlock(nn.Module):
    """ArcFace's residual unit: norm, convolution, norm, PReLU, strided convolution, norm, excitation, sum, PReLU.

    Both activations share one slope. Where size or width changes, the shortcut is a 1×1 convolution.
    """

    features: int
    stride: int = 1
    norm: str = "fixed"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        activate = PReLU(name="prelu")
        y = Conv(x.shape[-1], name="conv_0")(Norm(self.norm, name="norm_0")(x))
        y = Conv(self.features, stride=self.stride, name="conv_1")(activate(Norm(self.norm, name="norm_1")(y)))
        y = SqueezeExcitation(name="excitation")(Norm(self.norm, name="norm_2")(y))
        return activate(y + _shortcut(x, self.features, self.stride, self.norm))


class Block(nn.Module):
    """ResNet's basic block: convolve with the stride, normalise, ReLU, convolve, normalise, add, ReLU."""

    features: int
    stride: int = 1
    norm: str = "fixed"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = Conv(self.features, stride=self.stride, name="conv_0")(x)
        y = Conv(self.features, name="conv_1")(nn.relu(Norm(self.norm, name="norm_0")(y)))
        return nn.relu(Norm(self.norm, name="norm_1")(y) + _shortcut(x, self.features, self.stride, self.norm))


class SqueezeExcitation(nn.Module):
    """Scales each channel of [N,H,W,C] by a number in (0,1) computed from the means of all channels."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        scale = EqualDense(max(LEAST, channels // REDUCTION), name="squeeze")(x.mean((1, 2)))  # [N,C/16]
        scale = EqualDense(channels, name="excite")(PReLU(name="prelu")(scale))  # [N,C]
        return x * nn.sigmoid(scale)[:, None, None]


class Conv(Module):
    """Convolution without bias, zero padding: [N,H,W,C] to [N,H/stride,W/stride,features]; size 1 or 3."""

    features: int
    size: int = 3
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", scaled_normal(1.0), shape) / math.sqrt(math.prod(shape[:3]))
        return resample.convolve(x, kernel, self.stride)


class PReLU(Module):
    """Leaky ReLU with one learned slope for all channels."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.where(x >= 0, x, self.param("slope", nn.initializers.constant(0.25), ()) * x)


class Norm(Module):
    """Normalisation of the channels of [N,H,W,C]; the kinds `fixed` and `group` are those of the module docstring."""

    kind: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        if self.kind == "group":
            groups = channels // math.gcd(channels, GROUP)
            x = nn.GroupNorm(groups, epsilon=1e-5, use_scale=False, use_bias=False, name="group")(x)
        scale = self.param("scale", nn.initializers.ones, (channels,))
        return x * scale + self.param("bias", nn.initializers.zeros, (channels,))


def _shortcut(x: jax.Array, features: int, stride: int, norm: str) -> jax.Array:
    """Returns the shortcut of a block: its input, or a 1×1 convolution of it where the shapes differ."""
    if stride == 1 and x.shape[-1] == features:
        return x
    return Norm(norm, name="shortcut_norm")(Conv(features, 1, stride, name="shortcut")(x))
