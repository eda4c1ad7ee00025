"""Hyperparameters of the runs that train one network by itself, on faces whose truth is known.

As in `config`: plain mutable dataclasses, validated once after the overrides, stored as JSON beside the checkpoints.
"""

from __future__ import annotations

import dataclasses
import re


@dataclasses.dataclass
class PRNetConfig:
    """PRNet, the position map regression network (Feng et al. 2018)."""

    dataset: str = "megn/rendered_64_n60000"
    data_dir: str = ""  # where prepared datasets live; "" is TFDS's own default
    resolution: int = 64  # of the pictures, and of the map
    channels: int = 16  # of the first convolution; each halving of the resolution doubles them

    batch_size: int = 16  # over all devices
    total_steps: int = 6000
    learning_rate: float = 1.5e-3  # of Adam: the peak, reached in a twentieth of the run; half a cosine to 0 from there
    seed: int = 0
    log_every: int = 100  # steps
    sample_every: int = 1000  # steps
    checkpoint_every: int = 1000  # steps
    keep_checkpoints: int = 1  # the newest ones; the best is kept beside them

    # Augmentation, each uniform between ± the value
    rotation: float = 30.0  # degrees
    scale: float = 0.2  # of the logarithm of the size
    shift: float = 0.08  # share of the side of the picture
    colour: float = 0.3  # of brightness and the logarithm of contrast; half of it of each colour
    occlusion: float = 0.5  # probability of a patch in front of the face


NetworkConfig = PRNetConfig


def validate(config: NetworkConfig) -> NetworkConfig:
    """Checks the fields against each other.

    Args:
        config: the config, after all overrides.

    Returns:
        The same config.

    Raises:
        ValueError: naming the field, its value, and what it may be.
    """
    for name in ("batch_size", "total_steps", "log_every", "sample_every", "checkpoint_every", "channels"):
        if getattr(config, name) < 1:
            raise ValueError(f"config.{name} is {getattr(config, name)}; it must be at least 1")
    if config.resolution not in (64, 128, 256):
        raise ValueError(f"config.resolution is {config.resolution}; it must be 64, 128 or 256")
    named = re.fullmatch(r"megn/rendered_(\d+)(_n\d+)?", config.dataset)
    if not named:
        raise ValueError(f"config.dataset is {config.dataset!r}; only rendered faces have the truth: megn/rendered_<R>")
    if int(named[1]) != config.resolution:
        raise ValueError(
            f"config.dataset is {config.dataset!r} but config.resolution is {config.resolution}; set both to the same"
        )
    return config
