"""ArcFace's identity network IR-SE: a residual network from a face to a unit vector that identifies the person.

Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019 (IR: its improved residual unit);
Hu et al., "Squeeze-and-Excitation Networks", 2018. The defaults are IR-SE50 for 112×112 faces; `importers.arcface`
reads its public weights. The small network trained on rendered faces has fewer and narrower blocks.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from sdgan_jax.nets import resample
from sdgan_jax.nets.module import Module

REDUCTION = 16  # factor by which squeeze-and-excitation reduces the channels
EPSILON = 1e-5  # added to the variance by batch normalisation


class ArcFace(nn.Module):
    """Identity network: a convolution, stages of residual blocks that each halve the sides, and a dense layer.

    Attributes:
        blocks: number of residual blocks in each stage.
        widths: number of channels in each stage.
        embedding_dim: length E of the embedding.
    """

    blocks: tuple[int, ...] = (3, 4, 14, 3)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    embedding_dim: int = 512

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Embeds faces.

        Flax's `capture_intermediates` returns the embeddings before their normalisation to unit length (the output of
        the submodule `embedding_norm`) and the outputs of the blocks `block_0`, `block_1`, …

        Args:
            images: f32[N,S,S,3] in [-1,1]; S is a multiple of 2 ** stages.
            train: normalise by the statistics of the batch, whose moving averages are in the collection
                `batch_stats`.

        Returns:
            f32[N,E], unit vectors.

        Raises:
            ValueError: images have another shape.
        """
        if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[1] % (1 << len(self.blocks)):
            raise ValueError(f"images must be [N,S,S,3], S a multiple of {1 << len(self.blocks)}; got {images.shape}")
        norm = _norm(train)
        x = Conv(self.widths[0], name="input")(images)  # [N,S,S,C]
        x = PReLU(name="input_prelu")(norm(name="input_norm")(x))
        index = 0
        for count, width in zip(self.blocks, self.widths, strict=True):
            for stride in (2,) + (1,) * (count - 1):
                x = Block(width, stride, name=f"block_{index}")(x, train)
                index += 1
        x = norm(name="output_norm")(x)
        x = nn.Dense(self.embedding_dim, name="embedding")(x.reshape(x.shape[0], -1))  # [N,E]
        x = norm(name="embedding_norm")(x)
        return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-12)


class Block(nn.Module):
    """Residual block of IR-SE: [N,H,W,C] to [N,H/stride,W/stride,features].

    The shortcut drops pixels where the widths agree; otherwise it is a 1×1 convolution.
    """

    features: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        norm = _norm(train)
        if x.shape[-1] == self.features:
            shortcut = x[:, :: self.stride, :: self.stride]
        else:
            shortcut = norm(name="shortcut_norm")(Conv(self.features, 1, self.stride, name="shortcut")(x))
        x = Conv(self.features, name="conv_0")(norm(name="norm_0")(x))
        x = Conv(self.features, stride=self.stride, name="conv_1")(PReLU(name="prelu")(x))
        return SqueezeExcitation(name="excitation")(norm(name="norm_1")(x)) + shortcut


class SqueezeExcitation(nn.Module):
    """Scales each channel of [N,H,W,C] by a number in (0,1) computed from the means of all channels."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        scale = nn.Dense(max(1, channels // REDUCTION), use_bias=False, name="squeeze")(x.mean((1, 2)))  # [N,C/16]
        scale = nn.Dense(channels, use_bias=False, name="excite")(nn.relu(scale))  # [N,C]
        return x * nn.sigmoid(scale)[:, None, None]


class Conv(Module):
    """Convolution without bias, zero padding: [N,H,W,C] to [N,H/stride,W/stride,features]; size 1 or 3."""

    features: int
    size: int = 3
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        return resample.convolve(x, kernel, self.stride)


class PReLU(Module):
    """Leaky ReLU with a learned slope for each channel."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        slope = self.param("slope", nn.initializers.constant(0.25), (x.shape[-1],))
        return jnp.where(x >= 0, x, slope * x)


def _norm(train: bool) -> Any:
    """Returns a factory of batch normalisations that use the batch in training and the moving averages otherwise."""

    def norm(name: str) -> nn.BatchNorm:
        return nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=EPSILON, name=name)

    return norm
