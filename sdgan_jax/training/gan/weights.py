"""Model directories: reads and writes the weights of a model, and starts a run from them.

A model directory contains `config.json` and either `checkpoints/` (a training workdir) or `weights.safetensors`, arrays
named by their place in the tree. Nothing in it is ever executed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from sdgan_jax import config as config_lib
from sdgan_jax import memo, outputs
from sdgan_jax.config import Config
from sdgan_jax.networks import Networks, make_networks
from sdgan_jax.pretrained import archive, directories
from sdgan_jax.pretrained.archive import Tree
from sdgan_jax.training import workdir as workdir_lib
from sdgan_jax.training.gan.state import State, init_state

OPTIONAL = ("params_d", "params_f", "params_e")  # fields of the state that imported weights may lack
FIELDS = ("ema_g", "buffers_g", *OPTIONAL, "w_avg", "basis")  # fields of the state that make the model

# Arrays with an axis of attributes: the axis, and the id of its first attribute (0 is none).
_ATTRIBUTE_AXIS = {
    "basis": (0, 0),
    "params_d/attribute/kernel": (1, 0),
    "params_d/attribute/bias": (0, 0),
    "params_d/features_N/attribute/kernel": (0, 0),  # of the feature head of size N
    "params_e/attribute/kernel": (1, 0),
    "params_e/attribute/bias": (0, 0),
    "params_e/worn": (0, 1),
    "params_f/embedding": (0, 1),
    "params_f/removal": (0, 1),
}


def read(path: epath.PathLike, best: bool = False) -> tuple[Networks, dict[str, Tree]]:
    """Reads a model directory.

    Args:
        path: a workdir, one of its checkpoints (`<workdir>/checkpoints/<step>`), or a directory with
            `weights.safetensors`, local or remote.
        best: reads the checkpoint of a workdir with the best score instead of the newest.

    Returns:
        The networks (with their config), and the trees of `FIELDS`, float32; those of `OPTIONAL` only where the model
        has them.

    Raises:
        FileNotFoundError: there is no model; the message says what to do.
        ValueError: the directory belongs to another network or is damaged, or the arrays are not those of the config;
            the first few are named.
    """
    folder, step = directories.checkpoint_of(path)
    directories.check_model(folder)
    config = workdir_lib.load_config(folder, Config)
    try:
        nets = make_networks(config)
        target = shapes(nets)
    except OSError:  # a network that the config names is not there
        raise
    except Exception as error:  # networks of absurd sizes raise nearly anything
        reason = str(error).partition("\n")[0][:200]
        raise ValueError(f"{folder / directories.CONFIG} describes no model that can be built: {reason}") from error
    file = directories.weights_of(folder)
    if step is not None or file is None:
        # Imported here: Orbax takes a fifth of the time of all imports, and only checkpoints need it.
        from sdgan_jax.training import checkpoint

        return nets, checkpoint.open_state(folder, target, best, step)
    arrays = archive.read(file)
    held = {name.split("/")[0] for name in arrays}
    target = {name: tree for name, tree in target.items() if name in held or name not in OPTIONAL}
    return nets, archive.take(file, arrays, target, directories.CONFIG)


def by_network(trees: dict[str, Tree]) -> dict[str, Tree]:
    """Returns trees of `FIELDS` by the keys of `Model.params`."""
    params = {"G": {"params": trees["ema_g"], "buffers": trees["buffers_g"]}}
    params |= {name: trees[name] for name in ("basis", "w_avg")}
    return params | {name[-1].upper(): trees[name] for name in OPTIONAL if trees.get(name)}


def held_fields(path: epath.PathLike) -> set[str]:
    """Returns the names of the trees that a model directory has, in less than the seconds of `read`.

    Raises:
        FileNotFoundError: there is no model; the message says what to do.
        ValueError: the directory is damaged.
    """
    folder, step = directories.checkpoint_of(path)
    directories.check_model(folder)
    file = directories.weights_of(folder)
    if step is not None or file is None:
        from sdgan_jax.training import checkpoint  # as in `read`

        return checkpoint.saved_fields(folder, step)
    return {name.split("/")[0] for name in archive.load(file)}


def shapes(nets: Networks) -> dict[str, Tree]:
    """Returns the shapes of the trees of `FIELDS`, as `jax.eval_shape` gives them."""

    def compute() -> dict[str, Tree]:
        state = jax.eval_shape(functools.partial(init_state, nets))
        return {name: getattr(state, name) for name in FIELDS}

    # The inputs of F and D follow from networks that the config names by their paths, or does not name.
    others: list[Any] = [nets.position and (nets.position.map_size, nets.position.layout, [*nets.position.variables])]
    others += [nets.perceptual and (nets.perceptual.position.net, nets.perceptual.identity.net)]
    return memo.shapes("model", f"{config_lib.to_json(nets.config)} {others}", compute)


def write(path: epath.PathLike, config: Config, trees: dict[str, Tree], dtype: np.dtype | type = np.float32) -> None:
    """Writes a model directory: `config.json` and `weights.safetensors`.

    Args:
        path: the directory; created if missing.
        config: config of the model.
        trees: trees of arrays by the names in `FIELDS`; those in `OPTIONAL` may be missing.
        dtype: type of the stored numbers: float32, or float16 for half the size.
    """
    folder = epath.Path(path)
    archive.write(folder / directories.WEIGHTS, trees, dtype)
    with outputs.in_one_piece(folder / directories.CONFIG) as unfinished:
        unfinished.write_text(config_lib.to_json(config))


def shared_rows(config: Config, source: Config) -> list[str]:
    """Returns the attributes whose rows of the basis `start_from` takes: the common ones, in the same latent space.

    A plain StyleGAN2 has no such row, and the length of its basis says nothing.

    Args:
        config: config of the new run.
        source: config of the model.
    """
    spaces = [(one.latent_space, one.generator.latent_dim) for one in (config, source)]
    return [name for name in config.attributes[1:] if name in source.attributes and spaces[0] == spaces[1]]


def start_from(state: State, config: Config, path: epath.PathLike, frozen: Sequence[str] = ()) -> tuple[State, str]:
    """Copies the weights of a model into a new state, array by array where name and shape agree.

    The model may have another resolution (layers are named by theirs) and other attributes: rows of an attribute are
    matched by its name. Its basis moves latents as far as in the model, whatever the basis lengths of both; one of the
    other latent space is not taken.

    Args:
        state: the state at step 0.
        config: config of the new run.
        path: a model directory.
        frozen: fields that the run does not train, and that must fit as a whole. Rows of the basis that are new move
            nothing where the generator, `ema_g`, is among them: it has not learned them.

    Returns:
        The state, and lines that say how many arrays were taken and which layers are new.

    Raises:
        ValueError: no array of the generator fits, or not all of a frozen field.
    """
    nets, trees = read(path)
    theirs_config = nets.config
    same_space = config.latent_space == theirs_config.latent_space
    length, own = theirs_config.basis_length, config.basis_length
    scale = np.float32(length / own if length and own else 1.0)  # a length of 0 switches the basis off
    trees = trees | {"basis": scale * np.asarray(trees["basis"]) if same_space else {}}
    shared = [name for name in config.attributes if name in theirs_config.attributes]
    places = tuple([names.index(name) for name in shared] for names in (config.attributes, theirs_config.attributes))
    if "ema_g" in frozen:
        state = state.replace(basis=0.0 * state.basis)
    targets = {"params_g": "ema_g"} | {name: name for name in FIELDS}
    changes, lines = {}, [f"Starting from {path}"]
    for field, origin in targets.items():
        # A key in front of every name, since `basis` and `w_avg` are arrays, not trees.
        ours, theirs = (archive.flatten({field: tree}) for tree in (getattr(state, field), trees.get(origin, {})))
        # Copies: params_g and ema_g start from the same arrays, and the step donates both.
        fits = {k: _fit(k, v, theirs[k], *places) for k, v in ours.items() if k in theirs}
        fits = {k: v for k, v in fits.items() if v is not None}
        changes[field] = archive.unflatten(ours | fits).get(field, {})
        if field == "params_g" and not any(v.ndim > 1 for v in fits.values()):
            raise ValueError(f"{path}: nothing of its generator fits this config; compare its config.json")
        if field in frozen and (new := [name for name in ours if name not in fits]):
            raise ValueError(
                f"{path} has other sizes than config, or lacks a network: {new[0]} does not fit, and this training "
                "would leave it random; compare config.json of the model"
            )
        if field not in ("ema_g", "buffers_g"):  # as params_g
            lines.append(f"  {field}: {_summary(list(ours), fits)}")
    if not same_space:  # the basis is the last of `FIELDS`
        lines[-1] += f", since that of the model lies in {theirs_config.latent_space}, not in {config.latent_space}"
    # Rows that no G has learned are zero in the models of trainings that left it frozen.
    changes["basis"] = jnp.where(changes["basis"].any(1, keepdims=True), changes["basis"], state.basis)
    others = [name for name in config.attributes if name not in shared]
    lines.append(f"  attributes: {', '.join(shared)} taken" + (f"; {', '.join(others)} new" if others else ""))
    return state.replace(**changes), "\n".join(lines)


def _fit(
    name: str, ours: jax.Array, theirs: jax.Array, our_places: list[int], their_places: list[int]
) -> jax.Array | np.ndarray | None:
    """Returns a copy of `theirs`, or `ours` with the rows of shared attributes copied; None where the shapes differ."""
    kind = re.sub(r"features_\d+", "features_N", name)
    if kind not in _ATTRIBUTE_AXIS:
        # By numpy: an array on a device of this process cannot be put on those of several processes.
        return np.array(theirs) if ours.shape == theirs.shape else None
    axis, first = _ATTRIBUTE_AXIS[kind]
    alike = np.delete(ours.shape, axis).tolist() == np.delete(theirs.shape, axis).tolist()
    if not alike or not any(our_places):  # all models share `none`, whose rows carry no information
        return None
    places = [pair for pair in zip(our_places, their_places, strict=True) if min(pair) >= first]
    mine, others = np.transpose(places) - first
    rows = np.moveaxis(np.asarray(theirs), axis, 0)[others]
    result = jnp.moveaxis(ours, axis, 0).at[mine].set(rows)  # by jax: `ours` may be in pieces on several hosts
    return jnp.moveaxis(result, 0, axis)


def _summary(ours: list[str], fits: dict[str, jax.Array | np.ndarray]) -> str:
    """Returns the number of arrays that were taken of a field, and the layers that are new."""
    layers = dict.fromkeys("/".join(name.split("/")[1:3]) or name for name in ours if name not in fits)
    more = f" and {len(layers) - 8} more layers" if len(layers) > 8 else ""
    new = f"; new: {', '.join(list(layers)[:8])}{more}" if layers else ""
    return f"{len(fits)} of {len(ours)} arrays taken{new}"
