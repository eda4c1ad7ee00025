"""Stage 3 of the `staged` recipe: the fusion network F learns the offset. G, D, E and the basis are frozen.

    O = F(X0, y, position map);   X_edit = G(w + B[y] + O)
    F: L1 + perceptual distance to the target + identity(X_edit, X0) + attribute + adversarial + |O|²

The pairs of faces X0 and targets are those of `targets`. F learns to change what the attribute changes and nothing
else: in the region in which X0 and the target differ, X_edit is compared with the target; outside, with the
reconstruction G(w), because the errors of the encoder are not F's to mend. The region counts as much as all of the
image, so that a mustache of a few pixels counts as much as a mask.

The step is written for one device of a mesh; `sharding.map_step` maps it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from sdgan_jax import blending, losses, pictures, pretrained
from sdgan_jax.data import rendered
from sdgan_jax.networks import Networks
from sdgan_jax.pretrained import archive, directories
from sdgan_jax.pretrained.archive import Tree
from sdgan_jax.training import accumulation, loop, shards
from sdgan_jax.training.gan import inputs, targets, weights
from sdgan_jax.training.gan.state import (
    State,
    apply_gradient,
    gather_params,
    init_state,
    make_optimizers,
    with_hyperparameters,
    without_optimizers,
)
from sdgan_jax.training.loop import Batch, Metrics

LOSSES = ("l_pixels", "l_perceptual", "l_identity", "l_attribute", "l_adversarial", "l_offset")
_COLUMNS = ("source", "target", "reconstruction", "basis", "basis + offset", "blended")
_LOW, _HIGH = 0.02, 0.06  # differences of X0 and target that bound the region of the change, see `blending.changed`
_REGION = 0.5  # share of the region in the weights of an image

Values = dict[str, jax.Array]  # name -> f32


class Judges(NamedTuple):
    """Frozen networks that compare faces f32[N,R,R,3]: layers of features, and identity embeddings f32[N,E]."""

    features: Callable[[jax.Array], tuple[jax.Array, ...]]
    identity: Callable[[jax.Array], jax.Array]


def train(nets: Networks, workdir: epath.PathLike) -> State:
    """Trains F; see `loop.run`. The sheet is `edits`.

    Args:
        nets: the networks of the stage's config; `config.init` is a model with G, D, E and a basis.
        workdir: local or remote directory; made when it is not there.

    Returns:
        The state after `config.total_steps`.

    Raises:
        FloatingPointError, KeyboardInterrupt: as `loop.run`.
        ValueError, FileNotFoundError: the workdir, the model, the data or the devices do not fit the config.
    """
    config = nets.config
    trees = starting_model(nets, workdir)
    learnt, shown = targets.prepare(nets, trees, workdir)
    del trees
    perceptual = pretrained.perceptual_network(config.fusion.position_network, config.losses.identity_network)
    what = loop.Run(
        config=config,
        init=functools.partial(init_state, nets),
        step=make_step(nets, Judges(perceptual, perceptual.identity)),
        batches=rendered.make_batches(config, learnt),
        put=functools.partial(inputs.put_batch, group=config.discriminator.mbstd_group),
        draw_sheets=make_sheets(nets, shown),
        headline=LOSSES,
        remedy="lower --config.adam_f.learning_rate",
        start=functools.partial(
            weights.start_from, config=config, path=config.init, frozen=("ema_g", "buffers_g", "params_e")
        ),
        fsdp=config.fsdp,
        falls=True,
        seen=without_optimizers,
    )
    return loop.run(what, workdir)


def starting_model(nets: Networks, workdir: epath.PathLike) -> dict[str, Tree]:
    """Reads the frozen networks: from the workdir where it has a checkpoint, else from `config.init`.

    Raises:
        ValueError: there is none, or it lacks what F needs, or has other shapes than the config.
        FileNotFoundError: as `weights.read`.
    """
    config = nets.config
    targets.check(config)
    resumes = directories.has_checkpoints(epath.Path(workdir))
    if not resumes and not config.init:
        raise ValueError("the stage fusion needs a model with G, D, E and a basis; set --config.init")
    path = workdir if resumes else config.init
    model, trees = weights.read(path)
    if model.config.attributes != config.attributes:  # E tells them apart by their places
        raise ValueError(
            f"the attributes of {path} are {', '.join(model.config.attributes)}, in this order; the stage fusion takes "
            f'them as they are: set --config.attributes="{tuple(model.config.attributes)}"'
        )
    expected = weights.shapes(nets)
    needed = {"ema_g": "generator", "params_e": "encoder"}
    edit = config.staged.edit_losses
    if edit.adversarial or edit.attribute:
        needed["params_d"] = "discriminator"
    for name, network in needed.items():
        ours, theirs = (
            {k: leaf.shape for k, leaf in archive.flatten(tree).items()}
            for tree in (expected[name], trees.get(name, {}))
        )
        if not theirs:
            raise ValueError(f"{path} has no {network}, which the stage fusion needs")
        if ours != theirs:
            raise ValueError(f"the {network} of {path} has other sizes than config; compare its config.json")
    return trees


def make_step(nets: Networks, judges: Judges) -> Callable[[State, Batch], tuple[State, Metrics]]:
    """Returns the per-device step of these networks' config: `(state, batch) -> (state, metrics)`, pure."""
    return functools.partial(_step, nets, judges)


