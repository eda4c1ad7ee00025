"""StyleGAN2 generator (config-f): mapping network, and synthesis network with skip connections.

Karras et al. 2020, with the details of the published implementations. Attributes do not enter here; the decomposition
in `sdgan_jax.latents` shifts the latent before.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sdgan_jax.config import GeneratorConfig
from sdgan_jax.nets import backend, resample
from sdgan_jax.nets.initialisers import scaled_normal
from sdgan_jax.nets.layers import (
    AdaIN,
    EqualConv,
    EqualDense,
    ModulatedConv,
    channels_at,
    clamp,
    dtype_at,
    leaky_relu,
    normalise,
)
from sdgan_jax.nets.module import Module

Noise = str | jax.Array  # "const", "none", or one PRNG key for each sample


class Mapping(nn.Module):
    """Mapping network from a latent f32[N,D], a label f32[N,label_dim], or both, to f32[N,features]."""

    features: int
    layers: int
    lr_mul: float
    label_dim: int = 0

    @nn.compact
    def __call__(self, z: jax.Array | None, label: jax.Array | None = None) -> jax.Array:
        """Maps latents; a conditional network joins the embedded label to z (Karras et al. 2020, ADA).

        Raises:
            ValueError: a conditional network is given no label.
        """
        parts = [] if z is None else [normalise(z)]
        if self.label_dim:
            if label is None:
                raise ValueError(f"this network is conditional and needs a label [N,{self.label_dim}]")
            parts.append(normalise(EqualDense(self.features, name="embed")(label)))
        x = jnp.concatenate(parts, -1)
        for index in range(self.layers):
            x = EqualDense(self.features, lr_mul=self.lr_mul, activate=True, name=f"dense_{index}")(x)
        return x


class StyledConv(Module):
    """Convolution with a style, noise, bias and activation.

    The style scales the weights ("modulation"), or AdaIN applies it to the normalised activations ("adain").
    """

    features: int
    up: bool = False
    style: str = "modulation"
    clamp: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, w: jax.Array, noise: str | jax.Array) -> jax.Array:
        """Computes the layer.

        Args:
            x: [N,H,W,C].
            w: f32[N,D].
            noise: f32[N,H',W',1], "const" or "none".

        Returns:
            [N,H',W',features]; H' = 2H when `up`, else H.
        """
        if self.style == "adain":
            x = EqualConv(self.features, up=self.up, use_bias=False, activate=False, name="conv")(x)
        else:
            x = ModulatedConv(self.features, up=self.up, name="conv")(x, w)
        strength = self.param("noise_strength", nn.initializers.zeros, ())
        if isinstance(noise, str):
            noise = self._const_noise(x.shape[1]) if noise == "const" else jnp.zeros(())
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x = x + (strength * noise).astype(x.dtype) + bias.astype(x.dtype)
        x = clamp(leaky_relu(x), self.clamp)
        return AdaIN(name="adain")(x, w) if self.style == "adain" else x

    def _const_noise(self, size: int) -> jax.Array:
        """Returns the fixed noise f32[size,size,1] from the collection `buffers`, which only "const" needs."""
        return self.variable(
            "buffers", "noise", lambda: scaled_normal(1.0)(self.make_rng("params"), (size, size, 1))
        ).value


class ToRGB(Module):
    """1×1 convolution to RGB, modulated without demodulation; with style "adain" it is not modulated."""

    style: str = "modulation"
    clamp: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, w: jax.Array) -> jax.Array:
        """Maps `x` [N,H,W,C] with `w` f32[N,D] to f32[N,H,W,3]."""
        if self.style == "adain":
            rgb = EqualConv(3, size=1, use_bias=False, activate=False, name="conv")(x)
        else:
            rgb = ModulatedConv(3, size=1, demodulate=False, name="conv")(x, w)
        rgb = rgb + self.param("bias", nn.initializers.zeros, (3,)).astype(x.dtype)
        return clamp(rgb, self.clamp).astype(jnp.float32)


class Synthesis(Module):
    """Synthesis network from one w per layer to the image and its smaller versions."""

    config: GeneratorConfig
    resolution: int

    @nn.compact
    def __call__(self, w_plus: jax.Array, noise: Noise = "const") -> list[jax.Array]:
        """Generates the images.

        Args:
            w_plus: f32[N,L,D], L = 2 log2(resolution) - 2.
            noise: "const" (fixed buffers), "none", or PRNG keys [N].

        Returns:
            The RGB sum f32[N,r,r,3] at every resolution r = 4, 8, …; the last one is the image.
        """
        config = self.config
        styled = (
            nn.remat(StyledConv, static_argnums=(3,) if isinstance(noise, str) else ()) if config.remat else StyledConv
        )
        styled = functools.partial(styled, style=config.style, clamp=config.conv_clamp)
        to_rgb = functools.partial(ToRGB, style=config.style, clamp=config.conv_clamp)
        noises = iter(self._noises(noise))
        scales: list[jax.Array] = []
        for block in range(self.resolution.bit_length() - 2):
            size, layer = 4 << block, max(0, 2 * block - 1)
            width = channels_at(size, config.channel_base, config.channel_max, config.channels)
            dtype = dtype_at(size, self.resolution, config.low_precision_blocks)
            if block == 0:
                start = self.param("const", scaled_normal(1.0), (4, 4, width)).astype(dtype)
                x = jnp.broadcast_to(start, (w_plus.shape[0], *start.shape))
            else:
                x = styled(width, up=True, name=f"conv_{size}_up")(x.astype(dtype), w_plus[:, layer], next(noises))
                layer += 1
            x = styled(width, name=f"conv_{size}")(x, w_plus[:, layer], next(noises))
            rgb = to_rgb(name=f"rgb_{size}")(x, w_plus[:, layer + 1])
            scales.append(resample.upsample(scales[-1]) + rgb if scales else rgb)
        return scales

    def _noises(self, noise: Noise) -> Sequence[str | jax.Array]:
        """Returns the noise of each styled convolution: the name, or its part of one draw for all of them."""
        sizes = [4] + [4 << block for block in range(1, self.resolution.bit_length() - 2) for _ in range(2)]
        if isinstance(noise, str):
            return [noise] * len(sizes)
        ends = np.cumsum([size * size for size in sizes])
        pixels = _draw_once(noise, int(ends[-1]))  # [N, pixels of all layers]
        parts = jnp.split(pixels, ends[:-1], axis=1)
        return [part.reshape(-1, size, size, 1) for part, size in zip(parts, sizes, strict=True)]


def _draw_once(keys: jax.Array, count: int) -> jax.Array:
    """Draws f32[N,count] from N(0, 1) by keys [N], and stores the result.

    XLA would otherwise draw the noise anew in each layer that reads it, forward and backward: a tenth of a training
    step's instructions. Its CPU backend removes an optimisation barrier before fusion, but does not fuse across a loop.
    """

    def draw(key: jax.Array) -> jax.Array:
        return jax.random.normal(key, (count,))

    if backend.name() == "cpu":
        return cast(jax.Array, jax.lax.map(draw, keys))
    return cast(jax.Array, jax.lax.optimization_barrier(jax.vmap(draw)(keys)))


class Generator(nn.Module):
    """Mapping and synthesis network; use `apply` with `method="map"` or `method="synthesize"`."""

    config: GeneratorConfig
    resolution: int

    def setup(self) -> None:
        config = self.config
        self.mapping = Mapping(config.latent_dim, config.mapping_layers, config.mapping_lr_mul, config.label_dim)
        self.synthesis = Synthesis(config, self.resolution)

    def map(self, z: jax.Array, label: jax.Array | None = None) -> jax.Array:
        """Maps z f32[N,D], and label f32[N,label_dim] of a conditional network, to w f32[N,D]."""
        return self.mapping(z, label)

    def synthesize(self, w_plus: jax.Array, noise: Noise = "const") -> list[jax.Array]:
        """Generates images from w+ f32[N,L,D]; see `Synthesis`."""
        return self.synthesis(w_plus, noise)

    def __call__(self, z: jax.Array) -> jax.Array:
        """Generates images f32[N,R,R,3] from z f32[N,D]; initialises both networks."""
        layers = 2 * (self.resolution.bit_length() - 1) - 2
        w = self.map(z, jnp.zeros((z.shape[0], self.config.label_dim)))
        return self.synthesize(jnp.repeat(w[:, None], layers, axis=1))[-1]
