"""The PyTorch StyleGAN2 that the benchmark measures beside this project; PyTorch is imported on request only."""

from __future__ import annotations

import jax

from sdgan_jax.benchmark import measurement
from sdgan_jax.config import Config
from tfds_megn import workers


def make_torch(config: Config) -> measurement.Peer:
    """Returns the fastest of the PyTorch forms, on the cores that this process may use.

    Raises:
        ValueError: the backend is not the CPU, PyTorch is missing, or the config has settings that the peer lacks.
    """
    if jax.default_backend() != "cpu":
        raise ValueError("--torch compares on CPU; start with JAX_PLATFORMS=cpu")
    try:
        from experiments.torch_stylegan2 import training
    except ModuleNotFoundError as error:
        raise ValueError(f"--torch needs PyTorch ({error}): pip install -e '.[convert]'") from error
    training.check(config)
    return training.fastest(config, workers.available_cores())
