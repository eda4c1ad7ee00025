"""The `staged` recipe, that of the paper: G and D; the encoder E; the prior basis B; the fusion network F.

Every stage is a training of its own, in a folder of its name in the workdir, that starts from the model of the stage
before it (the first one from `config.init`), and only changes what it learns:

    gan      G and D, on faces with and without attributes: the `joint` recipe without F
    encoder  E, from a face to its latents; G is frozen
    basis    B, estimated from latents of G or of E
    fusion   F: G(w + B[y] + F(X, y)) resembles the face X with the attribute y; G, D, E and B are frozen
"""

from __future__ import annotations

import dataclasses
import itertools
import shlex
from typing import Any

from etils import epath

from sdgan_jax import pretrained
from sdgan_jax.config import STAGES, Config
from sdgan_jax.nets.layers import channels_at
from sdgan_jax.networks import Networks
from sdgan_jax.pretrained import directories
from sdgan_jax.training import workdir as workdir_lib
from sdgan_jax.training.gan import basis, encoder_step, fusion_step, run, targets, weights
from sdgan_jax.training.gan.run import Score
from sdgan_jax.training.gan.state import State

OF_GAN: dict[str, Any] = {"recipe": "joint", "fusion_every": 0}  # what the config of the stage `gan` has
_WIDTHS = {"channel_base", "channel_max", "channels"}
_NO_SHAPES = {"low_precision_blocks", "conv_clamp", "remat", "mbstd_group"}  # may differ from those of a frozen network
_TRAINERS = {"encoder": encoder_step.train, "basis": basis.train, "fusion": fusion_step.train}


def train(nets: Networks, workdir: epath.PathLike, score: Score | None = None) -> State:
    """Runs the stages that `config.staged.stages` names; a stage that has been finished is not run again.

    Args:
        nets: the networks of a validated config whose recipe is `staged`.
        workdir: local or remote directory; made when it is not there. It is a model directory from its first stage on:
            that of the last stage with a model.
        score: judges the checkpoints of the stage `gan`; as in `run.train`.

    Returns:
        The state after the last stage.

    Raises:
        FloatingPointError, KeyboardInterrupt, ValueError, FileNotFoundError: as `run.train`.
    """
    config, folder = nets.config, epath.Path(workdir)
    check(config, folder)
    _check_steps(config, folder)
    workdir_lib.save_config(folder, config)
    model, state = config.init, None
    for stage in config.staged.stages:
        print(f"Stage {stage}: {folder / stage}")
        encoder = None if stage == "gan" else nets.encoder  # no model shall contain an E that has not been trained
        of_stage = dataclasses.replace(nets, config=stage_config(config, stage, model, folder), encoder=encoder)
        if stage == "gan":
            state = run.train(of_stage, folder / stage, score)
        else:
            state = _TRAINERS[stage](of_stage, folder / stage)
        model = str(folder / stage)
    assert state is not None  # `check` refuses a config without stages
    return state


def _check_steps(config: Config, workdir: epath.Path) -> None:
    """Refuses to train a stage further whose model a later stage has already started from."""
    for stage, after in itertools.pairwise(config.staged.stages):
        if all((workdir / name / directories.CONFIG).exists() for name in (stage, after)):
            done = workdir_lib.load_config(workdir / stage, Config).total_steps
            wanted = stage_config(config, stage, "", workdir).total_steps
            if stage != "basis" and wanted != done:
                raise ValueError(
                    f"the stage {stage} would end at step {wanted}, but {after} has started from its model of step "
                    f"{done}; give the old number of steps, or another --workdir with --config.init={workdir / stage}"
                )


def stage_config(config: Config, stage: str, model: str, workdir: epath.Path) -> Config:
    """Returns the config of a stage.

    Args:
        config: config of all stages.
        stage: name of the stage.
        model: the model directory that the stage starts from, "" for none. The length of the basis is that of this
            model, where its basis is taken.
        workdir: the folder of all stages. A stage that has been started keeps its length of the basis.
    """
    steps = {"encoder": config.staged.encoder_steps, "fusion": config.staged.fusion_steps}
    changes: dict[str, Any] = {"init": model, "total_steps": steps.get(stage, config.total_steps)}
    started = workdir / stage
    before = started if (started / directories.CONFIG).exists() else directories.checkpoint_of(model)[0]
    if model and stage != "basis":
        source = workdir_lib.load_config(before, Config)
        if weights.shared_rows(config, source):
            changes["basis_length"] = source.basis_length
    if stage == "gan":
        changes |= OF_GAN
    return dataclasses.replace(config, **changes, staged=dataclasses.replace(config.staged, stages=(stage,)))


