"""The two recipes: `joint`, the SD-GAN pseudo-code, and `staged`, the paper's."""

from __future__ import annotations

from etils import epath

from sdgan_jax.config import Config
from sdgan_jax.networks import Networks
from sdgan_jax.training.gan import run, staged
from sdgan_jax.training.gan.run import Score
from sdgan_jax.training.gan.state import State


def train(nets: Networks, workdir: epath.PathLike, score: Score | None = None) -> State:
    """Trains by the recipe of the config; arguments, result and errors as of `run.train` and `staged.train`."""
    return (staged if nets.config.recipe == "staged" else run).train(nets, workdir, score)


def check(config: Config, workdir: epath.PathLike) -> None:
    """Refuses configs that are valid but cannot be trained here; see `run.check` and `staged.check`."""
    (staged if config.recipe == "staged" else run).check(config, workdir)
