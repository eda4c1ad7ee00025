"""Trains SD-GAN, or one of the networks that are used beside it, or resumes a run.

python -m experiments.train                                                     (the quickstart, on two CPU cores)
python -m experiments.train --config=experiments/configs/faces64.py --workdir=DIR
python -m experiments.train --config=experiments/configs/staged64.py --workdir=DIR      (the paper's recipe, in stages)
python -m experiments.train --config=experiments/configs/prnet64.py --workdir=DIR       (position maps)
python -m experiments.train --config=experiments/configs/identity64.py --workdir=DIR    (identity embeddings)
python -m experiments.train --config=experiments/configs/classifier64.py --workdir=DIR  (attributes)

The same command with the same workdir resumes a run. A run ends by measuring the model and printing where the
pictures, the checkpoint and the figures are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from absl import flags
from etils import epath
from ml_collections import config_flags

from experiments import launch, presets
from sdgan_jax import model, pretrained
from sdgan_jax.config import ClassifierConfig, Config, IdentityConfig, PRNetConfig
from sdgan_jax.data import stream
from sdgan_jax.evaluation import attributes, checkpoint_metrics, edit_report, edits, networks, report
from sdgan_jax.networks import Networks, make_networks
from sdgan_jax.photos import aligning
from sdgan_jax.pretrained import directories
from sdgan_jax.training import event_writers, sharding
from sdgan_jax.training import workdir as workdir_lib
from sdgan_jax.training.gan import recipe
from sdgan_jax.training.gan.run import Score
from sdgan_jax.training.networks import classifier, identity, prnet

CONFIG = presets.define_config()
WORKDIR = launch.define_path(
    "workdir", None, "folder of the run, local or remote (gs://…); runs/<preset> when it is not given"
)
JOIN_PROCESSES = launch.define_processes()
_PROFILED = 5  # steps that --profile traces
_EDITED = 18  # test persons whose edits are measured; `experiments.evaluate --benchmark=edits` takes more
EVALUATE = flags.DEFINE_bool(
    "evaluate",
    True,
    "score checkpoints by the Fréchet distance of attribute features (--config.metrics chooses other metrics, and is "
    "computed in any case), and measure the model at the end",
)


PROFILE = flags.DEFINE_bool(
    "profile",
    False,
    f"write a trace of {_PROFILED} steps, after compilation, to profile/ in the workdir; another number of steps by "
    "--config.profile_steps",
)


def main(argv: Sequence[str]) -> None:
    """Trains as the flags say, then measures."""
    del argv
    JOIN_PROCESSES()
    config: Any = CONFIG.value
    if PROFILE.value:
        config.profile_steps = config.profile_steps or _PROFILED
    preset = epath.Path(config_flags.get_config_filename(flags.FLAGS["config"])).stem
    workdir = epath.Path(WORKDIR.value or os.path.join("runs", preset))
    event_writers.check(config)
    workdir_lib.check_config(workdir, config)  # again when it is taken, but here before data are prepared
    if isinstance(config, Config):
        if not _learns_g(config) and "total_steps" in config_flags.get_override_values(flags.FLAGS["config"]):
            print(
                "note: config.total_steps is the number of steps of the stage 'gan', which config.staged.stages leaves "
                "out; those of the others are --config.staged.encoder_steps and --config.staged.fusion_steps",
                file=sys.stderr,
            )
        recipe.check(config, workdir)  # seconds, before minutes of aligning
        config = aligning.align_dataset(config)
    training = TRAININGS[type(config)]
    state = training.train(config, workdir)
    if jax.process_index():
        return
    folder = directories.checkpoint_of(workdir)[0]  # of the last stage, in the recipe `staged`
    newest = folder / directories.CHECKPOINTS / str(int(state.step))
    if (folder / "samples").exists():  # not without steps, where PRNet's stages alone are fitted
        print(f"Pictures:    {folder / 'samples'}")
        print(f"Checkpoint:  {newest if newest.exists() else folder}")
    training.conclude(workdir)


class Training(NamedTuple):
    """Functions for a kind of config: `train` trains it in a workdir, `conclude` prints the results."""

    train: Callable[[Any, epath.Path], Any]
    conclude: Callable[[epath.Path], None]


def train_gan(config: Config, workdir: epath.Path) -> Any:
    """Trains SD-GAN. What it needs is prepared first, so that mistakes show before the classifier is trained."""
    nets = make_networks(config)
    recipe.check(config, workdir)
    with sharding.first_process_first():  # a workdir with a mistake in its config.json would have to be given up
        stream.train_iterator(config).close()
    return recipe.train(nets, workdir, _make_score(nets) if _learns_g(config) else None)


def _make_score(nets: Networks) -> Score | None:
    """Makes the score of checkpoints that flags and config ask for; None for none."""
    reason = pretrained.attribute_refusal(nets.config.attributes)
    if EVALUATE.value and reason and jax.process_index() == 0:
        without = "" if nets.config.metrics else "checkpoints are not scored, unless by --config.metrics, and "
        print(f"note: {reason}: {without}the model is not measured at the end", file=sys.stderr)
    if nets.config.metrics:
        return checkpoint_metrics.make_measure(nets)
    return attributes.make_score(nets) if EVALUATE.value and not reason else None


def _learns_g(config: Config) -> bool:
    """Returns whether a training changes G; without it, `config.total_steps` has no meaning."""
    return config.recipe == "joint" or "gan" in config.staged.stages


def evaluate_gan(workdir: epath.Path) -> None:
    """Measures SD-GAN, and its edits where it has an encoder, and prints the tables."""
    if not EVALUATE.value:
        return
    trained, out = model.load(workdir), workdir / "evaluation"
    if pretrained.attribute_refusal(trained.config.attributes):  # `_make_score` said so
        return
    print(report.table(attributes.evaluate_model(trained, out)))
    if {"E", "F"} <= set(trained.params):
        print(edit_report.short_table(edits.evaluate_edits(trained, None, out, num_persons=_EDITED)))
        print(f"Before, after and the truth: {out / 'edits.png'}")
    print(f"Tables, JSON and sheets: {out}")


def train_network(
    train: Callable[..., Any], make_score: Callable[[Any], Callable[[Any], float]]
) -> Callable[[Any, epath.Path], Any]:
    """Makes the function that trains a network, scored by `make_score` of its config."""
    return lambda config, workdir: train(config, workdir, make_score(config) if EVALUATE.value else None)


def say_measured_by(flag: str) -> Callable[[epath.Path], None]:
    """Makes the function that prints how a network is measured."""
    return lambda workdir: print(
        f"Network:     {workdir}; measure it by `python -m experiments.measure --{flag}={workdir}`"
    )


def print_accuracy(workdir: epath.Path) -> None:
    """Prints the accuracy of an attribute classifier."""
    trained = pretrained.attribute_classifier(workdir)
    print(f"Network:     {workdir}; accuracy {trained.held_out_accuracy:.3f} on {trained.held_out_images} faces")


TRAININGS = {
    Config: Training(train_gan, evaluate_gan),
    PRNetConfig: Training(train_network(prnet.train, networks.make_position_score), say_measured_by("prnet")),
    IdentityConfig: Training(train_network(identity.train, networks.make_identity_score), say_measured_by("identity")),
    ClassifierConfig: Training(train_network(classifier.train, networks.make_classifier_score), print_accuracy),
}


if __name__ == "__main__":
    launch.run(main)
