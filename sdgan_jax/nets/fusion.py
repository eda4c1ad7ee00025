"""Fusion network F (arXiv 2207.05300): a face, its 3D shape and an attribute to the offset that fits the face.

Features of the attribute are normalised and then modulated by the features of the face and by codes of the regions of
its 3D maps; locally connected layers regress an offset from them. `sfn` is the form of the official release, for its
weights; this one trains, at any resolution. It keeps no statistics of a batch: with the few faces that a device has
they would differ from device to device, and F is to be a function of its parameters and its inputs alone. So the trunks
are normalised over groups of channels.
"""

from __future__ import annotations

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from sdgan_jax.config import FusionConfig
from sdgan_jax.nets import resample
from sdgan_jax.nets.fusion_layers import Modulation, Regressor, StyleEncoder, normalise_instance
from sdgan_jax.nets.layers import EqualConv, scaled_normal
from sdgan_jax.nets.se_resnet import ResNet, SEResNet

LEAST_SIDE, MOST_SIDE = 8, 16  # of the feature map; the regressor's weights grow with its square


@flax.struct.dataclass
class Face3D:
    """What is known of the 3D shape of faces, of their K regions (eyes, nose, mouth, chin, cheeks, forehead).

    Attributes:
        maps: f32[N,S,S,9], S a multiple of 4; at each UV texel the position in the face's box, the unit normal, and
            the colour, three numbers each.
        uv_regions: f32[S,S,K] in [0,1], the share of each texel in each region.
        image_regions: f32[N,h,w,K] in [0,1], the share of each cell of the feature map that each region covers;
            h = w = `feature_side(R)`.
    """

    maps: jax.Array
    uv_regions: jax.Array
    image_regions: jax.Array


