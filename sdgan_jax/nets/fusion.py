"""Fusion network F (arXiv 2207.05300): from a face, its 3D shape and an attribute to an offset that fits the face.

Features of the attribute are normalised and then modulated by features of the face and by codes of the regions of its
3D maps. Locally connected layers regress the offset. This network is trained here, at any resolution; `sfn` is the
network of the official release. F uses no batch statistics, because a device holds few faces and the statistics would
differ between devices. The trunks therefore use group normalisation, and F depends on its parameters and inputs alone.
"""

from __future__ import annotations

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from sdgan_jax.config import FusionConfig
from sdgan_jax.nets import resample
from sdgan_jax.nets.fusion_layers import Modulation, Regressor, StyleEncoder, normalise_instance
from sdgan_jax.nets.initialisers import scaled_normal
from sdgan_jax.nets.layers import EqualConv
from sdgan_jax.nets.module import Module
from sdgan_jax.nets.se_resnet import ResNet, SEResNet

LEAST_SIDE, MOST_SIDE = 8, 16  # bounds of the feature map's side; the regressor's size grows with its square


@flax.struct.dataclass
class Face3D:
    """3D shape of faces and their K regions (eyes, nose, mouth, chin, cheeks, forehead).

    Attributes:
        maps: f32[N,S,S,9], S a multiple of 4; at each UV texel the position in the face's box, the unit normal and the
            colour, three numbers each.
        uv_regions: f32[S,S,K] in [0,1], the share of each texel in each region.
        image_regions: f32[N,h,w,K] in [0,1], the share of each cell of the feature map that each region covers;
            h = w = `feature_side(R)`.
    """

    maps: jax.Array
    uv_regions: jax.Array
    image_regions: jax.Array


