"""G, D and F of a config as pure functions of their parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import tfds_megn
from sdgan_jax import augmentation, latents, pictures, pretrained
from sdgan_jax.config import Config
from sdgan_jax.face3d import embedding
from sdgan_jax.latents import Latents
from sdgan_jax.nets.discriminator import Discriminator
from sdgan_jax.nets.fusion import Face3D, Fusion, feature_side
from sdgan_jax.nets.generator import Generator, Noise
from sdgan_jax.pretrained import IdentityNetwork, PositionNetwork

Tree = Any  # a tree of arrays


@dataclasses.dataclass(frozen=True, eq=False)  # equal only to itself, so that jit can take it as a static argument
class Networks:
    """G, D and F of a config, as pure functions of their parameters.

    G's variables are `{"params": …, "buffers": …}`; the buffers hold the constant noise and are only needed to draw
    with noise "const".
    """

    config: Config
    generator: Generator
    discriminator: Discriminator
    fusion: Fusion
    position: PositionNetwork | None = None  # frozen; gives F the 3D shape of its face
    identity: IdentityNetwork | None = None  # frozen; of the identity loss, where that compares embeddings
    templates: np.ndarray | None = None  # f32[A-1,R,R,3], what stands for each attribute before F, where F takes images

    def map(self, variables_g: Tree, z: jax.Array, label: jax.Array | None = None) -> jax.Array:
        """z f32[N,D], and label f32[N,C] of a conditional network, to w f32[N,D]."""
        return self.generator.apply(variables_g, z, label, method="map")

    def draw(self, variables_g: Tree, w_plus: jax.Array, noise: Noise) -> list[jax.Array]:
        """w+ f32[N,L,D] to images at all resolutions, f32[N,r,r,3] for r = 4, 8, …, R."""
        return self.generator.apply(variables_g, w_plus, noise, method="synthesize")

    def synthesize(self, variables_g: Tree, w_plus: jax.Array, noise: Noise) -> jax.Array:
        """w+ f32[N,L,D] to images f32[N,R,R,3]."""
        return self.draw(variables_g, w_plus, noise)[-1]

    def discriminate(
        self, params_d: Tree, images: jax.Array | list[jax.Array], label: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array | None]:
        """Images f32[N,R,R,3], or all scales of them, to logits f32[N] and attribute logits f32[N,A] (or None)."""
        return self.discriminator.apply({"params": params_d}, images, label)

    def show(self, scales: Sequence[jax.Array], keys: jax.Array, p: jax.Array) -> list[jax.Array]:
        """What D gets to see of images in training: augmented, where the config has it.

        Args:
            scales: the images f32[N,R,R,3], last, and before them their smaller versions where they are at hand.
            keys: PRNG keys [N] of the augmentation.
            p: f32, its probability.

        Returns:
            What `discriminate` takes.
        """
        if self.config.augment.pipeline == "none":
            return list(scales)
        return [augmentation.augment(keys, scales[-1], p)]

    def offset(self, params_f: Tree, images: jax.Array, attributes: jax.Array, worn: int | None = None) -> jax.Array:
        """F's offsets: zero for `none`, and for a model without F.

        Args:
            params_f: of F, or {}.
            images: f32[N,R,R,3] in [-1,1].
            attributes: f32[N,A] weights.
            worn: attributes of a row at most; None for what the config's data can show: one where its attribute loss
                is for one a face ("softmax"), else all.

        Returns:
            f32[N,1,D] in z, f32[N,L,D] in w+.
        """
        if not params_f:  # there is nothing but `none`
            return jnp.zeros((images.shape[0], self.fusion.num_layers, self.fusion.latent_dim))
        if worn is None:
            worn = 1 if self.config.losses.attribute_kind == "softmax" else self.config.num_attributes - 1
        if self.templates is not None:
            worn = 1  # a row shows one of them
        return self.fusion.apply({"params": params_f}, images, attributes, *self._known(images, attributes), worn)

    def init_f(self, key: jax.Array) -> Tree:
        """Fresh parameters of F."""
        images = jnp.zeros((1, self.config.resolution, self.config.resolution, 3))
        attributes = jnp.zeros((1, self.config.num_attributes))
        return self.fusion.init(key, images, attributes, *self._known(images, attributes))["params"]

    def _known(self, images: jax.Array, attributes: jax.Array) -> tuple[Face3D | None, jax.Array | None]:
        """What F is told beside its image and the attributes, where the config says so."""
        face3d, template = None, None
        if self.position is not None:
            maps = jax.lax.stop_gradient(self.position(images))
            face3d = embedding.embed(images, maps, self.position.uv_layout, feature_side(self.config.resolution))
        if self.templates is not None:
            template = jnp.asarray(self.templates)[jnp.abs(attributes[:, 1:]).argmax(-1)]
        return face3d, template

    def compared(self, images: jax.Array) -> jax.Array:
        """What the identity loss compares of images f32[N,R,R,3]: themselves, or embeddings f32[N,E]."""
        return images if self.identity is None else self.identity(images)

    def mixed_w_plus(
        self, variables_g: Tree, drawn: Latents, attributes: jax.Array, basis: jax.Array, **edit
    ) -> jax.Array:
        """What training draws to w+ f32[N,L,D]: `to_w_plus`, with style mixing where a second latent is drawn."""
        w_plus = self.to_w_plus(variables_g, drawn.z, attributes, basis, **edit)
        if drawn.other is None:
            return w_plus
        return latents.mix(w_plus, self.to_w_plus(variables_g, drawn.other, attributes, basis, **edit), drawn.crossover)

    def edit(self, w_plus: jax.Array, attributes: jax.Array, basis: jax.Array, offset: jax.Array, strength: float):
        """`latents.edit` of w+ f32[N,L,D], with this config's basis length."""
        return latents.edit(w_plus, attributes, self.config.basis_length * basis, offset, strength)

    def to_w_plus(
        self,
        variables_g: Tree,
        z: jax.Array,
        attributes: jax.Array,
        basis: jax.Array,
        label: jax.Array | None = None,
        **edit,
    ) -> jax.Array:
        """z f32[N,D] to w+ f32[N,L,D]: `latents.to_w_plus` in this config's space."""
        return latents.to_w_plus(
            z,
            attributes,
            self.config.basis_length * basis,
            space=self.config.latent_space,
            mapping=lambda latent: self.map(variables_g, latent, label),
            num_layers=self.config.num_layers,
            **edit,
        )