def check(config: Config, workdir: epath.PathLike) -> None:
    """Refuses configs whose stages lack what they start from. Takes seconds and prepares no data.

    Args:
        config: validated.
        workdir: the folder of the run.

    Raises:
        ValueError, FileNotFoundError: a field, or what it names, does not fit.
    """
    first = config.staged.stages[0]
    if first != "gan" and not config.init:
        before = STAGES[: STAGES.index(first)]
        raise ValueError(
            f"config.staged.stages starts with {first!r}, which needs the model of the stages before it "
            f"({', '.join(before)}); set --config.init=DIR to a model directory"
        )
    if config.num_attributes < 2:
        raise ValueError("config.attributes is ('none',); the recipe `staged` needs attributes; leave the field out")
    for stage in ("encoder", "fusion"):
        if stage in config.staged.stages and not getattr(config.staged, f"{stage}_steps"):
            raise ValueError(
                f"config.staged.{stage}_steps is 0, by which the stage {stage!r} makes no model; set more, or "
                "leave the stage out of config.staged.stages"
            )
    if "basis" in config.staged.stages:
        basis.check_config(config)
    if "fusion" in config.staged.stages:
        targets.check(config)
        if config.fusion.position_network or config.losses.identity_network:  # read to see whether they are there
            pretrained.perceptual_network(config.fusion.position_network, config.losses.identity_network)
    run.check(config, epath.Path(workdir) / first)
    _check_networks(config, epath.Path(workdir) / first)


def _check_networks(config: Config, started: epath.Path) -> None:
    """Refuses stages that need a network that no stage before them trains, and the model that they start from lacks.

    Args:
        config: see `check`.
        started: the folder of the first stage.

    Raises:
        ValueError: there is such a stage; the message says what to change.
    """
    stages, edit = config.staged.stages, config.staged.edit_losses
    paired = "basis" in stages and config.staged.basis == "paired"
    needs_e = "encoder" not in stages and (paired or "fusion" in stages)
    needs_d = "gan" not in stages and "fusion" in stages and bool(edit.attribute or edit.adversarial)
    frozen = {"generator": "gan" not in stages, "discriminator": needs_d, "encoder": needs_e}
    if not any(frozen.values()):
        return
    held = {"params_d"}
    if "gan" not in stages:
        held = weights.held_fields(started if directories.has_checkpoints(started) else config.init)
    if needs_e and "params_e" not in held:
        who = "the estimator 'paired' (config.staged.basis)" if paired else "the stage 'fusion'"
        origin = "the stage 'gan' leaves out" if "gan" in stages else f"{config.init} lacks"
        other = " or choose another estimator" if paired and "fusion" not in stages else ""
        raise ValueError(
            f"{who} needs an encoder, which {origin}; add 'encoder' to config.staged.stages, which are "
            f"{', '.join(stages)}{',' + other if other else ''}"
        )
    if needs_d and "params_d" not in held:
        raise ValueError(
            f"the stage 'fusion' needs a discriminator, which {config.init} lacks; give another --config.init, or set "
            "--config.staged.edit_losses.attribute=0 and --config.staged.edit_losses.adversarial=0"
        )
    if "gan" not in stages and not directories.has_checkpoints(started):
        model = workdir_lib.load_config(directories.checkpoint_of(config.init)[0], Config)
        _check_fit(config, model, [name for name, is_frozen in frozen.items() if is_frozen])


def _check_fit(config: Config, model: Config, frozen: list[str]) -> None:
    """Refuses a model whose frozen networks do not fit: layers of other sizes would stay at their random start.

    Args:
        config: see `check`; without the stage `gan`.
        model: config of the model that the stages start from.
        frozen: names of the fields of `Config` whose networks no stage trains.

    Raises:
        ValueError: a network does not fit; the message names the flags by which it does.
    """
    drawn = ("resolution", "face_crop")  # of what G draws
    changes = {field: getattr(model, field) for field in drawn if getattr(config, field) != getattr(model, field)}
    shared = min(config.resolution, model.resolution)
    for name in frozen:
        ours, theirs = (dataclasses.asdict(getattr(settings, name)) for settings in (config, model))
        alike = _widths(getattr(config, name), shared) == _widths(getattr(model, name), shared)
        skipped = _NO_SHAPES | (_WIDTHS if alike else set())
        changes |= {f"{name}.{field}": theirs[field] for field in ours.keys() - skipped if ours[field] != theirs[field]}
    if "basis" in config.staged.stages and config.staged.basis == "random":
        if set(config.attributes[1:]) - set(weights.shared_rows(config, model)):
            changes["staged.basis"] = "paired"  # G has learned no random directions of these attributes
    if "discriminator" in frozen and config.staged.edit_losses.attribute:
        if set(config.attributes) - set(model.attributes):
            changes["staged.edit_losses.attribute"] = 0
    if changes:
        flags = " ".join(f"--config.{field}={shlex.quote(str(value))}" for field, value in sorted(changes.items()))
        raise ValueError(
            f"config.staged.stages does not train the {', '.join(frozen)} of {config.init}, which this config does not "
            f"fit; set {flags}, or add the stages that do"
        )


def _widths(network: Any, largest: int) -> list[int]:
    """Returns the channels of a part of `Config` at 4, 8, … `largest` pixels; none for the encoder."""
    if not hasattr(network, "channel_base"):
        return []
    sizes = [4 << stage for stage in range(largest.bit_length() - 2)]
    return [channels_at(size, network.channel_base, network.channel_max, network.channels) for size in sizes]
