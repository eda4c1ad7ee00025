"""Trains SD-GAN, or a network beside it, or resumes a run.

python -m experiments.train                                                     (the quickstart, on two CPU cores)
python -m experiments.train --config=experiments/configs/faces64.py --workdir=DIR
python -m experiments.train --config=experiments/configs/prnet64.py --workdir=DIR       (position maps)
python -m experiments.train --config=experiments/configs/identity64.py --workdir=DIR    (who a face is)

Run again with the same workdir, it goes on where it stopped. Ends by measuring the model and printing where the
pictures, the checkpoint and the figures are.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import jax
from absl import flags
from etils import epath
from ml_collections import config_flags

from experiments import launch, presets
from sdgan_jax import model
from sdgan_jax.config.networks import IdentityConfig, PRNetConfig
from sdgan_jax.evaluation import attributes, report
from sdgan_jax.networks import make_networks
from sdgan_jax.training import gan, sharding
from sdgan_jax.training import workdir as workdir_lib
from sdgan_jax.training.networks import identity, prnet

CONFIG = presets.define_config()
WORKDIR = launch.define_path(
    "workdir", None, "folder of the run, local or remote (gs://…); runs/<preset> when it is not given"
)
DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "join the other processes of a TPU pod or a GPU cluster, one command on every host"
)
COORDINATOR = flags.DEFINE_string(
    "coordinator",
    None,
    "host:port of the first process; means --distributed, as do the next two. TPU pods, Slurm and Kubernetes need none "
    "of the three",
)
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "how many processes there are", lower_bound=1)
PROCESS_ID = flags.DEFINE_integer("process_id", None, "which one this is, from 0", lower_bound=0)
_LONGEST_EVALUATION = 3600  # seconds
EVALUATE = flags.DEFINE_bool("evaluate", True, "score checkpoints, and measure the model at the end")


def main(argv: Sequence[str]) -> None:
    """Trains as the flags say, then measures."""
    del argv
    if DISTRIBUTED.value or any(flag.value is not None for flag in (COORDINATOR, NUM_PROCESSES, PROCESS_ID)):
        join_processes()
    launch.open_devices()
    config: Any = CONFIG.value
    preset = epath.Path(config_flags.get_config_filename(flags.FLAGS["config"])).stem
    workdir = epath.Path(WORKDIR.value or os.path.join("runs", preset))
    workdir_lib.check_config(workdir, config)  # again when it is taken, but here before data are prepared
    if isinstance(config, PRNetConfig):
        state: Any = prnet.train(config, workdir)
    elif isinstance(config, IdentityConfig):
        state = identity.train(config, workdir)
    else:
        nets = make_networks(config)
        state = gan.train(nets, workdir, attributes.make_score(nets) if EVALUATE.value else None)
    if jax.process_index():
        return
    print(f"Pictures:    {workdir / 'samples'}")
    print(f"Checkpoint:  {workdir / 'checkpoints' / str(int(state.step))}")
    if isinstance(config, PRNetConfig):
        print(f"Network:     {workdir}; measure it by `python -m experiments.measure --prnet={workdir}`")
    elif isinstance(config, IdentityConfig):
        print(f"Network:     {workdir}; measure it by `python -m experiments.measure --identity={workdir}`")
    elif EVALUATE.value:
        results = attributes.evaluate(model.load(workdir), workdir / "evaluation")
        print(report.table(results))
        print(f"Table, JSON and sheets: {workdir / 'evaluation'}")


def join_processes() -> None:
    """Makes one machine of all processes.

    Raises:
        ValueError: it is not known who the others are.
    """
    try:
        # The first process measures the model at the end, which the others wait for.
        jax.distributed.initialize(
            COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value, shutdown_timeout_seconds=_LONGEST_EVALUATION
        )
    except ValueError as error:
        raise ValueError(
            f"--distributed: {error} On a cluster that jax does not know, give --coordinator, --num_processes and "
            "--process_id"
        ) from error
    sharding.connect()


if __name__ == "__main__":
    launch.run(main)