def make_networks(config: Config) -> Networks:
    """The networks that a config describes; no parameters yet."""
    offsets = 1 if config.latent_space == "z" else config.num_layers
    learns_f = config.num_attributes > 1
    embeds = learns_f and config.losses.identity_of == "embeddings"
    use_3d = learns_f and config.fusion.use_3d
    return Networks(
        config=config,
        generator=Generator(config.generator, config.resolution),
        discriminator=Discriminator(config.discriminator, config.num_attributes),
        fusion=Fusion(config.fusion, config.num_attributes, offsets, config.generator.latent_dim),
        position=pretrained.position_network(config.fusion.position_network) if use_3d else None,
        identity=pretrained.identity_network(config.losses.identity_network) if embeds else None,
        templates=_templates(config) if learns_f and config.fusion.semantic == "template" else None,
    )


def _templates(config: Config) -> np.ndarray:
    """A face that wears each attribute, f32[A-1,R,R,3] in [-1,1]: person 0 of the rendered ones, from the front.

    Raises:
        ValueError: an attribute is not one of those that can be rendered.
    """
    unknown = [name for name in config.attributes if name not in tfds_megn.ATTRIBUTES]
    if unknown:
        raise ValueError(
            f"config.fusion.semantic is 'template', but there is no picture of {', '.join(unknown)}; set "
            "--config.fusion.semantic=label"
        )
    face = tfds_megn.sample_params(0)
    for name in ("yaw", "pitch", "roll"):
        face[tfds_megn.PARAM_NAMES.index(name)] = 0.0
    drawn = [tfds_megn.render(face, name, config.resolution) for name in config.attributes[1:]]
    return pictures.to_float(np.stack(drawn))