def feature_side(resolution: int) -> int:
    """Returns the side of the feature map: a sixteenth of the resolution, clipped to 8…16."""
    return min(max(resolution // 16, LEAST_SIDE), MOST_SIDE)


class Fusion(Module):
    """Network from an image, attributes and, depending on the config, 3D maps or a template to offsets of the latent.

    Each attribute has its own offset, and the offsets of several attributes add up. `none` gives exactly zero. An
    attribute of a negative weight is taken off: by an offset of its own (config.removal), else by the negated one.
    Before the first update all offsets are zero, because the scale of the regressor starts at 0.
    """

    config: FusionConfig
    num_attributes: int
    num_layers: int  # number of vectors: L for an offset in w+, 1 for an offset in z
    latent_dim: int

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        attributes: jax.Array,
        face3d: Face3D | None = None,
        template: jax.Array | None = None,
        max_attributes: int = 1,
    ) -> jax.Array:
        """Regresses the offsets.

        Args:
            images: f32[N,R,R,3] in [-1,1], R a power of two, at least 8.
            attributes: f32[N,A] weights, negative to take off; column 0 (`none`) is ignored.
            face3d: 3D shape of the faces; required by config.use_3d.
            template: f32[N,R,R,3] in [-1,1], an image of each row's attribute; required by config.semantic "template".
            max_attributes: greatest number of attributes in a row; of more, those with the largest |weight| count. The
                face is encoded once; the rest of the work is proportional to this number.

        Returns:
            f32[N,num_layers,latent_dim].

        Raises:
            ValueError: an input that the config requires is missing or has another shape.
        """
        self._check(images, face3d, template, max_attributes)
        _, order = jax.lax.top_k(jnp.abs(attributes[:, 1:]), max_attributes)  # [N,M], 0 = the first after `none`
        weights = jnp.take_along_axis(attributes[:, 1:], order, 1)
        face = _trunk(SEResNet, "face", self.config, images)  # [N,h,w,C]
        codes = RegionCodes(self.config, face.shape[-1], name="style")(face3d) if face3d is not None else None
        semantic = self._semantic(order, weights < 0, face, template)  # [N,M,h,w,C]
        fuse = (Modulate if self.config.spade else Concatenate)(self.config, name="fuse")
        x = fuse(semantic, face, codes, face3d.image_regions if face3d is not None else None)  # [N·M,h,w,C]
        x = Regressor(self.num_layers, self.latent_dim, scale_init=0.0, name="regressor")(x)
        x = x.reshape(*order.shape, self.num_layers, self.latent_dim)
        return jnp.einsum("nk,nkld->nld", jnp.abs(weights) if self.config.removal else weights, x)

    def _semantic(
        self, order: jax.Array, taken_off: jax.Array, face: jax.Array, template: jax.Array | None
    ) -> jax.Array:
        """Returns features of attributes, shaped like those of the face.

        Args:
            order: i32[N,M], the attributes; 0 is the first after `none`.
            taken_off: bool[N,M], the attributes that are taken off.
            face: f32[N,h,w,C].
            template: see `__call__`.

        Returns:
            f32[N,M,h,w,C].
        """
        shape = (self.num_attributes - 1, *face.shape[1:])
        if template is not None:
            put_on = _trunk(ResNet, "template", self.config, template)[:, None]
        else:
            put_on = jnp.take(self.param("embedding", scaled_normal(1.0), shape), order, axis=0)
        if not self.config.removal:
            return put_on
        removal = jnp.take(self.param("removal", scaled_normal(1.0), shape), order, axis=0)
        if template is not None:
            removal = put_on + removal
        return jnp.where(taken_off[..., None, None, None], removal, put_on)

    def _check(self, images: jax.Array, face3d: Face3D | None, template: jax.Array | None, max_attributes: int) -> None:
        """Raises ValueError for inputs that do not fit the config."""
        side = feature_side(images.shape[1])
        if not 1 <= max_attributes < self.num_attributes:
            raise ValueError(f"max_attributes is {max_attributes}; it must be from 1 to {self.num_attributes - 1}")
        if self.config.use_3d != (face3d is not None):
            raise ValueError(f"fusion.use_3d is {self.config.use_3d}, so face3d must {_be_given(self.config.use_3d)}")
        if face3d is not None and face3d.image_regions.shape[1:3] != (side, side):
            raise ValueError(f"image_regions must be [N,{side},{side},K]; got {list(face3d.image_regions.shape)}")
        wants = self.config.semantic == "template"
        if wants != (template is not None):
            raise ValueError(f"fusion.semantic is {self.config.semantic!r}, so template must {_be_given(wants)}")
        if template is not None and (template.shape != images.shape or max_attributes > 1):
            raise ValueError(
                f"template must be {list(images.shape)}, with one attribute in each row; got {list(template.shape)} "
                f"with up to {max_attributes}"
            )


class RegionCodes(nn.Module):
    """Codes of the regions f32[N,K,features]: means of an encoding of the 3D maps over the texels of each region."""

    config: FusionConfig
    features: int

    @nn.compact
    def __call__(self, face3d: Face3D) -> jax.Array:
        widths = [_width(self.config, stage) for stage in (-1, 0, 1, 2)]
        code_map = StyleEncoder(widths, self.features, name="encoder")(face3d.maps)  # [N,S/2,S/2,D]
        return region_means(code_map, face3d.uv_regions)


class Modulate(Module):
    """ACE: normalised features of the attributes, scaled and shifted by gamma and beta from the face and the codes."""

    config: FusionConfig

    @nn.compact
    def __call__(
        self, semantic: jax.Array, face: jax.Array, codes: jax.Array | None, regions: jax.Array | None
    ) -> jax.Array:
        """Fuses the features of attributes and face.

        Args:
            semantic: f32[N,M,h,w,C], features of up to M attributes.
            face: f32[N,h,w,C], features of the face.
            codes: f32[N,K,C], codes of the regions, or None.
            regions: f32[N,h,w,K] in [0,1], share of each cell in each region, or None.

        Returns:
            f32[N·M,h,w,C].
        """
        plane = None
        if codes is not None:
            kernel = (
                self.param("codes", scaled_normal(1.0), (*codes.shape[1:], codes.shape[-1])) / codes.shape[-1] ** 0.5
            )
            bias = self.param("codes_bias", nn.initializers.zeros, codes.shape[1:])
            codes = nn.relu(jnp.einsum("nkc,kcd->nkd", codes, kernel) + bias)
            plane = jnp.einsum("nhwk,nkd->nhwd", regions, codes)
        gamma, beta = Modulation(face.shape[-1], self.config.kernel, name="modulation")(face, plane)  # [N,h,w,C]
        normal = normalise_instance(semantic.reshape(-1, *semantic.shape[2:])).reshape(semantic.shape)
        return (normal * (1 + gamma[:, None]) + beta[:, None]).reshape(-1, *semantic.shape[2:])


class Concatenate(nn.Module):
    """Fusion without SPADE: a convolution of all features side by side; the mean code is repeated at every cell."""

    config: FusionConfig

    @nn.compact
    def __call__(
        self, semantic: jax.Array, face: jax.Array, codes: jax.Array | None, regions: jax.Array | None
    ) -> jax.Array:
        """Fuses like `Modulate`, without the regions."""
        del regions
        parts = [semantic, jnp.broadcast_to(face[:, None], semantic.shape)]
        if codes is not None:
            parts.append(jnp.broadcast_to(codes.mean(1)[:, None, None, None], semantic.shape))
        x = jnp.concatenate(parts, -1).reshape(-1, *semantic.shape[2:4], len(parts) * semantic.shape[-1])
        return EqualConv(semantic.shape[-1], self.config.kernel, name="conv")(x)


def region_means(code_map: jax.Array, uv_regions: jax.Array) -> jax.Array:
    """Returns means f32[N,K,C] of `code_map` f32[N,s,s,C] over regions f32[2s,2s,K]; 0 for an empty region."""
    side, k = code_map.shape[1], uv_regions.shape[-1]
    shares = uv_regions.reshape(side, 2, side, 2, k).mean((1, 3))  # [s,s,K]
    total = jnp.einsum("nhwc,hwk->nkc", code_map, shares)
    return total / jnp.maximum(shares.sum((0, 1)), 1e-6)[:, None]


def _trunk(kind: type[SEResNet] | type[ResNet], name: str, config: FusionConfig, images: jax.Array) -> jax.Array:
    """Returns features f32[N,h,w,C] of images f32[N,R,R,3]; images above 256 px are first averaged down to 256 px."""
    while images.shape[1] > 16 * MOST_SIDE:
        images = resample.box_downsample(images)
    halvings = (images.shape[1] // feature_side(images.shape[1])).bit_length() - 1
    stages = max(halvings, 1)
    widths = [_width(config, stage) for stage in range(stages)]
    if kind is ResNet:
        return ResNet(widths, [2] * halvings or [1], config.blocks, norm="group", name=name)(images)
    strides = [1] + [2] * (stages - 1)
    return SEResNet(widths, strides, config.blocks, pool=halvings > 0, norm="group", name=name)(images)


def _width(config: FusionConfig, stage: int) -> int:
    """Returns the channels of a stage; the style encoder starts at stage -1."""
    return min(max(int(config.width * 2.0**stage), 1), config.width_max)


def _be_given(wanted: bool) -> str:
    return "be given" if wanted else "not be given"
