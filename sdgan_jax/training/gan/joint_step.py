"""The `joint` recipe: G, D and F learn at once from one batch, as the pseudo-code of SD-GAN has it.

    X_hat = G(z + B[Y]);   O = F(X, Y);   X_rec = G(z + O)
    G: adversarial + attribute + identity(X_hat, X);   D: adversarial + attribute;   F: L1(X_rec, X)

All losses are taken at the parameters that the step starts with, and the three updates are made together. Switches of
the config, each documented there, lead from the pseudo-code to what trains well: regularisers (`regularisers`), style mixing,
augmentation, `latent_space`, `basis_length`, and `source`. With source "latent" the face that X_hat and X_rec are held
against is not the unrelated X but X0 = G(latent), the same latent without an attribute, and X_rec =
G(latent + B[Y] + O) is X0 wearing Y.

The step is written for one device of a mesh with the axis `data`: `sharding.map_step` maps it.
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
from sdgan_jax.networks import Networks, Tree
from sdgan_jax.training import accumulation
from sdgan_jax.training.gan import regularisers
from sdgan_jax.training.gan.inputs import Batch, Inputs, make_inputs
from sdgan_jax.training.gan.state import Optimizers, State, apply_gradient, make_optimizers
from sdgan_jax.training.sharding import AXIS

Metrics = dict[str, jax.Array]  # name -> f32[2]: the value, and 1 where this step measured it or 0
Step = Callable[[State, Batch], tuple[State, Metrics]]
Values = dict[str, jax.Array]  # name -> f32


@flax.struct.dataclass
class Gradients:
    """The gradients of the main update."""

    g: Tree
    d: Tree
    f: Tree | None  # zero where F is not due, None where it never is


def make_step(nets: Networks) -> Step:
    """Returns the per-device step of these networks' config: `(state, batch) -> (state, metrics)`, pure."""
    return functools.partial(_step, nets, make_optimizers(nets.config))


def _step(nets: Networks, optimizers: Optimizers, state: State, batch: Batch) -> tuple[State, Metrics]:
    config = nets.config
    inputs = make_inputs(config, state.step, batch)
    due = {name: state.step % every == 0 if every else None for name, every in config.intervals.items()}
    computed = accumulation.mean_over_parts(
        lambda part: gradients(nets, state, part, due["f"]),
        inputs,
        config.accumulate,
        config.discriminator.mbstd_group,
    )
    computed, values, w = jax.lax.pmean(computed, AXIS)
    after = update(optimizers, state, computed, due["f"])
    after, values["r1"] = _when(
        due["r1"],
        after,
        ("params_d", "opt_d"),
        lambda: regularisers.regularise_d(nets, optimizers, after, inputs.real, inputs.draws.augment_real),
    )
    after, values["path_length"] = _when(
        due["path_length"],
        after,
        ("params_g", "opt_g", "path_mean"),
        lambda: regularisers.regularise_g(nets, optimizers, after, inputs.attributes),
    )
    after = _follow(config, after, w, values.pop("signs_real"))
    values["augment_p"] = after.augment_p
    measured = {"l_rec_f": due["f"], "r1": due["r1"], "path_length": due["path_length"]}
    measured = {name: jnp.zeros(()) if when is None else jnp.float32(when) for name, when in measured.items()}
    return after, {name: jnp.stack((v, measured.get(name, jnp.ones(())))) for name, v in values.items()}


def gradients(
    nets: Networks, state: State, inputs: Inputs, learn_f: jax.Array | None
) -> tuple[Gradients, Values, jax.Array]:
    """The gradients of G, D and F at the parameters of `state`; beside them what to log, and the mean w f32[D]."""
    (_, aux), grad_g = jax.value_and_grad(loss_g, argnums=2, has_aux=True)(nets, state, state.params_g, inputs)
    grad_d, metrics_d = jax.grad(loss_d, argnums=2, has_aux=True)(nets, state, state.params_d, inputs, aux["shown"])
    values = aux["metrics"] | metrics_d
    grad_f, values["l_rec_f"] = None, jnp.zeros(())
    if learn_f is not None:
        zeros = (jax.tree.map(jnp.zeros_like, state.params_f), jnp.zeros(()))
        source = aux["x_0"] if nets.config.source == "latent" else inputs.real
        compute = jax.grad(loss_f, argnums=2, has_aux=True)
        grad_f, values["l_rec_f"] = jax.lax.cond(
            learn_f, lambda: compute(nets, state, state.params_f, inputs, source), lambda: zeros
        )
    return Gradients(grad_g, grad_d, grad_f), values, aux["w"].mean(0)


