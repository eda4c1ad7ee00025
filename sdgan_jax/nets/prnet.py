"""PRNet's network: from a face to its position map, which holds the 3D position of each UV texel of the surface.

Feng et al., "Joint 3D Face Reconstruction and Dense Alignment with Position Map Regression Network", 2018. At 256
pixels and 16 channels it is ResFCN256 of the public TensorFlow code: 4×4 kernels under TensorFlow's SAME padding, no
biases, and batch normalisation after every convolution except the last one of a block.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from sdgan_jax.nets import resample
from sdgan_jax.nets.module import Module

SIZES = (32, 64, 128, 256, 512)
INNERMOST = 8  # side of the smallest map
EPSILON = 1e-3  # TensorFlow's default for batch normalisation
MOMENTUM = 0.98  # decay of the moving averages; TensorFlow's 0.999 is too slow for a few thousand steps
POSITIVE = 2.0  # initial shift of three-channel layers in standard deviations, which keeps the ReLU active
SCALE = 1.1  # outputs of 0 to 1 stand for 0 to 1.1 image sides


class Convolution(Module):
    """Convolution without bias under TensorFlow's SAME padding: [N,H,W,C] to [N,H,W,features].

    Attributes:
        features: channels of the result.
        size: side of the kernel, 1 or even.
        stride: 1 or 2; at 2 a convolution halves the side and a transposed convolution doubles it.
        transposed: compute the adjoint of a convolution; the kernel is then [k,k,features,C].
    """

    features: int
    size: int = 4
    stride: int = 1
    transposed: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        widths = (self.features, x.shape[-1]) if self.transposed else (x.shape[-1], self.features)
        init = nearly_identity if self.transposed and self.stride == 1 else nn.initializers.xavier_uniform()
        kernel = self.param("kernel", init, (self.size, self.size, *widths))
        if self.transposed:
            return resample.convolve_same_transposed(x, kernel, self.stride)
        if self.size > 1:
            return resample.convolve_same(x, kernel, self.stride)
        return resample.convolve(x, kernel, self.stride)


def nearly_identity(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> jax.Array:
    """Initialises a kernel [4,4,D,C] to the identity on the first min(C, D) channels plus small random values.

    The decoder is deep and has no shortcuts; with this start, positions pass through it from the first step on.
    """
    kernel = 0.3 * nn.initializers.xavier_uniform()(key, shape, dtype)
    return kernel.at[1, 1].add(jnp.eye(shape[2], shape[3], dtype=dtype))


class Unit(nn.Module):
    """Convolution, batch normalisation and activation; the first four fields are those of `Convolution`."""

    features: int
    size: int = 4
    stride: int = 1
    transposed: bool = False
    last: bool = False  # a sigmoid instead of the ReLU
    shift: float = 0.0  # initial shift of the normalised values

    @nn.compact
    def __call__(self, x: jax.Array, train: bool | jax.Array) -> jax.Array:
        x = Convolution(self.features, self.size, self.stride, self.transposed, name="conv")(x)
        x = BatchNorm(self.shift, name="norm")(x, train)
        return nn.sigmoid(x) if self.last else nn.relu(x)


class Block(nn.Module):
    """Residual bottleneck. The sum is normalised and rectified; the last convolution of the branch is not."""

    features: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool | jax.Array) -> jax.Array:
        shortcut, half = x, self.features // 2
        if self.stride > 1 or x.shape[-1] != self.features:
            shortcut = Convolution(self.features, 1, self.stride, name="shortcut")(x)
        x = Unit(half, 1, name="conv_0")(x, train)
        x = Unit(half, stride=self.stride, name="conv_1")(x, train)
        x = Convolution(self.features, 1, name="conv_2")(x)
        return nn.relu(BatchNorm(name="norm")(shortcut + x, train))


class BatchNorm(Module):
    """TensorFlow's batch normalisation. A traced `train` switches between batch and moving averages within a run."""

    shift: float = 0.0  # initial shift of the normalised values

    @nn.compact
    def __call__(self, x: jax.Array, train: bool | jax.Array) -> jax.Array:
        """Normalises x [N,H,W,C]; if `train`, which may be traced, by the batch, with an update of the averages."""
        shape = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.constant(self.shift), shape)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        var = self.variable("batch_stats", "var", jnp.ones, shape)
        used = mean.value, var.value
        if train is not False:
            batch = x.mean((0, 1, 2)), x.var((0, 1, 2))
            used = tuple(jnp.where(train, new, kept) for new, kept in zip(batch, used, strict=True))
            if not self.is_initializing():
                # Without `train`, `used` equals the averages, so that they keep their values.
                mean.value, var.value = (
                    MOMENTUM * kept + (1 - MOMENTUM) * new
                    for new, kept in zip(used, (mean.value, var.value), strict=True)
                )
        return (x - used[0]) * (scale * jax.lax.rsqrt(used[1] + EPSILON)) + bias


def to_input(images: jax.Array) -> jax.Array:
    """Converts images f32 in [-1,1] to [0,1], the range that the published network takes."""
    return (images + 1.0) / 2.0


class ResFCN(nn.Module):
    """Residual encoder and transposed-convolution decoder; the innermost map is 8×8 at every size."""

    size: int = 256
    channels: int = 16  # channels at full resolution; each stage doubles them

    @nn.compact
    def __call__(self, images: jax.Array, train: bool | jax.Array = False) -> jax.Array:
        """Regresses position maps.

        Args:
            images: f32[N,size,size,3] in [0,1].
            train: normalise by the batch and update the averages in `batch_stats`, which must be mutable; may be
                traced.

        Returns:
            f32[N,size,size,3] in (0,1): x, y and z at each texel, divided by 1.1 · size pixels.

        Raises:
            ValueError: the size is not a power of two from 32 to 512, or the images have another size.
        """
        if self.size not in SIZES:
            raise ValueError(f"the size of a ResFCN is {self.size}; it must be one of {', '.join(map(str, SIZES))}")
        if images.ndim != 4 or images.shape[1:] != (self.size, self.size, 3):
            raise ValueError(f"images must be [N,{self.size},{self.size},3], got {list(images.shape)}")
        stages = (self.size // INNERMOST).bit_length() - 1
        x = Unit(self.channels, name="conv")(images, train)
        for stage in range(stages):
            for step in range(2):
                width, stride = self.channels << stage + 1, 2 - step
                x = Block(width, stride, name=f"block_{2 * stage + step}")(x, train)
        rows = upward(stages, self.channels)
        for index, (width, stride) in enumerate(rows):
            last = index == len(rows) - 1
            shift = POSITIVE if width == 3 and not last else 0.0
            x = Unit(width, stride=stride, transposed=True, last=last, shift=shift, name=f"up_{index}")(x, train)
        return x


def upward(stages: int, channels: int) -> list[tuple[int, int]]:
    """Returns width and stride of each transposed convolution, including the three at the output."""
    rows = [(channels << stages, 1)]
    for stage in reversed(range(stages)):
        rows += [(channels << stage, 2)] + [(channels << stage, 1)] * (2 if stage > 1 else 1)
    return rows + [(3, 1)] * 3
