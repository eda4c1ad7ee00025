"""Encoder E of the `staged` recipe: from a face to its latents w+, by semantic decomposition.

A residual trunk reads the face, with 4×4 pixels folded into one from the start: on a CPU, layers at the full resolution
would take more time than all others together. As in e4e (Tov et al. 2021, "Designing an Encoder for StyleGAN Image
Manipulation"), the latents are one w, shared by all layers, plus a small difference for each: latents near the w of G
are those that can be edited. What the face wears is a part of its own: the trunk also recognises the attributes, and
each adds its direction to w, so that thin frames and small mustaches, which hardly count in a distance of pixels, are
found.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from sdgan_jax.config import EncoderConfig
from sdgan_jax.nets import resample
from sdgan_jax.nets.initialisers import scaled_normal
from sdgan_jax.nets.layers import EqualDense
from sdgan_jax.nets.module import Module
from sdgan_jax.nets.se_resnet import SEResNet

SIDE = 4  # side of the feature map that the latents are read from
PATCH = 4  # side of the blocks of pixels that are folded into channels
MOST_PIXELS = 256  # larger images are averaged down


class Encoder(Module):
    """Network from images to differences of w+ from the average w; all layers start with the same difference."""

    config: EncoderConfig
    num_layers: int
    latent_dim: int
    num_attributes: int
    exclusive: bool  # a face has one attribute, `none` included; else any number

    @nn.compact
    def __call__(self, images: jax.Array, attributes: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        """Encodes faces.

        Args:
            images: f32[N,R,R,3] in [-1,1], R a power of two, at least 8.
            attributes: f32[N,A], what the faces are known to wear; what is recognised counts where it is NaN.

        Returns:
            f32[N,num_layers,latent_dim], and the logits f32[N,A] of the attributes recognised.
        """
        while images.shape[1] > MOST_PIXELS:
            images = resample.box_downsample(images)
        x = resample.space_to_depth(images, min(PATCH, images.shape[1] // SIDE))
        halvings = (x.shape[1] // SIDE).bit_length() - 1
        widths = [min(self.config.width << stage, self.config.width_max) for stage in range(halvings + 1)]
        trunk = SEResNet(widths, [1] + [2] * halvings, self.config.blocks, pool=False, norm="group", name="face")
        x = trunk(x)  # [N,4,4,C]
        x = EqualDense(self.config.hidden, activate=True, name="hidden")(x.reshape(x.shape[0], -1))
        shared = EqualDense(self.latent_dim, name="shared")(x)  # [N,D]
        down = self.param("down", scaled_normal(1.0), (self.num_layers, self.config.hidden, self.config.rank))
        up = self.param("up", nn.initializers.zeros, (self.num_layers, self.config.rank, self.latent_dim))
        codes = jnp.einsum("nh,lhr->nlr", x, down) / self.config.hidden**0.5
        logits = EqualDense(self.num_attributes, name="attribute")(x)  # [N,A]
        recognised = jax.nn.softmax(logits) if self.exclusive else jax.nn.sigmoid(logits)
        if attributes is not None:
            recognised = jnp.where(jnp.isnan(attributes), recognised, attributes)
        worn = self.param("worn", nn.initializers.zeros, (self.num_attributes - 1, self.latent_dim))
        shared = shared + recognised[:, 1:] @ worn
        return shared[:, None] + jnp.einsum("nlr,lrd->nld", codes, up), logits
