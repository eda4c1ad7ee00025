"""LPIPS, a distance of two images by the features of VGG16 or AlexNet.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", 2018, version 0.1. The features
after each group of convolutions become unit vectors over the channels. Their squared differences, weighted by a head
for each group, are averaged over the pixels and added up. Simonyan & Zisserman, "Very Deep Convolutional Networks",
2015 (VGG16); Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014 (AlexNet).
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sdgan_jax.nets import resample
from sdgan_jax.nets.module import Module
from sdgan_jax.nets.pooling import max_pool

# For each trunk, its numbers of convolutions and of channels in the five groups.
GROUPS = {"vgg16": (2, 2, 3, 3, 3), "alexnet": (1, 1, 1, 1, 1)}
WIDTHS = {"vgg16": (64, 128, 256, 512, 512), "alexnet": (64, 192, 384, 256, 256)}
LEAST = {"vgg16": 16, "alexnet": 31}  # least height and width of the images
# Mean and standard deviation of ImageNet's colours, of images in [-1,1].
SHIFT = np.array((-0.030, -0.088, -0.188), np.float32)
SCALE = np.array((0.458, 0.448, 0.450), np.float32)


class Lpips(Module):
    """LPIPS with one of the trunks.

    Attributes:
        trunk: "vgg16" or "alexnet".
        widths: number of channels in each group of convolutions.
    """

    trunk: str
    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, a: jax.Array, b: jax.Array) -> jax.Array:
        """Computes distances.

        Args:
            a: f32[N,H,W,3] in [-1,1].
            b: likewise, of the same shape.

        Returns:
            f32[N], 0 for equal images.

        Raises:
            ValueError: the shapes differ, or the images are smaller than `LEAST`.
        """
        least = LEAST[self.trunk]
        if a.shape != b.shape or a.ndim != 4 or a.shape[3] != 3 or min(a.shape[1:3]) < least:
            raise ValueError(
                f"both batches must be [N,H,W,3] of at least {least} pixels; got {list(a.shape)} and {list(b.shape)}"
            )
        x = (jnp.concatenate((a, b)) - SHIFT) / SCALE
        distances = jnp.zeros(len(a), a.dtype)
        for group, (count, width) in enumerate(zip(GROUPS[self.trunk], self.widths, strict=True)):
            x = self._pool(x, group)
            for index in range(count):
                size, stride = self._kernel(group)
                x = nn.relu(Conv(width, size, stride, name=f"conv_{group}_{index}")(x))
            head = self.param(f"head_{group}", nn.initializers.constant(1 / width), (width,))
            first, second = jnp.split(_normalize(x), 2)
            distances += (jnp.square(first - second) @ head).mean((1, 2))
        return distances

    def _pool(self, x: jax.Array, group: int) -> jax.Array:
        """Halves the sides before a group of convolutions, where the trunk does."""
        if self.trunk == "vgg16":
            return max_pool(x, 2) if group else x
        return max_pool(x) if group in (1, 2) else x

    def _kernel(self, group: int) -> tuple[int, int]:
        """Returns the side and the stride of the kernels of a group."""
        return {0: (11, 4), 1: (5, 1)}.get(group, (3, 1)) if self.trunk == "alexnet" else (3, 1)


class Conv(Module):
    """Convolution with bias: [N,H,W,C] to [N,H',W',features], zero padding of size // 2, at stride 4 of 2."""

    features: int
    size: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, shape[-1:])
        if self.stride == 1:
            return resample.convolve(x, kernel) + bias
        strides, padding = (self.stride, self.stride), ((2, 2), (2, 2))
        x = jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return x + bias


def _normalize(x: jax.Array) -> jax.Array:
    """Returns unit vectors over the channels; zeros stay zeros, and have a derivative."""
    return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-20)  # the square of LPIPS' ε
