"""StyleGAN2 residual discriminator with minibatch standard deviation and an attribute head.

Options: further heads on features of frozen networks (Sauer et al. 2021, Projected GANs), multi-scale gradients
(Karnewar & Wang 2020, MSG-GAN) and the label projection of conditional StyleGAN2-ADA.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from sdgan_jax.config import DiscriminatorConfig
from sdgan_jax.nets import resample
from sdgan_jax.nets.generator import Mapping
from sdgan_jax.nets.layers import EqualConv, EqualDense, channels_at, dtype_at, minibatch_stddev

LABEL_LAYERS = 8  # layers of the mapping network in a conditional discriminator


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions, the second of which halves the sides, and a 1×1 skip; their sum divided by sqrt(2)."""

    width: int  # channels between the two convolutions
    features: int
    clamp: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [N,2H,2W,C] to [N,H,W,features]."""
        # The reference clamps convolutions with an activation, so not this one.
        skip = EqualConv(self.features, size=1, down=True, use_bias=False, activate=False, name="skip")(x)
        x = EqualConv(self.width, clamp=self.clamp, name="conv_0")(x)
        x = EqualConv(self.features, down=True, clamp=self.clamp, name="conv_1")(x)
        return (x + skip) / math.sqrt(2.0)


class JoinRGB(nn.Module):
    """Joins activations and an RGB image of the same resolution by one of MSG-GAN's three combine functions."""

    kind: str
    clamp: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, rgb: jax.Array) -> jax.Array:
        """Joins `x` [N,H,W,C] and `rgb` f32[N,H,W,3] along the channels.

        Returns:
            By kind: "simple" [x, rgb]; "lin_cat" [x, conv(rgb)]; "cat_lin" conv([x, rgb]).
        """
        rgb = rgb.astype(x.dtype)
        if self.kind == "lin_cat":
            rgb = EqualConv(x.shape[-1] // 2, size=1, activate=False, clamp=self.clamp, name="conv")(rgb)
        joined = jnp.concatenate((x, rgb), -1)
        if self.kind == "cat_lin":
            joined = EqualConv(x.shape[-1], size=1, activate=False, clamp=self.clamp, name="conv")(joined)
        return joined


class FeatureHead(nn.Module):
    """Features of frozen networks, all of one size, to a realness logit, given the attributes.

    The attributes enter by projection (Miyato & Koyama 2018, "cGANs with Projection Discriminator").
    """

    width: int  # channels
    group: int  # of the minibatch standard deviation

    @nn.compact
    def __call__(self, features: jax.Array, attributes: jax.Array) -> jax.Array:
        """Maps features [N,H,H,C], H a power of two from 4 up, and attributes f32[N,A] to f32[N]."""
        x = EqualConv(self.width, size=1, name="project")(features)
        while x.shape[1] > 4:
            x = EqualConv(self.width, down=True, name=f"conv_{x.shape[1] // 2}")(x)
        x = EqualConv(self.width, name="conv")(minibatch_stddev(x, self.group))
        x = EqualDense(self.width, activate=True, name="dense")(x.reshape(x.shape[0], -1))
        given = EqualDense(self.width, name="attribute")(attributes)
        return EqualDense(1, name="realness")(x)[:, 0] + (given * x).sum(-1) / math.sqrt(self.width)


class Discriminator(nn.Module):
    """Image, and its features where there are feature heads, to realness logits and the attribute logits."""

    config: DiscriminatorConfig
    num_attributes: int  # `none` included; 1 for a discriminator without an attribute head

    @nn.compact
    def __call__(
        self,
        images: jax.Array | list[jax.Array],
        label: jax.Array | None = None,
        features: Sequence[jax.Array] = (),
    ) -> tuple[jax.Array, jax.Array | None]:
        """Computes the logits of images.

        Args:
            images: f32[N,R,R,3] in [-1,1], or a list of their scales from 4 up, as `Synthesis` returns it. Only
                "multi_scale" uses the smaller scales; missing ones are box-filtered from the images.
            label: f32[N,label_dim], for a conditional network; for a network with `feature_heads` the attributes
                f32[N,A] that the images are said to have, None for no statement.
            features: [N,H,H,C] of each size H, for a network with `feature_heads`.

        Returns:
            Realness logits f32[N], or f32[N,1+K] with those of K feature heads; attribute logits f32[N,A] (`none` is
            column 0), or None.
        """
        config = self.config
        scales = list(images) if isinstance(images, list) else [images]
        highest = scales[-1].shape[1]
        while config.multi_scale and scales[0].shape[1] > 4:
            scales.insert(0, resample.box_downsample(scales[0]))
        block = nn.remat(ResidualBlock) if config.remat else ResidualBlock

        def width(resolution: int) -> int:
            return channels_at(resolution, config.channel_base, config.channel_max, config.channels)

        resolution = highest
        x = scales[-1].astype(dtype_at(highest, highest, config.low_precision_blocks))
        x = EqualConv(width(highest), size=1, clamp=config.conv_clamp, name="from_rgb")(x)
        while resolution > 4:
            half = resolution // 2
            x = x.astype(dtype_at(resolution, highest, config.low_precision_blocks))
            x = block(width(resolution), width(half), config.conv_clamp, name=f"block_{half}")(x)
            if config.multi_scale:
                rgb = scales[half.bit_length() - 3]
                x = JoinRGB(config.multi_scale, config.conv_clamp, name=f"join_{half}")(x, rgb)
            resolution = half
        x = minibatch_stddev(x.astype(jnp.float32), config.mbstd_group)
        x = EqualConv(width(4), clamp=config.conv_clamp, name="conv_4")(x)
        x = EqualDense(width(4), activate=True, name="dense")(x.reshape(x.shape[0], -1))  # [N,C]
        realness = EqualDense(width(4) if config.label_dim else 1, name="realness")(x)
        if config.label_dim:
            mapped = Mapping(width(4), LABEL_LAYERS, 0.01, config.label_dim, name="label_mapping")(None, label)
            realness = (realness * mapped).sum(-1, keepdims=True) / math.sqrt(width(4))
        attributes = EqualDense(self.num_attributes, name="attribute")(x) if self.num_attributes > 1 else None
        if not features:
            return realness[:, 0], attributes
        given = jnp.zeros((x.shape[0], self.num_attributes)) if label is None else label
        heads = [
            FeatureHead(config.feature_heads, config.mbstd_group, name=f"features_{seen.shape[1]}")(seen, given)
            for seen in features
        ]
        return jnp.stack((realness[:, 0], *heads), -1), attributes
