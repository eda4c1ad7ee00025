"""Lazy regularisation: R1 on D and path length on G, each a separate update every few steps, after the main one.

The gradient is multiplied by the interval and shares the Adam state of the main updates (Karras et al. 2020);
`state.make_optimizers` corrects Adam for the additional updates.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from sdgan_jax import losses
from sdgan_jax.networks import Networks
from sdgan_jax.pretrained.archive import Tree
from sdgan_jax.training import accumulation, shards
from sdgan_jax.training.gan.inputs import Inputs, PathDraws, draw_path
from sdgan_jax.training.gan.state import Optimizers, State, apply_gradient


def regularise_d(
    nets: Networks, optimizers: Optimizers, state: State, due: jax.Array | bool, inputs: Inputs
) -> tuple[State, jax.Array]:
    """Makes the R1 update of D on the steps where it is due.

    Args:
        nets: the networks being trained.
        optimizers: their optimisers.
        state: the state after the main update.
        due: bool scalar; False leaves the state as it is.
        inputs: the batch of this device and its random numbers.

    Returns:
        The state, and |dD/dx|² as f32, 0 where the update is not due.
    """
    config = nets.config

    def descend(params: Tree, opt: Tree) -> tuple[tuple[Tree, Tree], jax.Array]:
        compute = jax.grad(lambda params, part: loss_r1(nets, params, state.augment_p, *part), has_aux=True)
        whole = shards.gather(params)
        computed = accumulation.mean_over_parts(
            lambda part: compute(whole, part),
            (inputs.real, inputs.draws.augment_real, inputs.attributes),
            config.accumulate,
            config.discriminator.mbstd_group,
        )
        gradient, penalty = shards.mean(computed, params)
        return apply_gradient(optimizers.d, gradient, opt, params), penalty

    with jax.named_scope("r1"):
        (params, opt), penalty = jax.lax.cond(due, descend, _keep, state.params_d, state.opt_d)
    return state.replace(params_d=params, opt_d=opt), penalty


def loss_r1(
    nets: Networks, params_d: Tree, augment_p: jax.Array, real: jax.Array, augment: jax.Array, attributes: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns gamma / 2 · |dD/dx|² · interval, and |dD/dx|².

    The derivative is by the image before augmentation, and by the features of the augmented image that D sees.
    """

    def augmented(images: jax.Array) -> list[jax.Array]:
        return nets.augment_for_d([images], augment, augment_p)

    def logits(images: jax.Array, features: list[jax.Array]) -> jax.Array:
        return nets.discriminate(params_d, augmented(images), attributes, features)[0]

    penalty = losses.r1(logits, real, nets.features(augmented(real)))
    weights = nets.config.losses
    return 0.5 * weights.r1 * weights.r1_every * penalty, penalty


def regularise_g(
    nets: Networks, optimizers: Optimizers, state: State, due: jax.Array | bool, attributes: jax.Array
) -> tuple[State, jax.Array]:
    """Makes the path length update of G on the steps where it is due, on half as many images as the main update.

    Args:
        nets: the networks being trained.
        optimizers: their optimisers.
        state: the state after the main update.
        due: bool scalar; False leaves the state as it is.
        attributes: f32[n,A] weights of this device, in the order of `inputs.group_rows`; half of them are used.

    Returns:
        The state, and the mean path length as f32, 0 where the update is not due.
    """
    config, decay = nets.config, nets.config.losses.path_length_decay
    rows, count = path_parts(attributes.shape[0], config.accumulate)
    attributes = halve(attributes, config.discriminator.mbstd_group)

    def descend(params: Tree, opt: Tree, mean: jax.Array) -> tuple[tuple[Tree, Tree, jax.Array], jax.Array]:
        drawn = draw_path(config, state.step, rows)
        compute = jax.grad(lambda params, part: loss_path(nets, params, state, *part), has_aux=True)
        whole = shards.gather(params)
        computed = accumulation.mean_over_parts(lambda part: compute(whole, part), (attributes, drawn), count, group=1)
        gradient, length = shards.mean(computed, params)
        params, opt = apply_gradient(optimizers.g, gradient, opt, params)
        return (params, opt, mean + decay * (length - mean)), length

    with jax.named_scope("path_length"):
        (params, opt, mean), length = jax.lax.cond(due, descend, _keep, state.params_g, state.opt_g, state.path_mean)
    return state.replace(params_g=params, opt_g=opt, path_mean=mean), length


def path_parts(rows: int, accumulate: int) -> tuple[int, int]:
    """Returns of how many of the rows of a device the path length is computed, and in how many equal parts."""
    half = max(1, rows // 2)
    return half, math.gcd(half, accumulate)


def halve(attributes: jax.Array, group: int) -> jax.Array:
    """Returns half of the rows f32[n,A], at least one, with each attribute about half as often.

    Neighbours in the order of attributes are the strided groups of `inputs.group_rows`, of which every second sample is
    taken: the same samples on any number of devices. Rows that form no groups are in the order of attributes.
    """
    count = attributes.shape[0]
    if group > 1 and count % group == 0:
        half = attributes.reshape(group, count // group, -1)[::2].reshape(-1, attributes.shape[1])
    else:
        half = attributes[::2]
    return half[: max(1, count // 2)]


def loss_path(
    nets: Networks, params_g: Tree, state: State, attributes: jax.Array, drawn: PathDraws
) -> tuple[jax.Array, jax.Array]:
    """Returns weight · (length - average)² · interval, and the mean length (Karras et al. 2020, equation 4).

    The average is the one before this batch, so the samples of a batch stay independent of each other.
    """
    weights, variables = nets.config.losses, {"params": params_g}
    w_plus = nets.mixed_w_plus(variables, drawn.latents, attributes, state.basis)
    lengths = losses.path_lengths(lambda w: nets.synthesize(variables, w, drawn.noise), w_plus, drawn.pixels)
    penalty = jnp.square(lengths - state.path_mean).mean()
    return weights.path_length * weights.path_length_every * penalty, lengths.mean()


def _keep(*trees: Tree) -> tuple[tuple[Tree, ...], jax.Array]:
    """Returns what a regulariser would update unchanged, and 0."""
    return trees, jnp.zeros(())
