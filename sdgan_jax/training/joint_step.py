"""The `joint` recipe: G, D and F learn at once from one batch, as the pseudo-code of SD-GAN has it.

    X_hat = G(z + B[Y]);   O = F(X, Y);   X_rec = G(z + O)
    G: adversarial + attribute + identity(X_hat, X);   D: adversarial + attribute;   F: L1(X_rec, X)

All losses are taken at the parameters that the step starts with, and the three updates are made together. Switches of
the config, each documented there, lead from the pseudo-code to what trains well: `losses.r1`, `latent_space`,
`basis_length`, and `source`. With source "latent" the face that X_hat and X_rec are held against is not the unrelated X
but X0 = G(latent), the same latent without an attribute, and X_rec = G(latent + B[Y] + O) is X0 wearing Y.

The step is written for one device of a mesh with the axis `data`: `sharding.map_step` maps it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from sdgan_jax import losses
from sdgan_jax.config import Config
from sdgan_jax.training.state import Networks, Optimizers, State, Tree, make_networks, make_optimizers

AXIS = "data"
Batch = dict[str, jax.Array]  # "image" u8[n,R,R,3], "attributes" f32[n,A]: this device's rows
Metrics = dict[str, jax.Array]  # name -> f32[2]: the value, and 1 where this step measured it or 0
Step = Callable[[State, Batch], tuple[State, Metrics]]


def make_step(config: Config) -> Step:
    """The per-device step of a config: `(state, batch) -> (state, metrics)`, pure."""
    nets, optimizers = make_networks(config), make_optimizers(config)
    return functools.partial(_step, nets, optimizers)


def _step(nets: Networks, optimizers: Optimizers, state: State, batch: Batch) -> tuple[State, Metrics]:
    config = nets.config
    real = batch["image"].astype(jnp.float32) / 127.5 - 1.0  # [n,R,R,3]
    attributes = batch["attributes"]  # [n,A]
    z, noise_hat, noise_rec = draw_latents(config, state.step, real.shape[0])

    (_, aux), grad_g = jax.value_and_grad(_loss_g, argnums=2, has_aux=True)(
        nets, state, state.params_g, real, attributes, z, noise_hat
    )
    grad_d, metrics_d = jax.grad(_loss_d, argnums=1, has_aux=True)(nets, state.params_d, real, aux["x_hat"], attributes)
    regularise, learn_f = state.step % config.losses.r1_every == 0, state.step % config.fusion_every == 0
    grad_r1, r1 = _every(
        regularise if config.losses.r1 else None,
        lambda: jax.grad(_loss_r1, argnums=1, has_aux=True)(nets, state.params_d, real),
        grad_d,
    )
    source = aux["x_0"] if config.source == "latent" else real
    grad_f, rec = _every(
        learn_f,
        lambda: jax.grad(_loss_f, argnums=2, has_aux=True)(
            nets, state, state.params_f, source, attributes, z, noise_rec
        ),
        state.params_f,
    )
    grad_d = jax.tree.map(jnp.add, grad_d, grad_r1)

    values = aux["metrics"] | metrics_d | {"l_rec_f": rec, "r1": r1}
    grad_g, grad_d, grad_f, values, w = jax.lax.pmean((grad_g, grad_d, grad_f, values, aux["w"].mean(0)), AXIS)
    measured = {"l_rec_f": learn_f, "r1": regularise if config.losses.r1 else False}
    metrics = {k: jnp.stack((v, jnp.asarray(measured.get(k, True), jnp.float32))) for k, v in values.items()}
    return _update(config, optimizers, state, grad_g, grad_d, grad_f, learn_f, w), metrics


def draw_latents(config: Config, step: jax.Array, rows: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The randomness of a step on this device: z f32[n,D], and noise keys [n] for X_hat and for X_rec.

    Every sample has its own key, made from its place in the global batch, so that a run draws the same numbers on any
    number of devices. Row j of device d is sample j · devices + d.
    """
    key = jax.random.fold_in(jax.random.key(config.seed), step)
    sample = jnp.arange(rows) * jax.lax.axis_size(AXIS) + jax.lax.axis_index(AXIS)
    keys = jax.vmap(lambda phase: jax.vmap(lambda i: jax.random.fold_in(jax.random.fold_in(key, phase), i))(sample))(
        jnp.arange(3)
    )
    z = jax.vmap(lambda k: jax.random.normal(k, (config.generator.latent_dim,)))(keys[0])
    return z, keys[1], keys[2]


def _loss_g(
    nets: Networks,
    state: State,
    params_g: Tree,
    real: jax.Array,
    attributes: jax.Array,
    z: jax.Array,
    noise: jax.Array,
) -> tuple[jax.Array, Tree]:
    """G's loss; beside it X_hat, X0 where the config asks for it, w, and the metrics."""
    config, weights, variables = nets.config, nets.config.losses, {"params": params_g}
    w_plus = nets.to_w_plus(variables, z, attributes, state.basis)
    x_hat = nets.synthesize(variables, w_plus, noise)
    logits, attribute_logits = nets.discriminate(state.params_d, x_hat)
    aux = {"x_hat": x_hat, "w": w_plus[:, 0] if config.latent_space == "z" else nets.map(variables, z)}
    if config.source == "latent":
        plain = nets.to_w_plus(variables, z, jnp.zeros_like(attributes), state.basis)
        aux["x_0"] = jax.lax.stop_gradient(nets.synthesize(variables, plain, noise))
    l_adv = losses.adversarial(logits, real=True)
    l_att = losses.attribute(attribute_logits, attributes, weights.attribute_kind)
    l_id = losses.identity(x_hat, aux.get("x_0", real))
    aux["metrics"] = {"l_adv_g": l_adv, "l_att_g": l_att, "l_id_g": l_id}
    return weights.adversarial * l_adv + weights.attribute_g * l_att + weights.identity * l_id, aux


