"""Lazy regularisation: R1 on D and path length on G, every few steps, each an update of its own after the main one.

The gradient is multiplied by the interval that it stands for and shares the Adam state of the main updates (Karras et
al. 2020); `state.make_optimizers` makes up for the additional updates.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from sdgan_jax import losses
from sdgan_jax.networks import Networks, Tree
from sdgan_jax.training import accumulation
from sdgan_jax.training.gan.inputs import PathDraws, draw_path
from sdgan_jax.training.gan.state import Optimizers, State, apply_gradient
from sdgan_jax.training.sharding import AXIS

Changes = dict[str, Tree]  # fields of the state


def regularise_d(
    nets: Networks, optimizers: Optimizers, state: State, real: jax.Array, augment: jax.Array
) -> tuple[Changes, jax.Array]:
    """The R1 update of D.

    Args:
        nets: of the run.
        optimizers: of the run.
        state: after the main update.
        real: this device's real images f32[n,R,R,3].
        augment: PRNG keys [n] of their augmentation.

    Returns:
        The changed fields, and |dD/dx|².
    """
    compute = jax.grad(lambda params, part: loss_r1(nets, params, state.augment_p, *part), has_aux=True)
    config = nets.config
    gradient, penalty = jax.lax.pmean(
        accumulation.mean_over_parts(
            lambda part: compute(state.params_d, part),
            (real, augment),
            config.accumulate,
            config.discriminator.mbstd_group,
        ),
        AXIS,
    )
    params, opt = apply_gradient(optimizers.d, gradient, state.opt_d, state.params_d)
    return {"params_d": params, "opt_d": opt}, penalty


def loss_r1(
    nets: Networks, params_d: Tree, augment_p: jax.Array, real: jax.Array, augment: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """gamma / 2 · |dD/dx|², times the interval that it stands for; beside it |dD/dx|². x is not augmented, D(x) is."""
    penalty = losses.r1(lambda images: nets.discriminate(params_d, nets.show([images], augment, augment_p))[0], real)
    weights = nets.config.losses
    return 0.5 * weights.r1 * weights.r1_every * penalty, penalty


def regularise_g(
    nets: Networks, optimizers: Optimizers, state: State, attributes: jax.Array
) -> tuple[Changes, jax.Array]:
    """The path length update of G, on half as many images as the main one.

    Args:
        nets: of the run.
        optimizers: of the run.
        state: after the main update.
        attributes: f32[n,A], this device's; the first half is worn.

    Returns:
        The changed fields, and the mean path length.
    """
    config, decay = nets.config, nets.config.losses.path_length_decay
    rows = max(1, attributes.shape[0] // 2)
    drawn = draw_path(config, state.step, rows)
    compute = jax.grad(lambda params, part: loss_path(nets, params, state, *part), has_aux=True)
    count = math.gcd(rows, config.accumulate)
    computed = accumulation.mean_over_parts(
        lambda part: compute(state.params_g, part), (attributes[:rows], drawn), count, group=1
    )
    gradient, length = jax.lax.pmean(computed, AXIS)
    params, opt = apply_gradient(optimizers.g, gradient, state.opt_g, state.params_g)
    return {
        "params_g": params,
        "opt_g": opt,
        "path_mean": state.path_mean + decay * (length - state.path_mean),
    }, length


def loss_path(
    nets: Networks, params_g: Tree, state: State, attributes: jax.Array, drawn: PathDraws
) -> tuple[jax.Array, jax.Array]:
    """weight · (length - average)², times the interval; beside it the mean length.

    The average is the one before this batch, so that the samples of a batch stay independent of each other.
    """
    weights, variables = nets.config.losses, {"params": params_g}
    w_plus = nets.mixed_w_plus(variables, drawn.latents, attributes, state.basis)
    lengths = losses.path_lengths(lambda w: nets.synthesize(variables, w, drawn.noise), w_plus, drawn.pixels)
    penalty = jnp.square(lengths - state.path_mean).mean()
    return weights.path_length * weights.path_length_every * penalty, lengths.mean()
