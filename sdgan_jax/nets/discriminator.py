"""StyleGAN2 residual discriminator with minibatch standard deviation and an attribute head."""

from __future__ import annotations

import math

import flax.linen as nn
import jax

from sdgan_jax.config import DiscriminatorConfig
from sdgan_jax.nets.generator import channels_at
from sdgan_jax.nets.layers import EqualConv, EqualDense, minibatch_stddev


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions, the second halving the sides, beside a 1×1 skip; their sum over sqrt(2)."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """f32[N,2H,2W,C] to f32[N,H,W,features]."""
        skip = EqualConv(self.features, size=1, down=True, use_bias=False, activate=False, name="skip")(x)
        x = EqualConv(x.shape[-1], name="conv_0")(x)
        x = EqualConv(self.features, down=True, name="conv_1")(x)
        return (x + skip) / math.sqrt(2.0)


class Discriminator(nn.Module):
    """Image to one realness logit and the attribute logits."""

    config: DiscriminatorConfig
    num_attributes: int

    @nn.compact
    def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Judges images f32[N,R,R,3] in [-1,1].

        Returns:
            Realness logits f32[N], attribute logits f32[N,A] (`none` is column 0).
        """
        config, resolution = self.config, images.shape[1]
        x = EqualConv(channels_at(resolution, config.channel_base, config.channel_max), size=1, name="from_rgb")(images)
        while resolution > 4:
            resolution //= 2
            width = channels_at(resolution, config.channel_base, config.channel_max)
            x = ResidualBlock(width, name=f"block_{resolution}")(x)
        x = EqualConv(x.shape[-1], name="conv_4")(minibatch_stddev(x, config.mbstd_group))
        x = EqualDense(x.shape[-1], activate=True, name="dense")(x.reshape(x.shape[0], -1))  # [N,C]
        return EqualDense(1, name="realness")(x)[:, 0], EqualDense(self.num_attributes, name="attribute")(x)
