"""Training of SD-GAN: the `loop.Run` of a config."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable

import jax
from etils import epath
from jax.sharding import Mesh

from sdgan_jax.config import Config
from sdgan_jax.data import stream
from sdgan_jax.networks import Networks
from sdgan_jax.pretrained import directories
from sdgan_jax.training import draws, loop, sharding
from sdgan_jax.training.gan import inputs, joint_step, overfitting, sheets, weights
from sdgan_jax.training.gan.state import State, init_state, without_optimizers

LOSSES = ("l_adv_g", "l_adv_d", "l_att_g", "l_att_d", "l_id_g", "l_rec_f")  # the six of the SD-GAN pseudo-code
_REMEDY = (
    "lower the learning rates (--config.adam_g.learning_rate, --config.adam_d.learning_rate) or raise "
    "--config.losses.r1"
)

Score = Callable[[State], float] | loop.Measure  # higher is better


def train(nets: Networks, workdir: epath.PathLike, score: Score | None = None) -> State:
    """Trains G, D and F; see `loop.run`. The sheets are `x_hat` and `x_rec`.

    Args:
        nets: the networks of a validated config (`networks.make_networks`).
        workdir: local or remote directory; made when it is not there.
        score: from a state to a number, higher is better; computed at every checkpoint, the best of which is kept.

    Returns:
        The state after `config.total_steps`.

    Raises:
        FloatingPointError, KeyboardInterrupt: as `loop.run`.
        ValueError, FileNotFoundError: the workdir, the data or the devices do not fit the config.
    """
    config = nets.config
    check(config, workdir)
    with sharding.first_process_first():  # it prepares the dataset, where that is not done yet
        batches = stream.train_iterator(config, jax.process_index(), jax.process_count())
    watched = overfitting.read_images(config)
    for note in (inputs.check_groups(config, jax.device_count()), overfitting.describe_adaptation(config)):
        if note and jax.process_index() == 0:
            print(note, file=sys.stderr)
    reals = stream.first_images(config, sheets.PAIRS * config.num_attributes) if config.source == "data" else None
    what = loop.Run(
        config=config,
        init=functools.partial(init_state, nets),
        step=joint_step.make_step(nets),
        batches=batches,
        put=_make_put(config),
        draw_sheets=sheets.make_sheets(nets, reals),
        headline=LOSSES,
        remedy=_REMEDY,
        reseed=lambda rollbacks: joint_step.make_step(reseeded(nets, rollbacks)),
        start=functools.partial(weights.start_from, config=config, path=config.init) if config.init else None,
        score=score,
        watch=overfitting.make_watch(nets, watched) if watched else None,
        fsdp=config.fsdp,
        seen=without_optimizers,
    )
    return loop.run(what, workdir)


def _make_put(config: Config) -> Callable[[inputs.Batch, Mesh], inputs.Batch]:
    """Returns the function that puts a batch on the devices, with the held-out images that the augmentation follows.

    These are read and put once.
    """
    put = functools.partial(inputs.put_batch, group=config.discriminator.mbstd_group)
    held_out = overfitting.read_held_out(config, jax.process_index(), jax.process_count())
    if held_out is None:
        return put
    on_devices = {"held_out": put(held_out, sharding.make_mesh(config.batch_size, fsdp=config.fsdp))}
    return lambda batch, mesh: put(batch, mesh) | on_devices


def reseeded(nets: Networks, rollbacks: int) -> Networks:
    """Returns networks whose steps draw the random numbers after so many rollbacks."""
    config = dataclasses.replace(nets.config, seed=draws.reseed(nets.config.seed, rollbacks))
    return dataclasses.replace(nets, config=config)


def check(config: Config, workdir: epath.PathLike) -> None:
    """Refuses configs that are valid but cannot be trained on these devices. Takes seconds and prepares no data.

    Args:
        config: validated.
        workdir: the folder of the run. With checkpoints in it `config.init` is no longer needed.

    Raises:
        ValueError, FileNotFoundError: a field, or what it names, does not fit.
    """
    if config.generator.label_dim or config.discriminator.label_dim:
        raise ValueError(
            "config.generator.label_dim and config.discriminator.label_dim must be 0: conditional networks are read "
            "and drawn with, but SD-GAN trains by its attributes; --config.init takes what fits of their weights"
        )
    if config.recipe == "joint" and config.intervals["f"] and config.fusion.removal:
        raise ValueError(
            "config.fusion.removal is true, but the recipe 'joint' only puts attributes on, so that the offsets for "
            "taking them off would stay random; set --config.fusion.removal=false, by which they are those of putting "
            "on, negated, or --config.recipe=staged"
        )
    devices = sharding.make_mesh(config.batch_size, fsdp=config.fsdp).size
    inputs.check_accumulation(config, devices)
    if config.recipe == "joint" or {"gan", "fusion"} & set(config.staged.stages):  # E is trained without D
        inputs.check_groups(config, devices)
    if config.init and not directories.has_checkpoints(epath.Path(workdir)):
        directories.check_model(directories.checkpoint_of(config.init)[0])
