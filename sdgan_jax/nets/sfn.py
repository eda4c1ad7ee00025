"""The Semantic_Fusion_Network of SD-GAN's official release, for its weights.

A face and a template image become feature maps, nine maps of the canonical 3D face become codes, the template's
features are normalised and modulated by the others (SPADE, Park et al. 2019; ACE of SEAN, Zhu et al. 2020), and locally
connected layers regress the offset. Facts: the keys, shapes and taps of `tests/golden/sdgan_sfn.npz`. What is trained
in this project is `fusion`, which follows the paper; this network has quirks of its own (see `Codes`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from sdgan_jax.nets import resample
from sdgan_jax.nets.layers import EqualConv, EqualDense, scaled_normal
from sdgan_jax.nets.se_resnet import ResNet, SEResNet

REGIONS = 3  # codes of a face: its three colour channels stand in for regions
EPSILON = 1e-5  # of the normalisations


@dataclasses.dataclass(frozen=True)
class Settings:
    """Sizes of the network; the defaults are the release's.

    Attributes:
        widths: channels of the stages of both trunks.
        style_widths: channels of the style encoder before its last layer, which gives codes of `widths[-1]`.
        resolution: of face and template.
        num_layers: vectors of the offset; each has `widths[-1]` numbers.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    style_widths: tuple[int, ...] = (32, 64, 128, 256)
    resolution: int = 256
    num_layers: int = 14


class OfficialFusion(nn.Module):
    """Face, template and 3D maps to the offset."""

    settings: Settings = Settings()

    @nn.compact
    def __call__(self, face: jax.Array, template: jax.Array, maps: jax.Array) -> jax.Array:
        """Regresses the offset.

        Args:
            face: f32[N,R,R,3] in [-1,1], R = settings.resolution.
            template: f32[N,R,R,3] in [-1,1], an image of the attribute.
            maps: f32[N,S,S,9], maps of the canonical 3D face; S a multiple of 4.

        Returns:
            f32[N,L,D].
        """
        features = SEResNet(self.settings.widths, name="face")(face)  # [N,R/16,R/16,D]
        semantic = ResNet(self.settings.widths, name="template")(template)
        code_map = StyleEncoder(self.settings.style_widths, self.settings.widths[-1], name="style")(maps)
        codes = Codes(name="codes")(code_map, face)  # [N,3,D]
        x = Fuse(name="fuse")(semantic, features, codes)
        return Regressor(self.settings.num_layers, name="regressor")(x)


class StyleEncoder(nn.Module):
    """SEAN's style encoder: maps f32[N,S,S,C] to a map of codes f32[N,S/2,S/2,features] in (-1,1).

    Four layers, the second and third of stride 2, the fourth transposed; instance normalisation and leaky ReLU; then
    one more layer and tanh.
    """

    widths: Sequence[int]
    features: int

    @nn.compact
    def __call__(self, maps: jax.Array) -> jax.Array:
        first, second, third, fourth = self.widths
        x = _activate(ReflectConv(first, name="input")(maps))
        x = _activate(Resampling(second, name="down_0")(x))
        x = _activate(Resampling(third, name="down_1")(x))
        x = _activate(Resampling(fourth, up=True, name="up")(x))
        return jnp.tanh(ReflectConv(self.features, name="output")(x))


