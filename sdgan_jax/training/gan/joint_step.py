"""The `joint` recipe: G, D and F learn at once from one batch, as in the SD-GAN pseudo-code.

    X_hat = G(z + B[Y]);   O = F(X, Y);   X_rec = G(z + O)
    G: adversarial + attribute + identity(X_hat, X);   D: adversarial + attribute;   F: L1(X_rec, X)

All losses are computed at the parameters that the step starts with, and the three updates are made together. Switches
of the config, documented there, lead from the pseudo-code to what trains well: regularisers, style mixing,
augmentation, `latent_space`, `basis_length`, and `source`. With source "latent", X_hat and X_rec are compared not with
the unrelated X but with X0 = G(latent), the same latent without an attribute, and X_rec = G(latent + B[Y] + O) is X0
with the attribute Y.

The step is written for one device of a mesh; `sharding.map_step` maps it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import flax.struct
import jax
import jax.numpy as jnp

from sdgan_jax import augmentation, losses
from sdgan_jax.config import Config
from sdgan_jax.latents import Latents
from sdgan_jax.networks import Networks
from sdgan_jax.pretrained.archive import Tree
from sdgan_jax.training import accumulation, shards
from sdgan_jax.training.gan import overfitting, regularisers
from sdgan_jax.training.gan.inputs import Batch, Inputs, make_inputs
from sdgan_jax.training.gan.state import (
    Optimizers,
    State,
    apply_gradient,
    gather_params,
    make_optimizers,
    with_hyperparameters,
)
from sdgan_jax.training.loop import Metrics

Step = Callable[[State, Batch], tuple[State, Metrics]]
Values = dict[str, jax.Array]  # name -> f32


@flax.struct.dataclass
class Gradients:
    """The gradients of the main update."""

    g: Tree
    d: Tree
    f: Tree | None  # zero on steps without an update of F, None where F is never trained


def make_step(nets: Networks) -> Step:
    """Returns the per-device step of these networks' config: `(state, batch) -> (state, metrics)`, pure."""
    return functools.partial(_step, nets)


def _step(nets: Networks, state: State, batch: Batch) -> tuple[State, Metrics]:
    config, optimizers = nets.config, make_optimizers(nets.config, state.hyperparameters)
    nets = with_hyperparameters(nets, state)
    inputs = make_inputs(config, state.step, batch)
    due = {name: state.step % every == 0 if every else None for name, every in config.intervals.items()}
    whole = gather_params(state)
    computed = accumulation.mean_over_parts(
        lambda part: compute_gradients(nets, whole, part, due["f"]),
        inputs,
        config.accumulate,
        config.discriminator.mbstd_group,
    )
    if "held_out" in batch:
        computed[1]["logits_held_out"] = overfitting.logits_held_out(nets, whole, batch["held_out"])
    params = Gradients(state.params_g, state.params_d, None if due["f"] is None else state.params_f)
    gradients, values, w = shards.mean(computed, params)
    state = update(optimizers, state, gradients, due["f"])
    values |= {"r1": jnp.zeros(()), "path_length": jnp.zeros(())}
    if (when := due["r1"]) is not None:
        state, values["r1"] = regularisers.regularise_d(nets, optimizers, state, when, inputs)
    if (when := due["path_length"]) is not None:
        state, values["path_length"] = regularisers.regularise_g(nets, optimizers, state, when, inputs.attributes)
    state = finish_step(nets.config, state, w, values)
    values["augment_p"] = state.augment_p
    del values["signs_real"]
    measured = {"l_rec_f": due["f"], "r1": due["r1"], "path_length": due["path_length"]}
    counts = {name: jnp.zeros(()) if when is None else jnp.float32(when) for name, when in measured.items()}
    return state, {name: jnp.stack((value, counts.get(name, jnp.ones(())))) for name, value in values.items()}


