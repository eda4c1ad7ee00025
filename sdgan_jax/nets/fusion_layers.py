"""Layers of fusion networks: style encoder, blended modulation, locally connected layers.

Zhu et al., "SEAN", 2020 (style encoder, ACE); Park et al., "Semantic Image Synthesis with Spatially-Adaptive
Normalization", 2019 (SPADE). Kernels are stored with the equalised learning rate of `layers`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from sdgan_jax.nets import resample
from sdgan_jax.nets.initialisers import scaled_normal
from sdgan_jax.nets.layers import EqualConv
from sdgan_jax.nets.module import Module

EPSILON = 1e-5  # added to the variance by the normalisations


class StyleEncoder(nn.Module):
    """SEAN's style encoder from maps f32[N,S,S,C] to a map of codes f32[N,S/2,S/2,features] in (-1,1).

    It has four layers with instance normalisation and leaky ReLU: the second and third have stride 2, the fourth is
    transposed. A last layer has a bias and tanh. S is a multiple of 4.
    """

    widths: Sequence[int]
    features: int

    @nn.compact
    def __call__(self, maps: jax.Array) -> jax.Array:
        first, second, third, fourth = self.widths
        x = _activate(ReflectConv(first, use_bias=False, name="input")(maps))
        x = _activate(Resampling(second, name="down_0")(x))
        x = _activate(Resampling(third, name="down_1")(x))
        x = _activate(Resampling(fourth, up=True, name="up")(x))
        return jnp.tanh(ReflectConv(self.features, name="output")(x))


class ReflectConv(nn.Module):
    """3×3 convolution with reflection padding: [N,H,W,C] to [N,H,W,features]."""

    features: int
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
        conv = EqualConv(self.features, use_bias=self.use_bias, activate=False, name="conv")
        return conv(x)[:, 1:-1, 1:-1]


class Resampling(Module):
    """3×3 convolution of stride 2 without a bias, which halves the sides; its adjoint when `up`, which doubles them."""

    features: int
    up: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        shape = (3, 3, self.features, channels) if self.up else (3, 3, channels, self.features)
        kernel = self.param("kernel", scaled_normal(1.0), shape) / math.sqrt(9 * channels)
        resize = resample.convolve_strided_adjoint if self.up else resample.convolve_strided
        return resize(x, kernel)


class Modulation(Module):
    """ACE's scale and shift: gamma and beta, each s · conv(codes) + (1 - s) · SPADE(face) with a learned s."""

    features: int
    size: int = 5  # side of the kernels

    @nn.compact
    def __call__(self, face: jax.Array, plane: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """Computes gamma and beta.

        Args:
            face: features of the face, f32[N,h,w,C].
            plane: codes laid out over the feature map, f32[N,h,w,D]; None for SPADE alone.

        Returns:
            gamma and beta, each f32[N,h,w,features].
        """

        def conv(name: str, x: jax.Array) -> jax.Array:
            return EqualConv(self.features, self.size, activate=False, name=name)(x)

        shared = nn.relu(conv("shared", face))
        found = []
        for name in ("gamma", "beta"):
            of_face = conv(f"{name}_face", shared)
            if plane is None:
                found.append(of_face)
                continue
            share = nn.sigmoid(self.param(f"{name}_blend", nn.initializers.zeros, ()))
            found.append(share * conv(f"{name}_codes", plane) + (1 - share) * of_face)
        return found[0], found[1]


class Regressor(Module):
    """Regression from a feature map f32[N,h,w,C] to vectors f32[N,num_layers,features].

    A separate dense layer for each position maps C channels to `features`. A separate dense layer for each feature then
    maps the positions to the vectors. Each vector is normalised, scaled and shifted.
    """

    num_layers: int
    features: int
    scale_init: float = 1.0  # 0 makes the output start at 0; the scale then learns first

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        n, h, w, channels = x.shape
        x = nn.relu(LocallyConnected(self.features, name="local")(x.reshape(n, h * w, channels)))  # [N,P,D]
        x = nn.relu(LocallyConnected(self.num_layers, name="layers")(x.swapaxes(1, 2)))  # [N,D,L]
        x = normalise_vectors(x.swapaxes(1, 2))  # [N,L,D]
        scale = self.param("scale", nn.initializers.constant(self.scale_init), (self.num_layers, 1))
        return x * scale + self.param("bias", nn.initializers.zeros, (self.num_layers, 1))


class LocallyConnected(Module):
    """Separate dense layers without bias for each position: f32[N,P,C] to f32[N,P,features]."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", scaled_normal(1.0), (*x.shape[1:], self.features))
        return jnp.einsum("npc,pcd->npd", x, kernel) / math.sqrt(x.shape[-1])


def normalise_instance(x: jax.Array) -> jax.Array:
    """Normalises `x` f32[N,H,W,C] to mean 0 and variance 1 over H and W."""
    x = x - x.mean((1, 2), keepdims=True)
    return x * jax.lax.rsqrt(jnp.square(x).mean((1, 2), keepdims=True) + EPSILON)


def normalise_vectors(x: jax.Array) -> jax.Array:
    """Normalises `x` f32[N,L,D] to mean 0 and variance 1 over D."""
    x = x - x.mean(-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + EPSILON)


def _activate(x: jax.Array) -> jax.Array:
    """Applies instance normalisation and leaky ReLU of slope 0.2."""
    return nn.leaky_relu(normalise_instance(x), 0.2)
