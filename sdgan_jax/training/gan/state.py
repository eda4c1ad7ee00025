"""The whole state of a run, one tree of arrays, and the optimisers that update it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from sdgan_jax import latents
from sdgan_jax.config import AdamConfig, Config, hyperparameters
from sdgan_jax.nets import initialisers
from sdgan_jax.networks import Networks
from sdgan_jax.pretrained.archive import Tree
from sdgan_jax.training import shards


class State(flax.struct.PyTreeNode):
    """All arrays that a step reads and writes, and that a checkpoint contains."""

    step: jax.Array  # i32, steps done
    hyperparameters: dict[str, jax.Array]  # f32, by dotted name: `config.hyperparameters`
    params_g: Tree
    params_d: Tree
    params_f: Tree
    params_e: Tree  # {} in the recipe `joint`
    ema_g: Tree  # moving average of params_g; samples are drawn with it
    buffers_g: Tree  # G's constant noise
    opt_g: Tree
    opt_d: Tree
    opt_f: Tree
    opt_e: Tree
    w_avg: jax.Array  # f32[D]
    basis: jax.Array  # f32[A,D], moves in units of `config.basis_length`: rows of unit mean length, `none` zero
    path_mean: jax.Array  # f32, moving average of G's path length
    augment_p: jax.Array  # f32 in [0,1], probability of each augmentation
    augment_signs: jax.Array  # f32, sum of the measure of overfitting since p was last due to change

    @property
    def variables_ema(self) -> Tree:
        """The averaged generator with its noise buffers."""
        return {"params": self.ema_g, "buffers": self.buffers_g}


def gather_params(state: State) -> State:
    """Returns a state whose networks are whole, as losses need them, inside the map over devices; see `shards`."""
    names = ("params_g", "params_d", "params_f", "params_e", "ema_g", "buffers_g")
    return state.replace(**{name: shards.gather(getattr(state, name)) for name in names})


def without_optimizers(state: State) -> State:
    """Returns a state without the arrays of the optimisers, which nothing but a step needs."""
    return state.replace(opt_g={}, opt_d={}, opt_f={}, opt_e={})


@dataclasses.dataclass(frozen=True)
class Optimizers:
    """Adam for each of G, D, F, E."""

    g: optax.GradientTransformation
    d: optax.GradientTransformation
    f: optax.GradientTransformation
    e: optax.GradientTransformation


def with_hyperparameters(nets: Networks, state: State) -> Networks:
    """Returns networks whose config has the hyperparameters of the state, as the losses read them."""
    config = hyperparameters.replace(nets.config, state.hyperparameters)
    return dataclasses.replace(nets, config=config)


def make_optimizers(config: Config, values: Mapping[str, Any] | None = None) -> Optimizers:
    """Returns Adam for G, D, F and E, corrected for the additional updates of lazy regularisation.

    A regulariser every k steps makes k + 1 updates in k steps. With c = k / (k + 1), the learning rate is multiplied by
    c and the betas are raised to the power c, so that k + 1 updates move as far as k (Karras et al. 2020, appendix B).
    E, and F in the recipe `staged`, have no adversary to keep up with and learn at a rate that falls to 0 along a
    cosine.

    Args:
        config: the config of the networks.
        values: the hyperparameters of a state, which stand for those of the config.
    """
    every = config.intervals
    config = hyperparameters.replace(config, values or {})
    return Optimizers(
        _adam(config.adam_g, every["path_length"]),
        _adam(config.adam_d, every["r1"]),
        _adam(config.adam_f, decay_steps=config.total_steps if config.recipe == "staged" else 0),
        _adam(config.adam_e, decay_steps=config.total_steps),
    )


def _adam(config: AdamConfig, regularised_every: int = 0, decay_steps: int = 0) -> optax.GradientTransformation:
    correction = regularised_every / (regularised_every + 1) if regularised_every else 1.0
    rate = config.learning_rate * correction
    return optax.adam(
        optax.cosine_decay_schedule(rate, decay_steps) if decay_steps else rate,
        b1=config.beta1**correction,
        b2=config.beta2**correction,
        eps=config.epsilon,
    )


def apply_gradient(
    optimizer: optax.GradientTransformation, gradient: Tree, opt: Tree, params: Tree
) -> tuple[Tree, Tree]:
    """Makes one update; returns the parameters and the state of the optimiser."""
    change, opt = optimizer.update(gradient, opt)
    return optax.apply_updates(params, change), opt


def init_state(nets: Networks) -> State:
    """Returns the state at step 0, all arrays f32 except `step`; pure, so it can be compiled."""
    config, optimizers = nets.config, make_optimizers(nets.config)
    dim, images = config.generator.latent_dim, jnp.zeros((1, config.resolution, config.resolution, 3))
    label = jnp.zeros((1, config.discriminator.label_dim or config.num_attributes))
    key, key_basis = jax.random.split(jax.random.key(config.seed))
    with initialisers.drawn_together(key):
        variables_g = nets.generator.init(key, jnp.zeros((1, dim)))
        params_d = nets.discriminator.init(key, images, label, nets.features(images))["params"]
        params_f = nets.init_f(key) if config.num_attributes > 1 else {}
        params_e = nets.init_e(key) if nets.encoder is not None else {}
    params_g = variables_g["params"]
    return State(
        step=jnp.zeros((), jnp.int32),
        hyperparameters={name: jnp.float32(value) for name, value in hyperparameters.read(config).items()},
        params_g=params_g,
        params_d=params_d,
        params_f=params_f,
        params_e=params_e,
        ema_g=jax.tree.map(jnp.copy, params_g),
        buffers_g=variables_g["buffers"],
        opt_g=optimizers.g.init(params_g),
        opt_d=optimizers.d.init(params_d),
        opt_f=optimizers.f.init(params_f),
        opt_e=optimizers.e.init(params_e) if params_e else {},
        w_avg=jnp.zeros(dim),
        basis=latents.random_basis(key_basis, config.num_attributes, dim),
        path_mean=jnp.zeros(()),
        augment_p=jnp.zeros(()),
        augment_signs=jnp.zeros(()),
    )
