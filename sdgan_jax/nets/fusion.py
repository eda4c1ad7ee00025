"""Fusion network F: a face and an attribute to the offset that fits the attribute to this very face."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from sdgan_jax.config import FusionConfig
from sdgan_jax.nets.layers import EqualConv, EqualDense, channels_at, leaky_relu, scaled_normal


class Encoder(nn.Module):
    """Convolutional encoder: f32[N,S,S,C] to f32[N,hidden_dim]."""

    config: FusionConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        size = x.shape[1]
        x = EqualConv(channels_at(size, self.config.channel_base, self.config.channel_max), name="input")(x)
        while size > 4:
            size //= 2
            width = channels_at(size, self.config.channel_base, self.config.channel_max)
            x = EqualConv(width, down=True, name=f"conv_{size}")(x)
        return EqualDense(self.config.hidden_dim, name="dense")(x.reshape(x.shape[0], -1))


class Fusion(nn.Module):
    """Offset of the latent from an image, the attributes, and, when known, the position map of the face.

    The attributes enter linearly, one regressed vector each: offsets of several attributes add up, and `none` gives
    exactly zero. The regressor's last layer has its own weights for every synthesis layer.
    """

    config: FusionConfig
    num_attributes: int
    num_layers: int  # vectors to regress: L for an offset in w+, 1 for an offset in z
    latent_dim: int

    @nn.compact
    def __call__(self, images: jax.Array, attributes: jax.Array, position_map: jax.Array | None = None) -> jax.Array:
        """Regresses the offsets.

        Args:
            images: f32[N,R,R,3] in [-1,1].
            attributes: f32[N,A] weights; column 0 (`none`) is not looked at.
            position_map: f32[N,S,S,3] in units of the image side, or None.

        Returns:
            f32[N,num_layers,latent_dim].
        """
        face = Encoder(self.config, name="image")(images)  # [N,H]
        if position_map is not None:
            face = face + Encoder(self.config, name="position_map")(position_map)
        wanted = self.num_attributes - 1
        embedding = self.param("embedding", scaled_normal(1.0), (wanted, self.config.embedding_dim))
        semantic = EqualDense(self.config.hidden_dim, name="semantic")(embedding)  # [A-1,H]
        x = leaky_relu(face[:, None] + semantic)  # [N,A-1,H]
        x = EqualDense(self.config.hidden_dim, activate=True, name="fuse")(x)
        x = jnp.einsum("nah,na->nh", x, attributes[:, 1:])
        kernel = self.param(
            "regressor", nn.initializers.zeros, (self.config.hidden_dim, self.num_layers, self.latent_dim)
        )
        return jnp.einsum("nh,hld->nld", x, kernel)