class ReflectConv(nn.Module):
    """3×3 convolution with a bias, the image mirrored at its edges: [N,H,W,C] to [N,H,W,features]."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
        return EqualConv(self.features, activate=False, name="conv")(x)[:, 1:-1, 1:-1]


class Resampling(nn.Module):
    """3×3 convolution of stride 2 with a bias, or `up`, its adjoint: half or twice the side."""

    features: int
    up: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        shape = (3, 3, self.features, channels) if self.up else (3, 3, channels, self.features)
        kernel = self.param("kernel", scaled_normal(1.0), shape) / math.sqrt(9 * channels)
        resize = resample.convolve_strided_adjoint if self.up else resample.convolve_strided
        return resize(x, kernel) + self.param("bias", nn.initializers.zeros, (self.features,))


class Codes(nn.Module):
    """Codes of the regions: the mean of the code map over each region.

    The release passes the face image where the mask of the regions belongs: region j is where colour channel j is not
    zero, which is nearly everywhere. A region without a pixel has the code 0.
    """

    @nn.compact
    def __call__(self, code_map: jax.Array, face: jax.Array) -> jax.Array:
        """The codes f32[N,3,D] of `code_map` f32[N,s,s,D] and `face` f32[N,R,R,3]."""
        inside = (_nearest(face, code_map.shape[1]) != 0).astype(code_map.dtype)  # [N,s,s,3]
        total = jnp.einsum("nhwd,nhwk->nkd", code_map, inside)
        return total / jnp.maximum(inside.sum((1, 2)), 1.0)[..., None]


class Fuse(nn.Module):
    """ACE: template features, normalised, under gamma and beta blended from the codes and from the face features.

    Where channel j of the face features is not zero, code j is put onto the plane, the last of several; so it is the
    third code that acts.
    """

    @nn.compact
    def __call__(self, semantic: jax.Array, face: jax.Array, codes: jax.Array) -> jax.Array:
        """Modulates `semantic` f32[N,h,w,D] by `face` f32[N,h,w,D] and `codes` f32[N,3,D]."""
        width = semantic.shape[-1]
        plane = jnp.zeros_like(semantic)
        for region in range(REGIONS):
            code = nn.relu(EqualDense(width, name=f"code_{region}")(codes[:, region]))
            plane = jnp.where(face[..., region, None] != 0, code[:, None, None], plane)
        shared = nn.relu(EqualConv(width, 5, activate=False, name="spade_shared")(face))
        gamma = Blend(width, name="gamma")(plane, shared)
        beta = Blend(width, name="beta")(plane, shared)
        return normalise_instance(semantic) * (1 + gamma) + beta


class Blend(nn.Module):
    """Gamma or beta: s · conv(codes) + (1 - s) · conv(face), s = sigmoid of a learned number."""

    features: int
    size: int = 5

    @nn.compact
    def __call__(self, codes: jax.Array, face: jax.Array) -> jax.Array:
        share = nn.sigmoid(self.param("blend", nn.initializers.zeros, ()))
        of_codes = EqualConv(self.features, self.size, activate=False, name="codes")(codes)
        of_face = EqualConv(self.features, self.size, activate=False, name="face")(face)
        return share * of_codes + (1 - share) * of_face


class Regressor(nn.Module):
    """Feature map f32[N,h,w,C] to f32[N,num_layers,C] by locally connected layers and an instance normalisation."""

    num_layers: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        n, h, w, channels = x.shape
        x = nn.relu(LocallyConnected(channels, name="local")(x.reshape(n, h * w, channels)))  # [N,P,D]
        x = nn.relu(LocallyConnected(self.num_layers, name="layers")(x.swapaxes(1, 2)))  # [N,D,L]
        x = normalise_vectors(x.swapaxes(1, 2))  # [N,L,D]
        scale = self.param("scale", nn.initializers.ones, (self.num_layers, 1))
        return x * scale + self.param("bias", nn.initializers.zeros, (self.num_layers, 1))


class LocallyConnected(nn.Module):
    """A dense layer without bias of its own at each position: f32[N,P,C] to f32[N,P,features]."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", scaled_normal(1.0), (*x.shape[1:], self.features))
        return jnp.einsum("npc,pcd->npd", x, kernel) / math.sqrt(x.shape[-1])


def normalise_instance(x: jax.Array) -> jax.Array:
    """`x` f32[N,H,W,C] with mean 0 and variance 1 over H and W."""
    x = x - x.mean((1, 2), keepdims=True)
    return x * jax.lax.rsqrt(jnp.square(x).mean((1, 2), keepdims=True) + EPSILON)


def normalise_vectors(x: jax.Array) -> jax.Array:
    """`x` f32[N,L,D] with mean 0 and variance 1 over D."""
    x = x - x.mean(-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + EPSILON)


def _activate(x: jax.Array) -> jax.Array:
    """Instance normalisation and leaky ReLU of slope 0.2."""
    return nn.leaky_relu(normalise_instance(x), 0.2)


def _nearest(x: jax.Array, size: int) -> jax.Array:
    """`x` f32[N,S,S,C] at `size` × `size` by dropping pixels: output i shows input floor(i · S / size)."""
    places = jnp.arange(size) * x.shape[1] // size
    return x[:, places][:, :, places]