def feature_side(resolution: int) -> int:
    """Side of the feature map: a sixteenth of the image's, but from 8 to 16."""
    return min(max(resolution // 16, LEAST_SIDE), MOST_SIDE)


class Fusion(nn.Module):
    """Offset of the latent from an image and attributes, and, where the config has them, 3D maps or a template.

    Each attribute has an offset of its own: those of several add up, `none` gives exactly zero, and so does everything
    before the first update, since the scale of the regressor starts at 0.
    """

    config: FusionConfig
    num_attributes: int
    num_layers: int  # vectors to regress: L for an offset in w+, 1 for an offset in z
    latent_dim: int

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        attributes: jax.Array,
        face3d: Face3D | None = None,
        template: jax.Array | None = None,
        worn: int = 1,
    ) -> jax.Array:
        """Regresses the offsets.

        Args:
            images: f32[N,R,R,3] in [-1,1], R a power of two from 8.
            attributes: f32[N,A] weights; column 0 (`none`) is not looked at.
            face3d: of the faces, where config.use_3d.
            template: f32[N,R,R,3] in [-1,1], an image of each row's attribute, where config.semantic is "template".
            worn: attributes of a row at most. Of more, those of the largest weights count. The face is encoded once,
                and the rest of the work goes by this number.

        Returns:
            f32[N,num_layers,latent_dim].

        Raises:
            ValueError: an input that the config asks for is missing, or of another shape.
        """
        self._check(images, face3d, template, worn)
        _, order = jax.lax.top_k(jnp.abs(attributes[:, 1:]), worn)  # [N,worn], 0 = the first after `none`
        weights = jnp.take_along_axis(attributes[:, 1:], order, 1)
        face = _trunk(SEResNet, "face", self.config, images)  # [N,h,w,C]
        codes = RegionCodes(self.config, face.shape[-1], name="style")(face3d) if self.config.use_3d else None
        semantic = self._semantic(order, face, template)  # [N,worn,h,w,C]
        fuse = (Modulate if self.config.spade else Concatenate)(self.config, name="fuse")
        x = fuse(semantic, face, codes, face3d.image_regions if face3d is not None else None)  # [N·worn,h,w,C]
        x = Regressor(self.num_layers, self.latent_dim, scale_init=0.0, name="regressor")(x)
        x = x.reshape(*order.shape, self.num_layers, self.latent_dim)
        return jnp.einsum("nk,nkld->nld", weights, x)

    def _semantic(self, order: jax.Array, face: jax.Array, template: jax.Array | None) -> jax.Array:
        """Features of the attributes i32[N,worn] in the shape of the face's, f32[N,worn,h,w,C]."""
        if template is not None:
            return _trunk(ResNet, "template", self.config, template)[:, None]
        embedding = self.param("embedding", scaled_normal(1.0), (self.num_attributes - 1, *face.shape[1:]))
        return jnp.take(embedding, order, axis=0)

    def _check(self, images: jax.Array, face3d: Face3D | None, template: jax.Array | None, worn: int) -> None:
        """Refuses inputs that are not those of the config."""
        side = feature_side(images.shape[1])
        if not 1 <= worn < self.num_attributes:
            raise ValueError(f"worn is {worn}; it must be from 1 to {self.num_attributes - 1}")
        if self.config.use_3d != (face3d is not None):
            raise ValueError(f"fusion.use_3d is {self.config.use_3d}, so face3d must {_be_given(self.config.use_3d)}")
        if face3d is not None and face3d.image_regions.shape[1:3] != (side, side):
            raise ValueError(f"image_regions must be [N,{side},{side},K]; got {list(face3d.image_regions.shape)}")
        wants = self.config.semantic == "template"
        if wants != (template is not None):
            raise ValueError(f"fusion.semantic is {self.config.semantic!r}, so template must {_be_given(wants)}")
        if template is not None and (template.shape != images.shape or worn > 1):
            raise ValueError(
                f"template must be {list(images.shape)}, of one attribute a row; got {list(template.shape)} for {worn}"
            )


class RegionCodes(nn.Module):
    """3D maps to a code of each region, f32[N,K,features]: the mean of a code map over its texels."""

    config: FusionConfig
    features: int

    @nn.compact
    def __call__(self, face3d: Face3D) -> jax.Array:
        widths = [_width(self.config, stage) for stage in (-1, 0, 1, 2)]
        code_map = StyleEncoder(widths, self.features, name="encoder")(face3d.maps)  # [N,S/2,S/2,D]
        return region_means(code_map, face3d.uv_regions)


class Modulate(nn.Module):
    """ACE: features of the attributes, normalised, under gamma and beta from the face and from the regions' codes."""

    config: FusionConfig

    @nn.compact
    def __call__(
        self, semantic: jax.Array, face: jax.Array, codes: jax.Array | None, regions: jax.Array | None
    ) -> jax.Array:
        """Fuses.

        Args:
            semantic: f32[N,worn,h,w,C].
            face: f32[N,h,w,C].
            codes: f32[N,K,C], or None.
            regions: f32[N,h,w,K], or None.

        Returns:
            f32[N·worn,h,w,C].
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
    """Without SPADE: a convolution of all features side by side, the mean of the codes at every place."""

    config: FusionConfig

    @nn.compact
    def __call__(
        self, semantic: jax.Array, face: jax.Array, codes: jax.Array | None, regions: jax.Array | None
    ) -> jax.Array:
        """As `Modulate`."""
        del regions
        parts = [semantic, jnp.broadcast_to(face[:, None], semantic.shape)]
        if codes is not None:
            parts.append(jnp.broadcast_to(codes.mean(1)[:, None, None, None], semantic.shape))
        x = jnp.concatenate(parts, -1).reshape(-1, *semantic.shape[2:4], len(parts) * semantic.shape[-1])
        return EqualConv(semantic.shape[-1], self.config.kernel, name="conv")(x)


def region_means(code_map: jax.Array, uv_regions: jax.Array) -> jax.Array:
    """Means f32[N,K,C] of `code_map` f32[N,s,s,C] over the regions f32[2s,2s,K]; 0 for a region without a texel."""
    side, k = code_map.shape[1], uv_regions.shape[-1]
    shares = uv_regions.reshape(side, 2, side, 2, k).mean((1, 3))  # [s,s,K]
    total = jnp.einsum("nhwc,hwk->nkc", code_map, shares)
    return total / jnp.maximum(shares.sum((0, 1)), 1e-6)[:, None]


def _trunk(kind: type[SEResNet] | type[ResNet], name: str, config: FusionConfig, images: jax.Array) -> jax.Array:
    """Features f32[N,h,w,C] of images f32[N,R,R,3]; those of more than 256 pixels are shrunk to that by averaging."""
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
    """Channels of a stage; the style encoder begins at one before the first."""
    return min(max(int(config.width * 2.0**stage), 1), config.width_max)


def _be_given(wanted: bool) -> str:
    return "be given" if wanted else "not be given"
