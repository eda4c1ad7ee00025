"""Hyperparameters of the position network, the identity network and the attribute classifier.

Each is trained by itself on rendered faces. As in `config.gan`: plain mutable dataclasses, validated once after the
overrides, stored as JSON beside the checkpoints.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from sdgan_jax.config import ranges
from sdgan_jax.config.ranges import Count, Natural, NonNegative, Path, Positive, Range, Seed, Share
from tfds_megn import names


@dataclasses.dataclass
class PRNetConfig:
    """PRNet, the position map regression network (Feng et al. 2018)."""

    dataset: str = "megn/rendered_64_n60000"
    data_dir: Path = ""  # where prepared datasets live; "" is TFDS's own default
    resolution: Literal[64, 128, 256] = 64  # side of the images and of the map
    channels: Count = 16  # channels of the first convolution; each halving of the resolution doubles them
    init: Path = ""  # position network directory that the run starts from; only a run without steps keeps its stages

    batch_size: Count = 16  # over all devices
    total_steps: Natural = 7500  # 0: only stages are fitted, after those of `init`
    learning_rate: NonNegative = 6e-3  # Muon's peak rate, after a twentieth of the run; then half a cosine to 0
    settle: Share = 0.5  # share of the run, at its end, in which batch normalisation uses its averages, which stay
    stages: Natural = 3  # stages of supervised descent, fitted after the last step; 0 for none
    stage_faces: Count = 24000  # faces that a stage is fitted to
    components: Count = 48  # principal components of a stage's corrections
    ridge: Positive = 0.5  # ridge penalty of the regression on standardised features, per face
    threshold: Share = 0.0125  # largest score of a face that the network finds in a photo, see `face3d/finding.py`
    seed: Seed = 0
    log_every: Count = 100  # steps
    sample_every: Count = 1000  # steps
    checkpoint_every: Count = 1000  # steps
    keep_checkpoints: Count = 1  # the newest ones; the best is kept beside them
    profile_steps: Natural = 0  # steps that are traced into `profile/` of the workdir at each start; see --profile
    wandb: str = ""  # project of Weights & Biases that the output also goes to; "" for none

    # Augmentation, each uniform between ± the value
    rotation: Annotated[float, Range(0, 180)] = 15.0  # degrees
    scale: NonNegative = 0.12  # logarithm of the size
    shift: Share = 0.06  # share of the side of the image
    colour: NonNegative = 0.25  # brightness and logarithm of contrast; half as much for each colour channel
    occlusion: Share = 0.3  # probability of a patch in front of the face
    photo: Share = 0.0  # probability of each kind of blur, tone, noise and compression, see `degradation`


@dataclasses.dataclass
class IdentityConfig:
    """The identity network: ArcFace's IR-SE, small (Deng et al. 2019)."""

    dataset: str = "megn/rendered_64_n60000"
    data_dir: Path = ""
    resolution: Literal[64, 128, 256] = 64  # side of the images
    blocks: tuple[Count, ...] = (1, 1, 1, 1)  # residual blocks of each stage; a stage halves the resolution
    widths: tuple[Count, ...] = (8, 24, 64, 128)  # channels of each stage
    embedding_dim: Count = 128

    margin: Annotated[float, Range(0, 3)] = 0.3  # radians added to the angle between a face and its person
    logit_scale: Positive = 32.0
    batch_size: Count = 64  # over all devices
    total_steps: Count = 4500
    learning_rate: NonNegative = 6e-3  # Muon's peak rate, after a twentieth of the run; then half a cosine to 0
    weight_decay: NonNegative = 1e-2
    seed: Seed = 0
    log_every: Count = 100  # steps
    sample_every: Count = 500  # steps
    checkpoint_every: Count = 500  # steps
    keep_checkpoints: Count = 1  # the newest ones; the best is kept beside them
    profile_steps: Natural = 0  # steps that are traced into `profile/` of the workdir at each start; see --profile
    wandb: str = ""  # project of Weights & Biases that the output also goes to; "" for none

    # Augmentation, as in PRNetConfig
    rotation: Annotated[float, Range(0, 180)] = 5.0
    scale: NonNegative = 0.08
    shift: Share = 0.04
    colour: NonNegative = 0.15
    occlusion: Share = 0.3


@dataclasses.dataclass
class ClassifierConfig:
    """The attribute classifier that generated images are judged by."""

    dataset: str = "megn/rendered_64_n60000"
    data_dir: Path = ""
    resolution: Literal[32, 64, 128, 256] = 64  # side of the images

    batch_size: Count = 32  # over all devices
    total_steps: Count = 3000
    learning_rate: NonNegative = 6e-3  # Muon's peak rate, after a twentieth of the run; then half a cosine to 0
    weight_decay: NonNegative = 1e-2
    label_smoothing: Share = 0.05
    face_weight: NonNegative = 0.2  # weight of the regression of the renderer's parameters from the features
    seed: Seed = 0
    log_every: Count = 100  # steps
    sample_every: Count = 500  # steps
    checkpoint_every: Count = 500  # steps
    keep_checkpoints: Count = 1  # the newest ones; the best is kept beside them
    profile_steps: Natural = 0  # steps that are traced into `profile/` of the workdir at each start; see --profile
    wandb: str = ""  # project of Weights & Biases that the output also goes to; "" for none

    # Augmentation
    shift: Share = 1 / 32  # share of the side of the image, in whole pixels
    colour: NonNegative = 0.15  # as in PRNetConfig


NetworkConfig = PRNetConfig | IdentityConfig | ClassifierConfig


def validate(config: NetworkConfig) -> NetworkConfig:
    """Checks the fields against each other.

    Args:
        config: the config, after all overrides.

    Returns:
        The same config.

    Raises:
        ValueError: naming the field, its value, and what it may be.
    """
    ranges.check(config)
    if isinstance(config, IdentityConfig) and not 0 < len(config.blocks) == len(config.widths) <= 6:
        raise ValueError(
            f"config.blocks is {config.blocks} and config.widths {config.widths}; give both for 1 to 6 stages"
        )
    if isinstance(config, PRNetConfig) and not config.total_steps and not config.init:
        raise ValueError("config.total_steps is 0; give the network to fit stages to by config.init")
    name = names.parse(config.dataset)
    if name is None or name.source not in names.DRAWN:
        known = ", ".join(f"megn/{source}_<R>" for source in names.DRAWN)
        raise ValueError(f"config.dataset is {config.dataset!r}; only drawn faces have the truth: {known}")
    if name.resolution != config.resolution:
        raise ValueError(
            f"config.dataset is {config.dataset!r} but config.resolution is {config.resolution}; set both to the same"
        )
    return config