def loss_g(nets: Networks, state: State, params_g: Tree, inputs: Inputs) -> tuple[jax.Array, Tree]:
    """G's loss; beside it X_hat as it was shown to D, X0 where the config asks for it, w, and the metrics."""
    config, weights, variables = nets.config, nets.config.losses, {"params": params_g}
    drawn, attributes = inputs.draws, inputs.attributes
    w_plus = nets.mixed_w_plus(variables, drawn.latents, attributes, state.basis)
    x_hat = nets.draw(variables, w_plus, drawn.noise_hat)
    shown = nets.show(x_hat, drawn.augment_fake, state.augment_p)
    logits, attribute_logits = nets.discriminate(state.params_d, shown)
    w = w_plus[:, 0] if config.latent_space == "z" else nets.map(variables, drawn.latents.z)
    aux = {"shown": shown, "w": w}
    if config.source == "latent" and config.num_attributes > 1:
        plain = nets.mixed_w_plus(variables, drawn.latents, jnp.zeros_like(attributes), state.basis)
        aux["x_0"] = jax.lax.stop_gradient(nets.synthesize(variables, plain, drawn.noise_hat))
    l_adv = losses.adversarial_g(logits, weights.adversarial_kind)
    l_att = _attribute_loss(attribute_logits, attributes, weights.attribute_kind)
    l_id = jnp.zeros(())
    if config.num_attributes > 1:
        l_id = losses.identity(nets.compared(x_hat[-1]), nets.compared(aux.get("x_0", inputs.real)))
    aux["metrics"] = {"l_adv_g": l_adv, "l_att_g": l_att, "l_id_g": l_id}
    return weights.adversarial * l_adv + weights.attribute_g * l_att + weights.identity * l_id, aux


def loss_d(
    nets: Networks, state: State, params_d: Tree, inputs: Inputs, fake: Sequence[jax.Array]
) -> tuple[jax.Array, Values]:
    """D's loss without the regulariser, and its metrics. `fake` is what `loss_g` showed: they share a pass of D."""
    weights, attributes, drawn = nets.config.losses, inputs.attributes, inputs.draws
    real = nets.show([inputs.real], drawn.augment_real, state.augment_p)
    logits_real, attributes_real = nets.discriminate(params_d, real)
    logits_fake, attributes_fake = nets.discriminate(params_d, fake)
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
    """F's loss, and the reconstruction term alone."""
    weights, drawn = nets.config.losses, inputs.draws
    variables = {"params": state.params_g}
    x_rec = reconstruct(nets, state, params_f, variables, source, inputs.attributes, drawn.latents, drawn.noise_rec)
    rec = losses.reconstruction(x_rec[-1], source)
    loss = weights.reconstruction * rec
    if weights.edit_attribute or weights.edit_adversarial:
        shown = nets.show(x_rec, drawn.augment_fake, state.augment_p)
        logits, attribute_logits = nets.discriminate(state.params_d, shown)
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
    """X_rec at all scales: G(z + F(X, Y)) with source "data", G(latent + B[Y] + F(X0, Y)) with source "latent"."""
    basis = state.basis if nets.config.source == "latent" else jnp.zeros_like(state.basis)
    offset = nets.offset(params_f, source, attributes)
    return nets.draw(variables_g, nets.mixed_w_plus(variables_g, latents, attributes, basis, offset=offset), noise)


def update(optimizers: Optimizers, state: State, computed: Gradients, learn_f: jax.Array | None) -> State:
    """Adam on G and D, and on F where it is due."""
    params_g, opt_g = apply_gradient(optimizers.g, computed.g, state.opt_g, state.params_g)
    params_d, opt_d = apply_gradient(optimizers.d, computed.d, state.opt_d, state.params_d)
    state = state.replace(params_g=params_g, opt_g=opt_g, params_d=params_d, opt_d=opt_d)
    if learn_f is None:
        return state
    params_f, opt_f = jax.lax.cond(
        learn_f,
        lambda: apply_gradient(optimizers.f, computed.f, state.opt_f, state.params_f),
        lambda: (state.params_f, state.opt_f),
    )
    return state.replace(params_f=params_f, opt_f=opt_f)


def _follow(config: Config, state: State, w: jax.Array, signs: jax.Array) -> State:
    """Ends a step: the averages of G and of w f32[D] follow, p of the augmentation adapts, and the step is counted."""
    done = state.step + 1
    images = done * config.batch_size  # images seen, this step's among them
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
    adapt, signs = done % augment.every == 0, state.augment_signs + signs
    p = augmentation.adapt(
        state.augment_p, signs / augment.every, config.batch_size, augment.every, augment.target, augment.kimg
    )
    return state.replace(augment_p=jnp.where(adapt, p, state.augment_p), augment_signs=jnp.where(adapt, 0.0, signs))


def _attribute_loss(logits: jax.Array | None, attributes: jax.Array, kind: str) -> jax.Array:
    """`losses.attribute`; 0 where D has no attribute head."""
    return jnp.zeros(()) if logits is None else losses.attribute(logits, attributes, kind)


def _when(
    due: jax.Array | None, state: State, fields: tuple[str, ...], change: Callable[[], tuple[Tree, jax.Array]]
) -> tuple[State, jax.Array]:
    """The state with the fields that `change` gives, and its value, on the steps where it is due."""
    if due is None:
        return state, jnp.zeros(())
    kept = {name: getattr(state, name) for name in fields}
    changes, value = jax.lax.cond(due, change, lambda: (kept, jnp.zeros(())))
    return state.replace(**changes), value
