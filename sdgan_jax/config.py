"""Every hyperparameter of a run, with its default and the checks that cross fields.

A config is a plain mutable dataclass tree so that presets (`experiments/configs/*.py`) and command-line overrides
(`--config.losses.r1=1.0`) can change any field. `validate` is called once, after the overrides; nothing is changed
afterwards. The config is stored as JSON beside the checkpoints, which is how a workdir is opened without its command.
"""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

LATENT_SPACES = ("z", "w")
SOURCES = ("data", "latent")
ATTRIBUTE_KINDS = ("softmax", "sigmoid")


@dataclasses.dataclass
class GeneratorConfig:
    """StyleGAN2 generator, config-f by default (Karras et al. 2020)."""

    latent_dim: int = 512  # size of z and of w
    mapping_layers: int = 8
    mapping_lr_mul: float = 0.01  # learning-rate multiplier of the mapping network
    channel_base: int = 32768  # a layer at resolution r has min(channel_base / r, channel_max) channels
    channel_max: int = 512


@dataclasses.dataclass
class DiscriminatorConfig:
    """StyleGAN2 residual discriminator with an attribute head."""

    channel_base: int = 32768
    channel_max: int = 512
    mbstd_group: int = 4  # samples a group of the minibatch standard deviation


@dataclasses.dataclass
class FusionConfig:
    """Fusion network F: image and attribute to the offset of the latent."""

    channel_base: int = 4096  # of the image encoder, same rule as the generator's
    channel_max: int = 512
    embedding_dim: int = 128  # of the attribute
    hidden_dim: int = 512  # of the regressor


@dataclasses.dataclass
class AdamConfig:
    """Adam; the defaults are the settings of the SD-GAN pseudo-code."""

    learning_rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    epsilon: float = 1e-8


@dataclasses.dataclass
class LossConfig:
    """Weights of the loss terms; the defaults are the SD-GAN pseudo-code, which knows no regularisation."""

    attribute_kind: str = "softmax"  # "softmax" for one attribute a face, "sigmoid" for photos that carry several
    adversarial: float = 1.0
    attribute_g: float = 1.0
    attribute_d_real: float = 1.0
    attribute_d_fake: float = 1.0
    identity: float = 1.0
    reconstruction: float = 1.0
    edit_attribute: float = 0.0  # on X_rec, for F: cross-entropy of D's attribute head
    edit_adversarial: float = 0.0  # on X_rec, for F: non-saturating loss of D
    r1: float = 0.0  # gamma of gamma / 2 * |dD/dx|^2; 0 switches R1 off
    r1_every: int = 16  # steps from one R1 update to the next (lazy regularisation)