def _step(nets: Networks, judges: Judges, state: State, batch: Batch) -> tuple[State, Metrics]:
    optimizer = make_optimizers(nets.config, state.hyperparameters).f
    nets = with_hyperparameters(nets, state)
    config, whole = nets.config, gather_params(state)
    computed = accumulation.mean_over_parts(
        lambda part: jax.grad(loss_f, argnums=3, has_aux=True)(nets, judges, whole, whole.params_f, part),
        batch,
        config.accumulate,
        config.discriminator.mbstd_group,
    )
    gradient, values = shards.mean(computed, state.params_f)
    params_f, opt_f = apply_gradient(optimizer, gradient, state.opt_f, state.params_f)
    state = state.replace(step=state.step + 1, params_f=params_f, opt_f=opt_f)
    return state, {name: jnp.stack((value, jnp.ones(()))) for name, value in values.items()}


def loss_f(nets: Networks, judges: Judges, state: State, params_f: Tree, batch: Batch) -> tuple[jax.Array, Values]:
    """Returns F's loss and its terms, for the arrays of `targets.prepare` as a batch."""
    config = nets.config
    terms = config.staged.edit_losses
    source, target, plain = (pictures.to_float(batch[name]) for name in ("source", "target", "reconstruction"))
    attributes = batch["attributes"]
    offset = find_offset(nets, params_f, batch)
    w_plus = nets.edit(batch["latent"], attributes, state.basis, offset, 1.0)
    scales = nets.synthesize_scales(state.variables_ema, w_plus, "const")
    edited = scales[-1]

    region = blending.changed(source, target, _LOW, _HIGH)  # [n,R,R]
    wanted = region[..., None] * target + (1.0 - region[..., None]) * plain
    share = place_weights(region)
    worn = jax.nn.relu(attributes)
    worn = worn.at[:, 0].set(1.0 - worn[:, 1:].sum(1))  # after a removal: none
    logits, attribute_logits = nets.discriminate(state.params_d, scales, worn)
    taken_off = (attributes < 0).any(1)[:, None, None, None]
    values = {
        "l_pixels": (share * jnp.abs(edited - wanted).mean(-1)).sum((1, 2)).mean(),
        "l_perceptual": losses.perceptual(judges.features(edited), judges.features(wanted), share).mean(),
        "l_identity": losses.identity(judges.identity(edited), judges.identity(jnp.where(taken_off, target, source))),
        "l_attribute": jnp.zeros(())
        if attribute_logits is None
        else losses.attribute(attribute_logits, worn, config.losses.attribute_kind),
        "l_adversarial": losses.adversarial_g(logits, config.losses.adversarial_kind),
        "l_offset": jnp.square(offset).mean(),
    }
    return sum((getattr(terms, name[2:]) * value for name, value in values.items()), jnp.zeros(())), values


def find_offset(nets: Networks, params_f: Tree, batch: Batch) -> jax.Array:
    """Returns the offsets f32[n,L,D] of a batch, by the position maps that were found before."""
    maps = batch["position_map"].astype(jnp.float32) if "position_map" in batch else None
    return nets.offset(params_f, pictures.to_float(batch["source"]), batch["attributes"], 1, maps)


def place_weights(region: jax.Array) -> jax.Array:
    """Returns weights f32[n,R,R] of the pixels, of the sum 1: a half is spread over all, a half over the region.

    Args:
        region: f32[n,R,R] in [0,1]. All pixels count the same where it is empty.
    """
    size = region.sum((1, 2), keepdims=True)
    inside = jnp.where(size > 1.0, region / jnp.maximum(size, 1.0), 1.0 / region[0].size)
    return _REGION * inside + (1.0 - _REGION) / region[0].size


def make_sheets(nets: Networks, shown: targets.Arrays) -> Callable[[State], dict[str, np.ndarray]]:
    """Returns the function that draws the sheet of a state.

    Each row is a pair: source, target, reconstruction, the edit by the basis alone, the edit by basis and offset, and
    the same blended into the source.

    Args:
        nets: the networks being trained.
        shown: the pairs of the sheet, see `targets.prepare`.

    Returns:
        A function from the state to {"edits": u8[H,W,3]}.
    """
    config = nets.config
    names = [config.attributes[row] for row in np.abs(shown["attributes"]).argmax(1)]
    labels = [
        f"{'remove' if row.min() < 0 else 'add'} {name}" for row, name in zip(shown["attributes"], names, strict=True)
    ]

    @jax.jit  # the pairs are an argument: of constants, XLA would compute the frozen networks while it compiles
    def draw_edits(state: State, arrays: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        source, plain = (pictures.to_float(arrays[name]) for name in ("source", "reconstruction"))
        offset = find_offset(nets, state.params_f, arrays)

        def draw(offset: jax.Array) -> jax.Array:
            w_plus = nets.edit(arrays["latent"], arrays["attributes"], state.basis, offset, 1.0)
            return nets.synthesize(state.variables_ema, w_plus, "const")

        edited, removes = draw(offset), (arrays["attributes"] < 0).any(1)
        return draw(jnp.zeros_like(offset)), edited, blending.blend(source, plain, edited, removes)

    def draw_sheets(state: State) -> dict[str, np.ndarray]:
        edits = [pictures.to_uint8(np.asarray(images)) for images in draw_edits(state, dict(shown))]
        columns = [shown["source"], shown["target"], shown["reconstruction"], *edits]
        cells = np.stack(columns, 1).reshape(-1, *columns[0].shape[1:])
        return {"edits": pictures.grid(cells, len(columns), labels, _COLUMNS)}

    return draw_sheets
