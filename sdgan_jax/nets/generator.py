"""StyleGAN2 generator (config-f): mapping network, and synthesis network with skip connections.

Karras et al. 2020; the facts are those of the published implementations. The attribute does not enter here: it arrives
as a latent that the decomposition (`sdgan_jax.latents`) has moved.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sdgan_jax.config import GeneratorConfig
from sdgan_jax.nets import resample
from sdgan_jax.nets.layers import EqualDense, ModulatedConv, leaky_relu, scaled_normal

Noise = str | jax.Array  # "const", "none", or PRNG keys [N], one a sample


def channels_at(resolution: int, channel_base: int, channel_max: int) -> int:
    """Channels of a layer at `resolution`: min(channel_base / resolution, channel_max)."""
    return min(channel_base // resolution, channel_max)


class Mapping(nn.Module):
    """Mapping network: z f32[N,D] to w f32[N,D]."""

    config: GeneratorConfig

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        x = z * jax.lax.rsqrt(jnp.square(z).mean(-1, keepdims=True) + 1e-8)
        for index in range(self.config.mapping_layers):
            x = EqualDense(
                self.config.latent_dim,
                lr_mul=self.config.mapping_lr_mul,
                activate=True,
                name=f"dense_{index}",
            )(x)
        return x


class StyledConv(nn.Module):
    """Modulated convolution, noise, bias, activation."""

    features: int
    up: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, w: jax.Array, noise: str | jax.Array) -> jax.Array:
        """f32[N,H,W,C] and w f32[N,D] to f32[N,H',W',features], H' = 2H when `up`; noise f32[N,H',W',1] or a name."""
        x = ModulatedConv(self.features, up=self.up, name="conv")(x, w)
        strength = self.param("noise_strength", nn.initializers.zeros, ())
        if isinstance(noise, str):
            noise = self._const_noise(x.shape[1]) if noise == "const" else jnp.zeros(())
        x = x + strength * noise + self.param("bias", nn.initializers.zeros, (self.features,))
        return leaky_relu(x)

    def _const_noise(self, size: int) -> jax.Array:
        """The fixed noise f32[size,size,1]; only drawing with "const" needs the collection `buffers`."""
        return self.variable(
            "buffers", "noise", lambda: jax.random.normal(self.make_rng("params"), (size, size, 1))
        ).value


class ToRGB(nn.Module):
    """1×1 modulated convolution to RGB, without demodulation."""

    @nn.compact
    def __call__(self, x: jax.Array, w: jax.Array) -> jax.Array:
        """f32[N,H,W,C] and w f32[N,D] to f32[N,H,W,3]."""
        rgb = ModulatedConv(3, size=1, demodulate=False, name="conv")(x, w)
        return rgb + self.param("bias", nn.initializers.zeros, (3,))


class Synthesis(nn.Module):
    """Synthesis network: one w per layer to the image and its smaller versions."""

    config: GeneratorConfig
    resolution: int

    @nn.compact
    def __call__(self, w_plus: jax.Array, noise: Noise = "const") -> list[jax.Array]:
        """Draws the images.

        Args:
            w_plus: f32[N,L,D], L = 2 log2(resolution) - 2.
            noise: "const" (fixed buffers), "none", or PRNG keys [N].

        Returns:
            The RGB sum f32[N,r,r,3] at every resolution r from 4 up; the last one is the image.
        """
        width = [channels_at(4 << i, self.config.channel_base, self.config.channel_max) for i in range(9)]
        noises = iter(self._noises(noise))
        start = self.param("const", scaled_normal(1.0), (4, 4, width[0]))
        x = jnp.broadcast_to(start, (w_plus.shape[0], *start.shape))
        x = StyledConv(width[0], name="conv_4")(x, w_plus[:, 0], next(noises))
        scales = [ToRGB(name="rgb_4")(x, w_plus[:, 1])]
        for block in range(1, self.resolution.bit_length() - 2):
            size, first = 4 << block, 2 * block - 1
            x = StyledConv(width[block], up=True, name=f"conv_{size}_up")(x, w_plus[:, first], next(noises))
            x = StyledConv(width[block], name=f"conv_{size}")(x, w_plus[:, first + 1], next(noises))
            rgb = ToRGB(name=f"rgb_{size}")(x, w_plus[:, first + 2])
            scales.append(resample.upsample(scales[-1]) + rgb)
        return scales

    def _noises(self, noise: Noise) -> list[str] | list[jax.Array]:
        """What each styled convolution gets: the name, or its part of one draw for all of them."""
        sizes = [4] + [4 << block for block in range(1, self.resolution.bit_length() - 2) for _ in range(2)]
        if isinstance(noise, str):
            return [noise] * len(sizes)
        ends = np.cumsum([size * size for size in sizes])
        pixels = jax.vmap(lambda key: jax.random.normal(key, (int(ends[-1]),)))(noise)  # [N, pixels of all layers]
        parts = jnp.split(pixels, ends[:-1], axis=1)
        return [part.reshape(-1, size, size, 1) for part, size in zip(parts, sizes, strict=True)]


class Generator(nn.Module):
    """Mapping and synthesis under one roof; `apply` with `method="map"` or `method="synthesize"`."""

    config: GeneratorConfig
    resolution: int

    def setup(self) -> None:
        self.mapping = Mapping(self.config)
        self.synthesis = Synthesis(self.config, self.resolution)

    def map(self, z: jax.Array) -> jax.Array:
        """Maps z f32[N,D] to w f32[N,D]."""
        return self.mapping(z)

    def synthesize(self, w_plus: jax.Array, noise: Noise = "const") -> list[jax.Array]:
        """Draws w+ f32[N,L,D]; see `Synthesis`."""
        return self.synthesis(w_plus, noise)

    def __call__(self, z: jax.Array) -> jax.Array:
        """Maps and draws z f32[N,D]; used to initialise both networks."""
        layers = 2 * (self.resolution.bit_length() - 1) - 2
        return self.synthesize(jnp.repeat(self.map(z)[:, None], layers, axis=1))[-1]