def compute_gradients(
    nets: Networks, state: State, inputs: Inputs, learn_f: jax.Array | None
) -> tuple[Gradients, Values, jax.Array]:
    """Computes the gradients of G, D and F at the parameters of `state`.

    Args:
        nets: the networks being trained.
        state: the state that the step starts with.
        inputs: a batch and its random numbers, or a part of both.
        learn_f: bool scalar, whether F is updated on this step; None where F is never trained.

    Returns:
        The gradients, the values to log, and the mean w f32[D].
    """
    (_, aux), grad_g = jax.value_and_grad(loss_g, argnums=2, has_aux=True)(nets, state, state.params_g, inputs)
    grad_d, metrics_d = jax.grad(loss_d, argnums=2, has_aux=True)(nets, state, state.params_d, inputs, aux["for_d"])
    values = aux["metrics"] | metrics_d
    grad_f, values["l_rec_f"] = None, jnp.zeros(())
    if learn_f is not None:
        zeros = (jax.tree.map(jnp.zeros_like, state.params_f), jnp.zeros(()))
        source = aux["x_0"] if nets.config.source == "latent" else inputs.real
        compute = jax.grad(loss_f, argnums=2, has_aux=True)
        with jax.named_scope("f"):
            grad_f, values["l_rec_f"] = jax.lax.cond(
                learn_f, lambda: compute(nets, state, state.params_f, inputs, source), lambda: zeros
            )
    return Gradients(grad_g, grad_d, grad_f), values, aux["w"].mean(0)


def loss_g(nets: Networks, state: State, params_g: Tree, inputs: Inputs) -> tuple[jax.Array, dict[str, Tree]]:
    """Returns G's loss, and X_hat as D sees it (`for_d`), X0 where the config needs it, w, and the metrics."""
    config, weights, variables = nets.config, nets.config.losses, {"params": params_g}
    drawn, attributes = inputs.draws, inputs.attributes
    w_plus = nets.mixed_w_plus(variables, drawn.latents, attributes, state.basis)
    x_hat = nets.synthesize_scales(variables, w_plus, drawn.noise_hat)
    for_d = nets.augment_for_d(x_hat, drawn.augment_fake, state.augment_p)
    logits, attribute_logits = nets.discriminate(state.params_d, for_d, attributes)
    w = w_plus[:, 0] if config.latent_space == "z" else nets.map(variables, drawn.latents.z)
    aux: dict[str, Tree] = {"for_d": for_d, "w": w}
    if config.source == "latent" and config.num_attributes > 1:
        plain = nets.mixed_w_plus(variables, drawn.latents, jnp.zeros_like(attributes), state.basis)
        aux["x_0"] = jax.lax.stop_gradient(nets.synthesize(variables, plain, drawn.noise_hat))
    l_adv = losses.adversarial_g(logits, weights.adversarial_kind)
    l_att = _attribute_loss(attribute_logits, attributes, weights.attribute_kind)
    l_id = jnp.zeros(())
    if config.num_attributes > 1:
        l_id = losses.identity(nets.identity_features(x_hat[-1]), nets.identity_features(aux.get("x_0", inputs.real)))
    aux["metrics"] = {"l_adv_g": l_adv, "l_att_g": l_att, "l_id_g": l_id}
    return weights.adversarial * l_adv + weights.attribute_g * l_att + weights.identity * l_id, aux


def loss_d(
    nets: Networks, state: State, params_d: Tree, inputs: Inputs, fake: Sequence[jax.Array]
) -> tuple[jax.Array, Values]:
    """Returns D's loss without R1, and its metrics. `fake` is `for_d` of `loss_g`, so both share a pass of D."""
    weights, attributes, drawn = nets.config.losses, inputs.attributes, inputs.draws
    real = nets.augment_for_d([inputs.real], drawn.augment_real, state.augment_p)
    logits_real, attributes_real = nets.discriminate(params_d, real, attributes)
    logits_fake, attributes_fake = nets.discriminate(params_d, fake, attributes)
    l_adv = losses.adversarial_d(logits_real, logits_fake, weights.adversarial_kind)
    l_real = _attribute_loss(attributes_real, attributes, weights.attribute_kind)
    l_fake = _attribute_loss(attributes_fake, attributes, weights.attribute_kind)
    metrics = {"l_adv_d": l_adv, "l_att_d": l_real + l_fake, "signs_real": jnp.sign(logits_real).mean()}
    metrics |= {"logits_real": logits_real.mean(), "logits_fake": logits_fake.mean()}
    total = weights.adversarial * l_adv + weights.attribute_d_real * l_real + weights.attribute_d_fake * l_fake
    return total, metrics


