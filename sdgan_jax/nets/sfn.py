"""Semantic_Fusion_Network of SD-GAN's official release, which runs the published weights.

Trunks turn a face and a template image into feature maps, and a style encoder turns nine maps of the canonical 3D face
into codes. The template's features are normalised and modulated by the face's features and the codes (SPADE, Park et
al. 2019; ACE of SEAN, Zhu et al. 2020). Locally connected layers regress the offset. The architecture is taken from the
keys, shapes and taps in `tests/golden/sdgan_sfn.npz`. This project trains the network in `fusion`, which follows the
paper; the release differs from the paper in some points (see `Codes`).
"""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from sdgan_jax.nets.fusion_layers import Modulation, Regressor, StyleEncoder, normalise_instance
from sdgan_jax.nets.layers import EqualDense
from sdgan_jax.nets.se_resnet import ResNet, SEResNet

REGIONS = 3  # number of codes; the three colour channels of the face take the place of regions


@dataclasses.dataclass(frozen=True)
class Settings:
    """Sizes of the network; the defaults are the release's.

    Attributes:
        widths: channels of the stages of both trunks.
        style_widths: channels of the style encoder before its last layer, which gives codes of `widths[-1]`.
        resolution: side of face and template in pixels.
        num_layers: number of vectors in the offset; each has `widths[-1]` entries.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    style_widths: tuple[int, ...] = (32, 64, 128, 256)
    resolution: int = 256
    num_layers: int = 14


class OfficialFusion(nn.Module):
    """Network from face, template and 3D maps to the offset."""

    settings: Settings = Settings()

    @nn.compact
    def __call__(self, face: jax.Array, template: jax.Array, maps: jax.Array) -> jax.Array:
        """Regresses the offset.

        Args:
            face: f32[N,R,R,3] in [-1,1], R = settings.resolution.
            template: f32[N,R,R,3] in [-1,1], an image of the attribute.
            maps: f32[N,S,S,9], maps of the canonical 3D face; S is a multiple of 4.

        Returns:
            f32[N,L,D].
        """
        features = SEResNet(self.settings.widths, name="face")(face)  # [N,R/16,R/16,D]
        semantic = ResNet(self.settings.widths, name="template")(template)
        code_map = StyleEncoder(self.settings.style_widths, self.settings.widths[-1], name="style")(maps)
        codes = Codes(name="codes")(code_map, face)  # [N,3,D]
        x = Fuse(name="fuse")(semantic, features, codes)
        return Regressor(self.settings.num_layers, self.settings.widths[-1], name="regressor")(x)


class Codes(nn.Module):
    """Codes of the regions: the mean of the code map over each region.

    The release passes the face image in place of the region masks. Region j therefore consists of the pixels whose
    colour channel j is not zero, which are nearly all pixels. A region without pixels has the code 0.
    """

    @nn.compact
    def __call__(self, code_map: jax.Array, face: jax.Array) -> jax.Array:
        """Returns the codes f32[N,3,D] of `code_map` f32[N,s,s,D] and `face` f32[N,R,R,3]."""
        inside = (_nearest(face, code_map.shape[1]) != 0).astype(code_map.dtype)  # [N,s,s,3]
        total = jnp.einsum("nhwd,nhwk->nkd", code_map, inside)
        return total / jnp.maximum(inside.sum((1, 2)), 1.0)[..., None]


class Fuse(nn.Module):
    """ACE: normalised template features, scaled and shifted by gamma and beta from the codes and the face features.

    Code j is written where channel j of the face features is not zero. Later codes overwrite earlier ones, so that the
    third code is used nearly everywhere.
    """

    @nn.compact
    def __call__(self, semantic: jax.Array, face: jax.Array, codes: jax.Array) -> jax.Array:
        """Modulates `semantic` f32[N,h,w,D] by `face` f32[N,h,w,D] and `codes` f32[N,3,D]."""
        width = semantic.shape[-1]
        plane = jnp.zeros_like(semantic)
        for region in range(REGIONS):
            code = nn.relu(EqualDense(width, name=f"code_{region}")(codes[:, region]))
            plane = jnp.where(face[..., region, None] != 0, code[:, None, None], plane)
        gamma, beta = Modulation(width, name="modulation")(face, plane)
        return normalise_instance(semantic) * (1 + gamma) + beta


def _nearest(x: jax.Array, size: int) -> jax.Array:
    """Resizes `x` f32[N,S,S,C] to `size` × `size` by dropping pixels: output i is input floor(i · S / size)."""
    places = jnp.arange(size) * x.shape[1] // size
    return x[:, places][:, :, places]
