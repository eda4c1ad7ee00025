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
    total_steps: int = 7500
    learning_rate: float = 6e-3  # of Muon: the peak, reached in a twentieth of the run; half a cosine to 0 from there
    settle: float = 0.5  # share of the run, at its end, in which the averages of batch normalisation are used, and kept
    stages: int = 3  # of supervised descent, fitted after the last step; 0 for none
    stage_faces: int = 24000  # that a stage is fitted to
    components: int = 48  # of a stage's corrections
    ridge: float = 0.5  # of their regression on standardised features, per face
    seed: int = 0
    log_every: int = 100  # steps
    sample_every: int = 1000  # steps
    checkpoint_every: int = 1000  # steps
    keep_checkpoints: int = 1  # the newest ones; the best is kept beside them

    # Augmentation, each uniform between ± the value
    rotation: float = 15.0  # degrees
    scale: float = 0.12  # of the logarithm of the size
    shift: float = 0.06  # share of the side of the picture
    colour: float = 0.25  # of brightness and the logarithm of contrast; half of it of each colour
    occlusion: float = 0.3  # probability of a patch in front of the face


@dataclasses.dataclass
class IdentityConfig:
    """The identity network: ArcFace's IR-SE, small (Deng et al. 2019)."""

    dataset: str = "megn/rendered_64_n60000"
    data_dir: str = ""
    resolution: int = 64  # of the faces
    blocks: tuple[int, ...] = (1, 1, 1, 1)  # residual blocks of each stage; a stage halves the resolution
    widths: tuple[int, ...] = (8, 24, 64, 128)  # channels of each stage
    embedding_dim: int = 128
    dropout: float = 0.0  # of the last map

    margin: float = 0.3  # radians added to the angle between a face and its person
    logit_scale: float = 32.0
    batch_size: int = 64  # over all devices
    total_steps: int = 4500
    learning_rate: float = 6e-3  # of Muon: the peak, reached in a twentieth of the run; half a cosine to 0 from there
    weight_decay: float = 1e-2
    seed: int = 0
    log_every: int = 100  # steps
    sample_every: int = 500  # steps
    checkpoint_every: int = 500  # steps
    keep_checkpoints: int = 1  # the newest ones; the best is kept beside them

    # Augmentation, as PRNet's
    rotation: float = 5.0
    scale: float = 0.08
    shift: float = 0.04
    colour: float = 0.15
    occlusion: float = 0.3


NetworkConfig = PRNetConfig | IdentityConfig


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
        if getattr(config, name, 1) < 1:
            raise ValueError(f"config.{name} is {getattr(config, name)}; it must be at least 1")
    if config.resolution not in (64, 128, 256):
        raise ValueError(f"config.resolution is {config.resolution}; it must be 64, 128 or 256")
    if isinstance(config, IdentityConfig) and not 0 < len(config.blocks) == len(config.widths) <= 6:
        raise ValueError(
            f"config.blocks is {config.blocks} and config.widths {config.widths}; give both for 1 to 6 stages"
        )
    if isinstance(config, PRNetConfig):
        _validate_prnet(config)
    named = re.fullmatch(r"megn/rendered_(\d+)(_n\d+)?", config.dataset)
    if not named:
        raise ValueError(f"config.dataset is {config.dataset!r}; only rendered faces have the truth: megn/rendered_<R>")
    if int(named[1]) != config.resolution:
        raise ValueError(
            f"config.dataset is {config.dataset!r} but config.resolution is {config.resolution}; set both to the same"
        )
    return config


def _validate_prnet(config: PRNetConfig) -> None:
    """Checks the fields that only PRNet has."""
    if not 0 <= config.settle <= 1:
        raise ValueError(f"config.settle is {config.settle}; it is a share of the run, from 0 to 1")
    if config.stages < 0:
        raise ValueError(f"config.stages is {config.stages}; it must be at least 0")
    for name in ("stage_faces", "components"):
        if getattr(config, name) < 1:
            raise ValueError(f"config.{name} is {getattr(config, name)}; it must be at least 1")
    if not config.ridge > 0:
        raise ValueError(f"config.ridge is {config.ridge}; it must be above 0")