@dataclasses.dataclass
class Config:
    """One run: data, networks, recipe, optimisers, and what is written when."""

    # Data
    dataset: str = "megn/rendered_256"  # a TFDS name
    data_dir: str = ""  # where prepared datasets live; "" is TFDS's own default
    manual_dir: str = ""  # where the photos lie, for megn/photos_*
    resolution: int = 256
    attributes: tuple[str, ...] = ("none", "mask", "eyeglasses", "sunglasses", "beard", "mustache")

    # The run
    batch_size: int = 16  # images of one step, over all devices and processes
    total_steps: int = 50_000
    seed: int = 0
    init: str = ""  # a model directory whose weights the run starts from
    log_every: int = 100  # steps
    sample_every: int = 100  # steps
    checkpoint_every: int = 1000  # steps
    keep_checkpoints: int = 3  # the newest ones; the best is kept beside them
    data_workers: int = 0  # processes that decode images; 0 decodes in threads of this one

    # Networks
    generator: GeneratorConfig = dataclasses.field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = dataclasses.field(default_factory=DiscriminatorConfig)
    fusion: FusionConfig = dataclasses.field(default_factory=FusionConfig)

    # The decomposition: latent + strength * (B[y] + O)
    latent_space: str = "z"  # where B and O are added: "z" (the seed), or "w" with an own offset for each layer
    basis_length: float = 1.0  # length of each basis direction (the seed: unit length)
    source: str = "data"  # the face that X_hat and X_rec are held against: "data" = X of the batch (the seed),
    # "latent" = G(latent), the same latent without an attribute (stage 3 of the paper)

    # Learning
    losses: LossConfig = dataclasses.field(default_factory=LossConfig)
    adam_g: AdamConfig = dataclasses.field(default_factory=AdamConfig)
    adam_d: AdamConfig = dataclasses.field(default_factory=AdamConfig)
    adam_f: AdamConfig = dataclasses.field(default_factory=AdamConfig)
    fusion_every: int = 1  # steps from one update of F to the next
    ema_kimg: float = 10.0  # half-life of G's moving average, in thousands of images
    ema_rampup: float = 0.05  # the half-life is at most this share of the images seen
    w_avg_beta: float = 0.995  # decay of the moving average of w

    @property
    def num_layers(self) -> int:
        """Synthesis layers, L = 2 log2(resolution) - 2."""
        return 2 * (self.resolution.bit_length() - 1) - 2

    @property
    def num_attributes(self) -> int:
        """Attributes, `none` among them."""
        return len(self.attributes)


def validate(config: Config) -> Config:
    """Checks the fields against each other.

    Args:
        config: the config, after all overrides.

    Returns:
        The same config.

    Raises:
        ValueError: naming the field, its value, and what it may be.
    """
    resolution = config.resolution
    if resolution < 8 or resolution > 1024 or resolution & (resolution - 1):
        raise ValueError(f"config.resolution is {resolution}; it must be a power of two from 8 to 1024")
    named = re.search(r"_(\d+)(?::|$)", config.dataset)
    if named and int(named.group(1)) != resolution:
        raise ValueError(
            f"config.dataset is {config.dataset!r} but config.resolution is {resolution}; "
            f"set both to the same size, e.g. --config.resolution={named.group(1)}"
        )
    for name in (
        "batch_size",
        "total_steps",
        "log_every",
        "sample_every",
        "checkpoint_every",
        "fusion_every",
    ):
        if getattr(config, name) < 1:
            raise ValueError(f"config.{name} is {getattr(config, name)}; it must be at least 1")
    for name, value, known in (
        ("latent_space", config.latent_space, LATENT_SPACES),
        ("source", config.source, SOURCES),
        ("losses.attribute_kind", config.losses.attribute_kind, ATTRIBUTE_KINDS),
    ):
        if value not in known:
            raise ValueError(f"config.{name} is {value!r}; it must be one of {', '.join(known)}")
    if config.attributes[:1] != ("none",):
        raise ValueError(f"config.attributes is {config.attributes}; the first must be 'none'")
    if config.losses.r1 < 0 or config.losses.r1_every < 1:
        raise ValueError("config.losses.r1 must be at least 0 and config.losses.r1_every at least 1")
    return config


def to_json(config: Config) -> str:
    """Returns the config as indented JSON."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def from_json(text: str) -> Config:
    """Reads what `to_json` wrote.

    Raises:
        ValueError: when the text is not a config of this program, naming the field.
    """
    try:
        return validate(_build(Config, json.loads(text), "config"))
    except json.JSONDecodeError as error:
        raise ValueError(f"not a config: {error}") from error


def _build(kind: type, values: dict[str, Any], path: str) -> Any:
    """Makes the dataclass `kind` from a dict of its fields, nested dataclasses included."""
    default = kind()
    known = {field.name for field in dataclasses.fields(kind)}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{path}.{name} is unknown; it was written by another version of this program")
        current = getattr(default, name)
        if dataclasses.is_dataclass(current):
            value = _build(type(current), value, f"{path}.{name}")
        elif isinstance(current, tuple):
            value = tuple(value)
        setattr(default, name, value)
    return default
