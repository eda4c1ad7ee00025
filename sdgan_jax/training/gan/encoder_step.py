"""The stage `encoder` of the `staged` recipe: E learns the latents w+ of faces, and G stays as it is.

    x real:            w = E(x);  L1 on a pyramid and a perceptual distance of G(w) to x;  |w - w_avg|²
    x = G(w0) drawn:   |E(x) - w0|², where w0 = w + B[y] with the attributes y of the batch that G has learned
    both:              cross-entropy of the attributes that E recognises; what it adds to w for them are those of y

The drawn faces teach E latents that are exactly known, those of faces with attributes among them; the real faces teach
it what the data set contains beyond them. The pull towards the average w keeps E where G has learned.

The step is written for one device of a mesh; `sharding.map_step` maps it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp
from etils import epath

from sdgan_jax import losses, pictures, pretrained
from sdgan_jax.data import stream
from sdgan_jax.networks import Networks
from sdgan_jax.pretrained import PerceptualNetwork
from sdgan_jax.pretrained.archive import Tree
from sdgan_jax.training import accumulation, loop, sharding, shards
from sdgan_jax.training.draws import sample_keys
from sdgan_jax.training.gan import inputs, run, sheets, weights
from sdgan_jax.training.gan.inputs import Batch
from sdgan_jax.training.gan.state import (
    State,
    apply_gradient,
    gather_params,
    init_state,
    make_optimizers,
    with_hyperparameters,
    without_optimizers,
)
from sdgan_jax.training.loop import Metrics

LOSSES = ("l_pixels", "l_perceptual", "l_latent", "l_pull", "l_attribute")
_LATENT = 0  # phase of the random numbers, see `sample_keys`
_FACES = 32  # on the sheet

Values = dict[str, jax.Array]  # name -> f32


@flax.struct.dataclass
class Rows:
    """The samples of a device, or a part of them."""

    real: jax.Array  # f32[n,R,R,3] in [-1,1]
    attributes: jax.Array  # f32[n,A], of the real faces, and of the drawn ones
    z: jax.Array  # f32[n,D], of the drawn faces


def train(nets: Networks, workdir: epath.PathLike) -> State:
    """Trains E for the generator of the model directory `config.init`; see `loop.run`.

    The sheet `encoded` shows rows of real faces x, and below each its G(E(x)).

    Args:
        nets: the networks of a validated config with the recipe `staged`.
        workdir: local or remote directory; made when it is not there.

    Returns:
        The state after `config.total_steps`; only `step`, `params_e` and `opt_e` differ from the state at the start.

    Raises:
        FloatingPointError, KeyboardInterrupt: as `loop.run`.
        ValueError, FileNotFoundError: the workdir, the data or the devices do not fit the config, or it names no
            generator.
    """
    config = nets.config
    run.check(config, workdir)
    if not config.init:
        raise ValueError("the stage 'encoder' needs a trained generator; set --config.init=DIR, a model directory")
    with sharding.first_process_first():  # it prepares the dataset, where that is not done yet
        batches = stream.train_iterator(config, jax.process_index(), jax.process_count())
    features = pretrained.perceptual_network()
    what = loop.Run(
        config=config,
        init=functools.partial(init_state, nets),
        step=make_step(nets, features),
        reseed=lambda rollbacks: make_step(run.reseeded(nets, rollbacks), features),
        batches=batches,
        put=inputs.put_batch,
        draw_sheets=sheets.make_encoded(nets, stream.first_images(config, _FACES)["image"]),
        headline=LOSSES,
        remedy="lower the learning rate (--config.adam_e.learning_rate)",
        start=functools.partial(weights.start_from, config=config, path=config.init, frozen=("ema_g", "buffers_g")),
        fsdp=config.fsdp,
        falls=True,
        seen=without_optimizers,
    )
    return loop.run(what, workdir)


def make_step(nets: Networks, features: PerceptualNetwork) -> Callable[[State, Batch], tuple[State, Metrics]]:
    """Returns the per-device step `(state, batch) -> (state, metrics)`, pure."""
    return functools.partial(_step, nets, features)


def _step(nets: Networks, features: PerceptualNetwork, state: State, batch: Batch) -> tuple[State, Metrics]:
    optimizer = make_optimizers(nets.config, state.hyperparameters).e
    nets = with_hyperparameters(nets, state)
    config, whole = nets.config, gather_params(state)
    real = pictures.to_float(batch["image"])  # [n,R,R,3]
    (keys,) = sample_keys(config.seed, state.step, real.shape[0], (_LATENT,))
    z = jax.vmap(lambda key: jax.random.normal(key, (config.generator.latent_dim,)))(keys)
    compute = jax.grad(functools.partial(loss_e, nets, features, whole), has_aux=True)
    computed = accumulation.mean_over_parts(
        lambda rows: compute(whole.params_e, rows), Rows(real, batch["attributes"], z), config.accumulate, 1
    )
    gradient, values = shards.mean(computed, state.params_e)
    params_e, opt_e = apply_gradient(optimizer, gradient, state.opt_e, state.params_e)
    state = state.replace(step=state.step + 1, params_e=params_e, opt_e=opt_e)
    return state, {name: jnp.stack((value, jnp.ones(()))) for name, value in values.items()}


def loss_e(
    nets: Networks, features: PerceptualNetwork, state: State, params_e: Tree, rows: Rows
) -> tuple[jax.Array, Values]:
    """Returns E's loss and its terms, means over the samples.

    Args:
        nets: the networks; their averaged generator is `state.variables_ema`, drawn without random noise.
        features: frozen network of the perceptual distance.
        state: the frozen parts: G, basis and w_avg.
        params_e: parameters of E.
        rows: the samples.
    """
    weights_e, variables = nets.config.staged.encoder_losses, state.variables_ema
    basis = nets.config.basis_length * state.basis
    w_drawn = nets.to_w_plus(variables, rows.z, rows.attributes, state.basis)  # [n,L,D]
    drawn = nets.synthesize(variables, w_drawn, "const")
    both = jnp.concatenate((rows.real, drawn))
    worn = jnp.concatenate((rows.attributes, drawn_attributes(rows.attributes, basis)))
    w_both, logits = nets.encode_and_recognise(params_e, both, state.w_avg, worn)  # [2n,L,D], [2n,A]
    w_real, w_again = jnp.split(w_both, 2)
    rebuilt = nets.synthesize(variables, w_real, "const")
    values = {
        "l_pixels": losses.pyramid(rebuilt, rows.real).mean(),
        "l_perceptual": losses.perceptual(features(rebuilt), features(rows.real)).mean(),
        "l_latent": jnp.square(w_again - w_drawn).mean(),
        "l_pull": jnp.square(w_real - state.w_avg).mean(),
        "l_attribute": losses.attribute(logits, worn, nets.config.losses.attribute_kind),
    }
    return sum((getattr(weights_e, name[2:]) * value for name, value in values.items()), jnp.zeros(())), values


def drawn_attributes(wanted: jax.Array, basis: jax.Array) -> jax.Array:
    """Returns the attributes f32[n,A] of faces that G drew with those `wanted` f32[n,A].

    An attribute whose row of the basis f32[A,D] is zero moves nothing: a G without it, such as a plain StyleGAN2, draws
    the face without it.
    """
    worn = (wanted * basis.any(1))[:, 1:]
    return jnp.concatenate((~worn.any(1, keepdims=True), worn), 1)