def loss_f(
    nets: Networks, state: State, params_f: Tree, inputs: Inputs, source: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns F's loss, and its reconstruction term; `source` f32[n,R,R,3] is the face that F sees."""
    weights, drawn = nets.config.losses, inputs.draws
    variables = {"params": state.params_g}
    x_rec = reconstruct(nets, state, params_f, variables, source, inputs.attributes, drawn.latents, drawn.noise_rec)
    rec = losses.reconstruction(x_rec[-1], source)
    loss = weights.reconstruction * rec
    if {"losses.edit_attribute", "losses.edit_adversarial"} & state.hyperparameters.keys():
        for_d = nets.augment_for_d(x_rec, drawn.augment_fake, state.augment_p)
        logits, attribute_logits = nets.discriminate(state.params_d, for_d, inputs.attributes)
        loss += weights.edit_adversarial * losses.adversarial_g(logits, weights.adversarial_kind)
        loss += weights.edit_attribute * _attribute_loss(attribute_logits, inputs.attributes, weights.attribute_kind)
    return loss, rec


def reconstruct(
    nets: Networks,
    state: State,
    params_f: Tree,
    variables_g: Tree,
    source: jax.Array,
    attributes: jax.Array,
    latents: Latents,
    noise: jax.Array | str,
) -> list[jax.Array]:
    """Draws X_rec at all scales: G(z + F(X, Y)) for source "data", G(latent + B[Y] + F(X0, Y)) for "latent"."""
    basis = state.basis if nets.config.source == "latent" else jnp.zeros_like(state.basis)
    offset = nets.offset(params_f, source, attributes)
    w_plus = nets.mixed_w_plus(variables_g, latents, attributes, basis, offset=offset)
    return nets.synthesize_scales(variables_g, w_plus, noise)


def update(optimizers: Optimizers, state: State, gradients: Gradients, learn_f: jax.Array | None) -> State:
    """Updates G and D by Adam, and F on the steps where it is due."""
    params_g, opt_g = apply_gradient(optimizers.g, gradients.g, state.opt_g, state.params_g)
    params_d, opt_d = apply_gradient(optimizers.d, gradients.d, state.opt_d, state.params_d)
    state = state.replace(params_g=params_g, opt_g=opt_g, params_d=params_d, opt_d=opt_d)
    if learn_f is None:
        return state
    with jax.named_scope("f"):
        params_f, opt_f = jax.lax.cond(
            learn_f,
            lambda params, opt: apply_gradient(optimizers.f, gradients.f, opt, params),
            lambda params, opt: (params, opt),
            state.params_f,
            state.opt_f,
        )
    return state.replace(params_f=params_f, opt_f=opt_f)


def finish_step(config: Config, state: State, w: jax.Array, values: Values) -> State:
    """Updates the averages of G and of w, adapts the augmentation, and counts the step.

    Args:
        config: the config of the networks being trained.
        state: the state after all updates.
        w: f32[D], mean over the batch.
        values: D's mean logits of the step, and the mean of their signs on real images; those of held-out images
            where p follows r_v.

    Returns:
        The state that the next step starts with.
    """
    done = state.step + 1
    images = jnp.float32(done) * config.batch_size  # seen, those of this step included; more than int32 can count
    half_life = jnp.minimum(1000.0 * config.ema_kimg, config.ema_rampup * images)
    decay = 0.5 ** (config.batch_size / half_life)
    state = state.replace(
        step=done,
        ema_g=jax.tree.map(lambda average, new: new + decay * (average - new), state.ema_g, state.params_g),
        w_avg=w + config.w_avg_beta * (state.w_avg - w),
    )
    augment = config.augment
    if augment.pipeline == "none":
        return state
    measured, target = values["signs_real"], augment.target
    if "logits_held_out" in values:
        logits = values["logits_real"], values["logits_held_out"], values["logits_fake"]
        measured, target = overfitting.excess(*logits, augment.target_r_v), 0.0
    due, total = done % augment.every == 0, state.augment_signs + measured
    p = augmentation.adapt(
        state.augment_p, total / augment.every, config.batch_size, augment.every, target, augment.kimg
    )
    return state.replace(augment_p=jnp.where(due, p, state.augment_p), augment_signs=jnp.where(due, 0.0, total))


def _attribute_loss(logits: jax.Array | None, attributes: jax.Array, kind: str) -> jax.Array:
    """Returns `losses.attribute`, or 0 where D has no attribute head."""
    return jnp.zeros(()) if logits is None else losses.attribute(logits, attributes, kind)