def _loss_d(
    nets: Networks, params_d: Tree, real: jax.Array, x_hat: jax.Array, attributes: jax.Array
) -> tuple[jax.Array, Metrics]:
    """D's loss without the regulariser, and its metrics."""
    weights = nets.config.losses
    logits_real, attributes_real = nets.discriminate(params_d, real)
    logits_fake, attributes_fake = nets.discriminate(params_d, x_hat)
    l_adv = losses.adversarial(logits_real, real=True) + losses.adversarial(logits_fake, real=False)
    l_real = losses.attribute(attributes_real, attributes, weights.attribute_kind)
    l_fake = losses.attribute(attributes_fake, attributes, weights.attribute_kind)
    metrics = {"l_adv_d": l_adv, "l_att_d": l_real + l_fake}
    metrics |= {"logits_real": logits_real.mean(), "logits_fake": logits_fake.mean()}
    total = weights.adversarial * l_adv + weights.attribute_d_real * l_real + weights.attribute_d_fake * l_fake
    return total, metrics


def _loss_r1(nets: Networks, params_d: Tree, real: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Lazy R1: gamma / 2 · |dD/dx|², times the interval that it stands for; beside it |dD/dx|²."""
    penalty = losses.r1(lambda images: nets.discriminate(params_d, images)[0], real)
    weights = nets.config.losses
    return 0.5 * weights.r1 * weights.r1_every * penalty, penalty


def _loss_f(
    nets: Networks,
    state: State,
    params_f: Tree,
    source: jax.Array,
    attributes: jax.Array,
    z: jax.Array,
    noise: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """F's loss, and the reconstruction term alone."""
    weights = nets.config.losses
    x_rec = reconstruct(nets, state, params_f, {"params": state.params_g}, source, attributes, z, noise)
    rec = losses.reconstruction(x_rec, source)
    loss = weights.reconstruction * rec
    if weights.edit_attribute or weights.edit_adversarial:
        logits, attribute_logits = nets.discriminate(state.params_d, x_rec)
        loss += weights.edit_adversarial * losses.adversarial(logits, real=True)
        loss += weights.edit_attribute * losses.attribute(attribute_logits, attributes, weights.attribute_kind)
    return loss, rec


def reconstruct(
    nets: Networks,
    state: State,
    params_f: Tree,
    variables_g: Tree,
    source: jax.Array,
    attributes: jax.Array,
    z: jax.Array,
    noise: jax.Array | str,
) -> jax.Array:
    """X_rec: G(z + F(X, Y)) with source "data", G(latent + B[Y] + F(X0, Y)) with source "latent"."""
    basis = state.basis if nets.config.source == "latent" else jnp.zeros_like(state.basis)
    offset = nets.offset(params_f, source, attributes)
    return nets.synthesize(variables_g, nets.to_w_plus(variables_g, z, attributes, basis, offset=offset), noise)


def _every(due: jax.Array | None, compute: Callable[[], tuple[Tree, jax.Array]], like: Tree) -> tuple[Tree, jax.Array]:
    """`compute()` on the steps where it is due, zeros on the others; never computed when `due` is None."""
    zeros = lambda: (jax.tree.map(jnp.zeros_like, like), jnp.zeros(()))  # noqa: E731
    return zeros() if due is None else jax.lax.cond(due, compute, zeros)


def _update(
    config: Config,
    optimizers: Optimizers,
    state: State,
    grad_g: Tree,
    grad_d: Tree,
    grad_f: Tree,
    learn_f: jax.Array,
    w: jax.Array,
) -> State:
    """The next state from the averaged gradients and this step's mean w f32[D]."""
    step_g, opt_g = optimizers.g.update(grad_g, state.opt_g)
    step_d, opt_d = optimizers.d.update(grad_d, state.opt_d)
    params_f, opt_f = jax.lax.cond(
        learn_f,
        lambda: _apply(optimizers.f, grad_f, state.opt_f, state.params_f),
        lambda: (state.params_f, state.opt_f),
    )
    params_g = optax.apply_updates(state.params_g, step_g)
    images = (state.step + 1) * config.batch_size  # images seen, this step's among them
    half_life = jnp.minimum(1000.0 * config.ema_kimg, config.ema_rampup * images)
    decay = 0.5 ** (config.batch_size / half_life)
    return state.replace(
        step=state.step + 1,
        params_g=params_g,
        params_d=optax.apply_updates(state.params_d, step_d),
        params_f=params_f,
        ema_g=jax.tree.map(lambda average, new: new + decay * (average - new), state.ema_g, params_g),
        opt_g=opt_g,
        opt_d=opt_d,
        opt_f=opt_f,
        w_avg=w + config.w_avg_beta * (state.w_avg - w),
    )


def _apply(optimizer: optax.GradientTransformation, gradient: Tree, opt: Tree, params: Tree) -> tuple[Tree, Tree]:
    step, opt = optimizer.update(gradient, opt)
    return optax.apply_updates(params, step), opt
