"""The networks of a run and its whole state: one tree of arrays."""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from sdgan_jax import latents
from sdgan_jax.config import AdamConfig, Config
from sdgan_jax.nets.discriminator import Discriminator
from sdgan_jax.nets.fusion import Fusion
from sdgan_jax.nets.generator import Generator, Noise

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

    def map(self, variables_g: Tree, z: jax.Array) -> jax.Array:
        """z f32[N,D] to w f32[N,D]."""
        return self.generator.apply(variables_g, z, method="map")

    def synthesize(self, variables_g: Tree, w_plus: jax.Array, noise: Noise) -> jax.Array:
        """w+ f32[N,L,D] to images f32[N,R,R,3]."""
        return self.generator.apply(variables_g, w_plus, noise, method="synthesize")[-1]

    def discriminate(self, params_d: Tree, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Images f32[N,R,R,3] to realness logits f32[N] and attribute logits f32[N,A]."""
        return self.discriminator.apply({"params": params_d}, images)

    def offset(self, params_f: Tree, images: jax.Array, attributes: jax.Array) -> jax.Array:
        """Images f32[N,R,R,3] and attributes f32[N,A] to offsets, f32[N,1,D] in z or f32[N,L,D] in w+."""
        return self.fusion.apply({"params": params_f}, images, attributes)

    def edit(self, w_plus: jax.Array, attributes: jax.Array, basis: jax.Array, offset: jax.Array, strength: float):
        """`latents.edit` of w+ f32[N,L,D], with this config's basis length."""
        return latents.edit(w_plus, attributes, self.config.basis_length * basis, offset, strength)

    def to_w_plus(self, variables_g: Tree, z: jax.Array, attributes: jax.Array, basis: jax.Array, **edit) -> jax.Array:
        """z f32[N,D] to w+ f32[N,L,D]: `latents.to_w_plus` in this config's space."""
        return latents.to_w_plus(
            z,
            attributes,
            self.config.basis_length * basis,
            space=self.config.latent_space,
            mapping=lambda latent: self.map(variables_g, latent),
            num_layers=self.config.num_layers,
            **edit,
        )


def make_networks(config: Config) -> Networks:
    """The networks that a config describes; no parameters yet."""
    offsets = 1 if config.latent_space == "z" else config.num_layers
    return Networks(
        config=config,
        generator=Generator(config.generator, config.resolution),
        discriminator=Discriminator(config.discriminator, config.num_attributes),
        fusion=Fusion(config.fusion, config.num_attributes, offsets, config.generator.latent_dim),
    )


@flax.struct.dataclass
class State:
    """All that a step reads and writes, and all that a checkpoint holds."""

    step: jax.Array  # i32, steps done
    params_g: Tree
    params_d: Tree
    params_f: Tree
    ema_g: Tree  # moving average of params_g; what samples are drawn with
    buffers_g: Tree  # G's constant noise
    opt_g: Tree
    opt_d: Tree
    opt_f: Tree
    w_avg: jax.Array  # f32[D]
    basis: jax.Array  # f32[A,D], unit rows, `none` zero

    @property
    def variables_ema(self) -> Tree:
        """The averaged generator with its noise buffers."""
        return {"params": self.ema_g, "buffers": self.buffers_g}


@dataclasses.dataclass(frozen=True)
class Optimizers:
    """Adam for each of G, D, F."""

    g: optax.GradientTransformation
    d: optax.GradientTransformation
    f: optax.GradientTransformation


def make_optimizers(config: Config) -> Optimizers:
    """Adam as the config says; D's corrected for lazy R1.

    With a regulariser every k steps, c = k / (k + 1): learning rate · c and betas ** c (Karras et al. 2020).
    """
    every = config.losses.r1_every
    correction = every / (every + 1) if config.losses.r1 else 1.0
    return Optimizers(_adam(config.adam_g), _adam(config.adam_d, correction), _adam(config.adam_f))


def _adam(config: AdamConfig, correction: float = 1.0) -> optax.GradientTransformation:
    return optax.adam(
        config.learning_rate * correction,
        b1=config.beta1**correction,
        b2=config.beta2**correction,
        eps=config.epsilon,
    )


def init_state(config: Config) -> State:
    """The state at step 0; a pure function of the config, jit-friendly.

    Returns:
        The state, all arrays float32 but for `step`.
    """
    nets, optimizers = make_networks(config), make_optimizers(config)
    # Hundreds of draws: with threefry keys they would take half a minute to compile on CPU.
    key_g, key_d, key_f, key_basis = jax.random.split(jax.random.key(config.seed, impl="unsafe_rbg"), 4)
    dim, images = config.generator.latent_dim, jnp.zeros((1, config.resolution, config.resolution, 3))
    variables_g = nets.generator.init(key_g, jnp.zeros((1, dim)))
    params_d = nets.discriminator.init(key_d, images)["params"]
    params_f = nets.fusion.init(key_f, images, jnp.zeros((1, config.num_attributes)))["params"]
    params_g = variables_g["params"]
    return State(
        step=jnp.zeros((), jnp.int32),
        params_g=params_g,
        params_d=params_d,
        params_f=params_f,
        ema_g=jax.tree.map(jnp.copy, params_g),
        buffers_g=variables_g["buffers"],
        opt_g=optimizers.g.init(params_g),
        opt_d=optimizers.d.init(params_d),
        opt_f=optimizers.f.init(params_f),
        w_avg=jnp.zeros(dim),
        basis=latents.random_basis(key_basis, config.num_attributes, dim),
    )
