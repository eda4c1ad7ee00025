"""G, D and F of a config as pure functions of their parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

import tfds_megn
from sdgan_jax import augmentation, latents, pictures, pretrained
from sdgan_jax.config import Config
from sdgan_jax.face3d import embedding
from sdgan_jax.latents import Latents
from sdgan_jax.nets.discriminator import Discriminator
from sdgan_jax.nets.encoder import Encoder
from sdgan_jax.nets.fusion import Face3D, Fusion, feature_side
from sdgan_jax.nets.generator import Generator, Noise
from sdgan_jax.pretrained import IdentityNetwork, MeshNetwork, PerceptualNetwork, PositionNetwork
from sdgan_jax.pretrained.archive import Tree


@dataclasses.dataclass(frozen=True, eq=False)  # equal only to itself, so that jit can take it as a static argument
class Networks:
    """G, D and F of a config, as pure functions of their parameters.

    The variables of G are `{"params": …, "buffers": …}`; the buffers hold the constant noise and are needed for noise
    "const" only.
    """

    config: Config
    generator: Generator
    discriminator: Discriminator
    fusion: Fusion
    encoder: Encoder | None = None  # only in the recipe `staged`
    position: PositionNetwork | MeshNetwork | None = None  # frozen; gives F the 3D shape of its face
    identity: IdentityNetwork | None = None  # frozen; embeds faces for the identity loss
    perceptual: PerceptualNetwork | None = None  # frozen; its features are seen by D's feature heads
    templates: np.ndarray | None = None  # f32[A-1,R,R,3], an image of each attribute, where F takes images of them

    def map(self, variables_g: Tree, z: jax.Array, label: jax.Array | None = None) -> jax.Array:
        """Maps z f32[N,D], and label f32[N,C] of a conditional network, to w f32[N,D]."""
        return _array(self.generator.apply(variables_g, z, label, method="map"))

    def synthesize_scales(self, variables_g: Tree, w_plus: jax.Array, noise: Noise) -> list[jax.Array]:
        """Draws images f32[N,r,r,3] at all resolutions r = 4, 8, …, R from w+ f32[N,L,D]."""
        return cast(list[jax.Array], self.generator.apply(variables_g, w_plus, noise, method="synthesize"))

    def synthesize(self, variables_g: Tree, w_plus: jax.Array, noise: Noise) -> jax.Array:
        """Draws images f32[N,R,R,3] from w+ f32[N,L,D]."""
        return self.synthesize_scales(variables_g, w_plus, noise)[-1]

    def discriminate(
        self,
        params_d: Tree,
        images: jax.Array | Sequence[jax.Array],
        label: jax.Array | None = None,
        features: Sequence[jax.Array] | None = None,
    ) -> tuple[jax.Array, jax.Array | None]:
        """Applies D.

        Args:
            params_d: parameters of D.
            images: f32[N,R,R,3] in [-1,1], or its scales, the largest last.
            label: f32[N,C] of a conditional network; for feature heads the attributes f32[N,A], None where unknown.
            features: `features` of the images where they are known already, or shall be a constant of derivatives.

        Returns:
            Logits f32[N], or f32[N,1+K] of a D with K feature heads, and attribute logits f32[N,A], None for a D
            without attribute head.
        """
        seen = self.features(images) if features is None else features
        logits = self.discriminator.apply({"params": params_d}, images, label, seen)
        return cast(tuple[jax.Array, jax.Array | None], logits)

    def features(self, images: jax.Array | Sequence[jax.Array]) -> list[jax.Array]:
        """Computes what D's feature heads see.

        Args:
            images: as in `discriminate`.

        Returns:
            f32[N,H,H,C] of each size H of the frozen networks' layers. Those of one size are joined, each scaled to
            vectors of root mean square 1. Empty for a D without such heads.
        """
        if self.perceptual is None:
            return []
        by_size: dict[int, list[jax.Array]] = {}
        for layer in self.perceptual(images if isinstance(images, jax.Array) else images[-1]):
            scale = jax.lax.rsqrt(jnp.square(layer).mean(-1, keepdims=True) + 1e-8)
            by_size.setdefault(layer.shape[1], []).append(scale * layer)
        return [jnp.concatenate(layers, -1) for layers in by_size.values()]

    def augment_for_d(self, scales: Sequence[jax.Array], keys: jax.Array, p: jax.Array) -> list[jax.Array]:
        """Augments images as D sees them in training; returns them unchanged for a config without augmentation.

        Args:
            scales: images f32[N,R,R,3], last, and before them their smaller versions where there are any.
            keys: PRNG keys [N] of the augmentation.
            p: f32 in [0,1], probability of each augmentation.

        Returns:
            The images for `discriminate`.
        """
        if self.config.augment.pipeline == "none":
            return list(scales)
        return [augmentation.augment(keys, scales[-1], p)]

    def offset(
        self,
        params_f: Tree,
        images: jax.Array,
        attributes: jax.Array,
        max_attributes: int | None = None,
        position_maps: jax.Array | None = None,
    ) -> jax.Array:
        """Computes the offsets O = F(X, Y): zero for `none`, and for a model without F.

        Args:
            params_f: parameters of F, or {} for a model without F.
            images: f32[N,R,R,3] in [-1,1].
            attributes: f32[N,A] weights, negative for attributes to take off.
            max_attributes: largest number of attributes in a row; None for the largest number in the training data of
                the config: 1 where its attribute loss is a softmax, else all.
            position_maps: f32[N,S,S,3], the position network's output for the images, where it is known already; the
                network is then not run.

        Returns:
            f32[N,1,D] in z, f32[N,L,D] in w+.
        """
        if not params_f:
            return jnp.zeros((images.shape[0], self.fusion.num_layers, self.fusion.latent_dim))
        if max_attributes is None:
            max_attributes = 1 if self.config.losses.attribute_kind == "softmax" else self.config.num_attributes - 1
        if self.templates is not None and max_attributes > 1:  # F sees one template per row
            if self.position is not None and position_maps is None:
                position_maps = self.position(images)
            alone = latents.single_attributes(attributes, max_attributes)
            return jnp.stack([self.offset(params_f, images, one, 1, position_maps) for one in alone]).sum(0)
        face3d, template = self.fusion_inputs(images, attributes, position_maps)
        return _array(self.fusion.apply({"params": params_f}, images, attributes, face3d, template, max_attributes))

    def init_f(self, key: jax.Array) -> Tree:
        """Returns fresh parameters of F."""
        images = jnp.zeros((1, self.config.resolution, self.config.resolution, 3))
        attributes = jnp.zeros((1, self.config.num_attributes))
        maps = None  # their values do not matter; zeros spare the work of tracing the position network
        if self.position is not None:
            maps = jnp.zeros((1, self.position.map_size, self.position.map_size, 3))
        return self.fusion.init(key, images, attributes, *self.fusion_inputs(images, attributes, maps))["params"]

    def init_e(self, key: jax.Array) -> Tree:
        """Returns fresh parameters of E."""
        assert self.encoder is not None
        return self.encoder.init(key, jnp.zeros((1, self.config.resolution, self.config.resolution, 3)))["params"]

    def encode(self, params_e: Tree, images: jax.Array, w_avg: jax.Array, edit: jax.Array | None = None) -> jax.Array:
        """Computes the latents w+ f32[N,L,D] of faces f32[N,R,R,3] in [-1,1]: the average w plus E's output.

        `edit` f32[N,A] are the weights of the edit to come, by which E knows attributes (`latents.known_attributes`).
        """
        assert self.encoder is not None
        known = None if edit is None else latents.known_attributes(edit, self.encoder.exclusive)
        return self.encode_and_recognise(params_e, images, w_avg, known)[0]

    def encode_and_recognise(
        self, params_e: Tree, images: jax.Array, w_avg: jax.Array, attributes: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Computes what `encode` does, and the logits f32[N,A] of the attributes that E recognises.

        `attributes` f32[N,A] replaces them where it is not NaN, that is, where it is known what the faces wear.
        """
        assert self.encoder is not None
        found, logits = cast(Any, self.encoder.apply({"params": params_e}, images, attributes))
        return w_avg + found, logits

    def fusion_inputs(
        self, images: jax.Array, attributes: jax.Array, position_maps: jax.Array | None = None
    ) -> tuple[Face3D | None, jax.Array | None]:
        """Returns the 3D face and the template f32[N,R,R,3] that F takes beside image and attributes.

        Each is None where the config does without it. For the arguments see `offset`.
        """
        face3d, template = None, None
        if self.position is not None:
            maps = self.position(images) if position_maps is None else position_maps
            maps = jax.lax.stop_gradient(maps)
            face3d = embedding.embed(images, maps, self.position.uv_layout, feature_side(self.config.resolution))
        if self.templates is not None:
            template = jnp.asarray(self.templates)[jnp.abs(attributes[:, 1:]).argmax(-1)]
        return face3d, template

    def identity_features(self, images: jax.Array) -> jax.Array:
        """Returns what the identity loss compares: the images f32[N,R,R,3] themselves, or embeddings f32[N,E]."""
        return images if self.identity is None else self.identity(images)

    def mixed_w_plus(
        self,
        variables_g: Tree,
        drawn: Latents,
        attributes: jax.Array,
        basis: jax.Array,
        offset: jax.Array | None = None,
    ) -> jax.Array:
        """Returns w+ f32[N,L,D] of random latents: `to_w_plus`, with style mixing where there is a second latent."""
        w_plus = self.to_w_plus(variables_g, drawn.z, attributes, basis, offset=offset)
        if drawn.other is None or drawn.crossover is None:
            return w_plus
        other = self.to_w_plus(variables_g, drawn.other, attributes, basis, offset=offset)
        return latents.mix(w_plus, other, drawn.crossover)

    def edit(
        self, w_plus: jax.Array, attributes: jax.Array, basis: jax.Array, offset: jax.Array, strength: float
    ) -> jax.Array:
        """Moves w+ f32[N,L,D] by `latents.edit`, with the basis length of the config."""
        return latents.edit(w_plus, attributes, self.config.basis_length * basis, offset, strength)

    def to_w_plus(
        self,
        variables_g: Tree,
        z: jax.Array,
        attributes: jax.Array,
        basis: jax.Array,
        label: jax.Array | None = None,
        **edit: Any,
    ) -> jax.Array:
        """Maps z f32[N,D] to w+ f32[N,L,D] by `latents.to_w_plus`, in the latent space of the config.

        Args:
            variables_g: variables of G.
            z: f32[N,D], standard normal.
            attributes: f32[N,A] weights.
            basis: f32[A,D], see `State.basis`.
            label: f32[N,C] of a conditional network.
            **edit: offset, strength and truncation, see `latents.to_w_plus`.
        """
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
    """Builds the networks of a config, without parameters, and reads the trained networks that it names.

    Args:
        config: validated.

    Raises:
        FileNotFoundError: a trained network is missing.
        ValueError: a trained network is damaged or of another kind, or an attribute has no template.
    """
    offsets = 1 if config.latent_space == "z" else config.num_layers
    learns_f = config.num_attributes > 1
    embeds = learns_f and config.losses.identity_of == "embeddings"
    use_3d = learns_f and config.fusion.use_3d
    return Networks(
        config=config,
        generator=Generator(config.generator, config.resolution),
        discriminator=Discriminator(config.discriminator, config.num_attributes),
        fusion=Fusion(config.fusion, config.num_attributes, offsets, config.generator.latent_dim),
        encoder=_encoder(config) if config.recipe == "staged" else None,
        position=pretrained.position_network(config.fusion.position_network) if use_3d else None,
        identity=pretrained.identity_network(config.losses.identity_network) if embeds else None,
        perceptual=pretrained.perceptual_network() if config.discriminator.feature_heads else None,
        templates=_templates(config) if learns_f and config.fusion.semantic == "template" else None,
    )


def _encoder(config: Config) -> Encoder:
    exclusive = config.losses.attribute_kind == "softmax"
    return Encoder(config.encoder, config.num_layers, config.generator.latent_dim, config.num_attributes, exclusive)


def _templates(config: Config) -> np.ndarray:
    """Renders an image of each attribute, f32[A-1,R,R,3] in [-1,1]: rendered person 0, from the front.

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


def _array(output: Any) -> jax.Array:
    """Narrows the type of the output of `nn.Module.apply`, which depends on `mutable`."""
    return cast(jax.Array, output)
