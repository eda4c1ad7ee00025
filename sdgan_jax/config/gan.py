"""Hyperparameters of a GAN, with their defaults and the checks across fields.

A config is a plain mutable dataclass tree so that presets (`experiments/configs/*.py`) and command-line overrides
(`--config.losses.r1=1.0`) can change any field. `validate` is called once, after the overrides; no field changes
afterwards. The config is stored as JSON beside the checkpoints, so that a workdir can be opened without its command.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal, get_args

from sdgan_jax.config import ranges
from sdgan_jax.config.ranges import BelowOne, Count, Natural, NonNegative, Path, Positive, Range, Seed, Share
from tfds_megn import names

STAGES = ("gan", "encoder", "basis", "fusion")  # of the recipe `staged`
Estimator = Literal["random", "means", "svm", "svm_conditional", "paired"]  # of the basis
ESTIMATORS: tuple[str, ...] = get_args(Estimator)


@dataclasses.dataclass
class GeneratorConfig:
    """StyleGAN2 generator, config-f by default (Karras et al. 2020)."""

    latent_dim: Count = 512  # size of z and of w
    mapping_layers: Annotated[int, Range(1, 64)] = 8
    mapping_lr_mul: Positive = 0.01  # learning-rate multiplier of the mapping network
    channel_base: Count = 32768  # a layer at resolution r has min(channel_base / r, channel_max) channels
    channel_max: Count = 512
    channels: tuple[Count, ...] = ()  # channels at 4, 8, 16, ... where imported weights follow no such rule
    label_dim: Natural = 0  # classes of an imported conditional network, whose label enters the mapping network
    style: Literal["modulation", "adain"] = "modulation"  # injection of w; "adain" as in the pseudo-code
    low_precision_blocks: Natural = 0  # number of the highest resolutions that are computed in bfloat16
    conv_clamp: NonNegative = 0.0  # largest magnitude of activations, 0 for no limit; 256 with low precision
    remat: bool = False  # stores the input of each layer alone and recomputes the rest in the backward pass


@dataclasses.dataclass
class DiscriminatorConfig:
    """StyleGAN2 residual discriminator with an attribute head."""

    channel_base: Count = 32768
    channel_max: Count = 512
    channels: tuple[Count, ...] = ()
    mbstd_group: Count = 4  # samples in a group of the minibatch standard deviation
    label_dim: Natural = 0  # classes of an imported conditional network, whose label is projected on the last layer
    multi_scale: Literal["", "simple", "lin_cat", "cat_lin"] = ""  # combines G's RGB of each resolution (MSG-GAN)
    feature_heads: Natural = 0  # channels of heads on features of the project's position and identity networks; 0: none
    low_precision_blocks: Natural = 0
    conv_clamp: NonNegative = 0.0
    remat: bool = False


@dataclasses.dataclass
class FusionConfig:
    """Fusion network F, which maps face, 3D shape and attribute to an offset of the latent."""

    width: Count = 64  # channels in the first stage of the trunks; each later stage has twice as many
    width_max: Count = 512
    blocks: Annotated[int, Range(1, 64)] = 2  # residual blocks in a stage
    kernel: Literal[1, 3, 5, 7] = 5  # kernel size of the convolutions that fuse
    semantic: Literal["label", "template"] = "label"  # input for an attribute: a learned map, or an image
    use_3d: bool = False  # also modulates by codes of regions of the face's 3D maps
    position_network: Path = ""  # directory of the frozen PRNet of these maps; "" for the project's own
    spade: bool = True  # fuses by SPADE and ACE; else by a convolution of the concatenated features
    removal: bool = False  # separate offsets for taking an attribute off (`staged`); else those of putting on, negated


@dataclasses.dataclass
class EncoderConfig:
    """Encoder E from a face to its latents w+, trained in the second stage of the `staged` recipe."""

    width: Count = 64  # channels in the first stage of the trunk; each later stage has twice as many
    width_max: Count = 128
    blocks: Annotated[int, Range(1, 64)] = 1  # residual blocks in a stage
    hidden: Count = 384  # size of the layer between trunk and latents
    rank: Count = 32  # rank of each layer's difference from the w that all layers share


@dataclasses.dataclass
class AdamConfig:
    """Adam; the defaults are those of the SD-GAN pseudo-code."""

    learning_rate: NonNegative = 2e-4
    beta1: BelowOne = 0.5
    beta2: BelowOne = 0.999
    epsilon: Positive = 1e-8


@dataclasses.dataclass
class LossConfig:
    """Weights of the loss terms; the defaults are those of the SD-GAN pseudo-code, without regularisation."""

    attribute_kind: Literal["softmax", "sigmoid"] = "softmax"  # "sigmoid" for faces with several attributes
    adversarial_kind: Literal["logistic", "hinge"] = "logistic"  # "logistic" is the non-saturating loss
    adversarial: NonNegative = 1.0
    attribute_g: NonNegative = 1.0
    attribute_d_real: NonNegative = 1.0
    attribute_d_fake: NonNegative = 1.0
    identity: NonNegative = 1.0
    identity_of: Literal["pixels", "embeddings"] = "pixels"  # compares pixels, or embeddings by the identity network
    identity_network: Path = ""  # directory of the frozen identity network; "" for the project's own
    reconstruction: NonNegative = 1.0
    edit_attribute: NonNegative = 0.0  # on X_rec, for F: cross-entropy of D's attribute head
    edit_adversarial: NonNegative = 0.0  # on X_rec, for F: non-saturating loss of D
    r1: NonNegative = 0.0  # gamma in gamma / 2 * |dD/dx|^2; 0 switches R1 off
    r1_every: Count = 16  # steps from one R1 update to the next (lazy regularisation)
    path_length: NonNegative = 0.0  # weight of the path length penalty on G (StyleGAN2: 2); 0 switches it off
    path_length_every: Count = 4  # steps from one path length update to the next
    path_length_decay: Share = 0.01  # share of this batch in the moving average of the path length


@dataclasses.dataclass
class AugmentConfig:
    """Adaptive discriminator augmentation (Karras et al. 2020, "Training GANs with Limited Data")."""

    pipeline: Literal["none", "bgc"] = "none"  # "bgc": flips, quarter turns, geometry and colour, for all inputs of D
    follows: Literal["r_t", "r_v"] = "r_t"  # the measure of overfitting; "r_v" needs a validation split
    target: Annotated[float, Range(-1, 1)] = 0.6  # target of r_t = E[sign D(real)]: above it p grows, below it p falls
    target_r_v: Share = 0.2  # target of r_v, see `training/gan/overfitting.py`
    kimg: Positive = 500.0  # thousands of images in which p can go from 0 to 1
    every: Count = 4  # steps from one change of p to the next


@dataclasses.dataclass
class EncoderLossConfig:
    """Weights of E's loss terms; G is frozen."""

    pixels: NonNegative = 1.0  # L1 to the face on an image pyramid
    perceptual: NonNegative = 1.0  # distance on features of frozen networks
    latent: NonNegative = 1.0  # squared distance to the w of faces that G drew
    pull: NonNegative = 0.01  # squared distance of E's w of real faces to the average, around which G is trained best
    attribute: NonNegative = 1.0  # cross-entropy of the attributes that E recognises


@dataclasses.dataclass
class EditLossConfig:
    """Weights of F's loss terms in the stage `fusion`; G and D are frozen."""

    pixels: NonNegative = 1.0  # L1 to the target
    perceptual: NonNegative = 1.0  # distance on features of frozen networks
    identity: NonNegative = 0.2  # negative cosine of identity embeddings, edited face to unedited face
    attribute: NonNegative = 0.1  # cross-entropy of D's attribute head
    adversarial: NonNegative = 0.05  # non-saturating loss of D
    offset: NonNegative = 1e-3  # mean square of O


@dataclasses.dataclass
class StagedConfig:
    """The `staged` recipe of the paper: G and D, then the encoder E, the basis B, and the fusion network F."""

    stages: tuple[str, ...] = STAGES  # those to run, in this order
    encoder_steps: Natural = 20_000
    fusion_steps: Natural = 20_000
    basis: Estimator = "paired"  # estimator of B; "random" keeps the B of G
    basis_samples: Count = 20_000  # latents that the estimators of B see, and most pairs of faces for "paired"
    # Latents, and real faces with each attribute, by which the length of each row of B is chosen; 0 keeps the lengths
    length_samples: Natural = 0
    targets: Count = 8_000  # pairs of a face and its target, prepared once for the stage `fusion`
    sample_share: Share = 0.0  # share of the pairs whose face is drawn by G; the others are faces of the data set
    encoder_losses: EncoderLossConfig = dataclasses.field(default_factory=EncoderLossConfig)
    edit_losses: EditLossConfig = dataclasses.field(default_factory=EditLossConfig)


@dataclasses.dataclass
class Config:
    """Config of a run: data, networks, losses, optimisers, and the intervals of its output."""

    # Data
    dataset: str = "megn/rendered_256"  # a TFDS name
    data_dir: Path = ""  # folder of prepared data sets; "" for the default of TFDS
    manual_dir: Path = ""  # folder of the photos, for megn/photos_*
    resolution: Annotated[int, Range(8, 1024)] = 256
    attributes: tuple[str, ...] = ("none", "mask", "eyeglasses", "sunglasses", "beard", "mustache")
    align: Literal["auto", "off"] = "auto"  # "auto": photos are cut out around their faces; "off": central squares
    align_network: Path = ""  # directory of the position network or face mesh that finds them; "" for the project's own
    face_crop: Literal["megn", "ffhq"] = "megn"  # part of a photo that the images show: as rendered faces, or as FFHQ

    # The run
    batch_size: Count = 16  # images in a step, over all devices and processes
    fsdp: Count = 1  # devices that share one copy of parameters and optimisers, each with a piece of it
    accumulate: Count = 1  # sequential parts of a batch on each device, for batches larger than its memory
    total_steps: Count = 50_000
    seed: Seed = 0
    init: Path = ""  # a model directory whose weights the run starts from
    log_every: Count = 100  # steps
    sample_every: Count = 100  # steps
    checkpoint_every: Count = 1000  # steps
    keep_checkpoints: Count = 3  # number of the newest that are kept; the best is kept, too
    data_workers: Annotated[int, Range(0, 1024)] = 0  # processes that decode images; 0 for threads of this one
    profile_steps: Natural = 0  # steps that are traced into `profile/` of the workdir at each start; see --profile
    wandb: str = ""  # project of Weights & Biases that the output also goes to; "" for none
    max_skipped: Natural = 100  # images that cannot be read, each replaced by the next one; one more ends the run
    rollbacks: Natural = 0  # returns to the last checkpoint, with other random numbers, when a loss is not finite

    # Published metrics at every checkpoint, such as ("fid10k",); the first decides which checkpoint is the best
    metrics: tuple[str, ...] = ()  # names as in `experiments.evaluate --metrics`
    inception: Path = ""  # network directory of Inception, for metrics on its features
    lpips: Path = ""  # network directory of LPIPS, for ppl

    # Networks
    generator: GeneratorConfig = dataclasses.field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = dataclasses.field(default_factory=DiscriminatorConfig)
    fusion: FusionConfig = dataclasses.field(default_factory=FusionConfig)
    encoder: EncoderConfig = dataclasses.field(default_factory=EncoderConfig)  # only in the recipe `staged`

    # The decomposition: latent + strength * (B[y] + O)
    latent_space: Literal["z", "w"] = "z"  # space in which B and O are added; in w, O has a vector for each layer
    basis_length: NonNegative = (
        1.0  # length of the rows of B, their mean where the stage `basis` chose them (pseudo-code: 1)
    )
    # Face that X_hat and X_rec are compared with: "data" is X of the batch (the pseudo-code), "latent" is the face of
    # the same latent without an attribute (stage 3 of the paper).
    source: Literal["data", "latent"] = "data"

    # Learning
    recipe: Literal["joint", "staged"] = "joint"  # G, D and F at once (the pseudo-code), or in stages (the paper)
    staged: StagedConfig = dataclasses.field(default_factory=StagedConfig)
    losses: LossConfig = dataclasses.field(default_factory=LossConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    style_mixing: Share = 0.0  # share of images whose layers take w from two latents (StyleGAN2: 0.9)
    adam_g: AdamConfig = dataclasses.field(default_factory=AdamConfig)
    adam_d: AdamConfig = dataclasses.field(default_factory=AdamConfig)
    adam_f: AdamConfig = dataclasses.field(default_factory=AdamConfig)
    adam_e: AdamConfig = dataclasses.field(default_factory=lambda: AdamConfig(2e-3, 0.9, 0.99))
    fusion_every: Natural = 1  # steps from one update of F to the next, in the recipe `joint`; 0 for no updates
    ema_kimg: NonNegative = 10.0  # half-life of G's moving average, in thousands of images
    ema_rampup: NonNegative = 0.05  # the half-life is at most this share of the images seen
    w_avg_beta: Share = 0.995  # decay of the moving average of w

    @property
    def num_layers(self) -> int:
        """Number of synthesis layers, L = 2 log2(resolution) - 2."""
        return 2 * (self.resolution.bit_length() - 1) - 2

    @property
    def num_attributes(self) -> int:
        """Number of attributes with `none`. With `none` alone the model is a plain StyleGAN2, without F and head."""
        return len(self.attributes)

    @property
    def intervals(self) -> dict[str, int]:
        """Steps from one update to the next of D by R1, of G by path length, and of F; 0 for never."""
        return {
            "r1": self.losses.r1_every if self.losses.r1 else 0,
            "path_length": self.losses.path_length_every if self.losses.path_length else 0,
            "f": self.fusion_every if self.num_attributes > 1 else 0,
        }


def auto(resolution: int, batch_size: int) -> Config:
    """Returns settings for a resolution and a batch size: those of StyleGAN2-ADA's `auto`, and SD-GAN's edit path.

    Two mapping layers; R1 gamma = 0.0002 · resolution² / batch; EMA half-life of batch · 10 / 32 kimg; the four highest
    resolutions in bfloat16, clamped to ±256; adaptive augmentation (Karras et al. 2020).

    Args:
        resolution: width and height of the images in pixels.
        batch_size: images in a step over all devices; 64 works well up to 128×128, 32 above.

    Returns:
        A config with these settings; all other fields have the defaults of `Config`.
    """
    networks: dict[str, Any] = {
        "channel_base": 32768 if resolution >= 512 else 16384,
        "low_precision_blocks": 4,
        "conv_clamp": 256.0,
    }
    learning_rate = 0.002 if resolution >= 1024 else 0.0025
    source = names.RENDERED if resolution <= names.SIZES[names.RENDERED][-1] else names.PHOTOS
    return Config(
        dataset=f"megn/{source}_{resolution}",
        resolution=resolution,
        batch_size=batch_size,
        generator=GeneratorConfig(mapping_layers=2, **networks),
        discriminator=DiscriminatorConfig(**networks),
        fusion=FusionConfig(use_3d=True),
        latent_space="w",
        basis_length=8.0,
        source="latent",
        losses=LossConfig(
            attribute_d_fake=0.0,
            identity=0.2,
            identity_of="embeddings",
            reconstruction=5.0,
            edit_attribute=1.0,
            edit_adversarial=0.2,
            r1=0.0002 * resolution**2 / batch_size,
            path_length=2.0,
        ),
        augment=AugmentConfig(pipeline="bgc"),
        style_mixing=0.9,
        adam_g=AdamConfig(learning_rate, 0.0, 0.99),
        adam_d=AdamConfig(learning_rate, 0.0, 0.99),
        fusion_every=4,
        ema_kimg=batch_size * 10 / 32,
        ema_rampup=0.05,
        w_avg_beta=0.998,
    )


def validate(config: Config) -> Config:
    """Checks the fields against each other.

    Args:
        config: the config, after all overrides.

    Returns:
        The same config.

    Raises:
        ValueError: naming the field, its value, and the values that are allowed.
    """
    ranges.check(config)
    resolution = config.resolution
    if resolution & (resolution - 1):
        raise ValueError(f"config.resolution is {resolution}; it must be a power of two from 8 to 1024")
    named = names.parse(config.dataset)
    if named and named.resolution != resolution:
        raise ValueError(
            f"config.dataset is {ranges.shown(config.dataset)} but config.resolution is {resolution}; "
            f"set both to the same size, e.g. --config.resolution={named.resolution}"
        )
    if config.attributes[:1] != ("none",):
        raise ValueError(f"config.attributes is {config.attributes}; the first must be 'none'")
    if len(set(config.attributes)) < len(config.attributes):
        raise ValueError(f"config.attributes is {config.attributes}; name each attribute once")
    if config.recipe == "staged":
        _check_stages(config)
    if config.discriminator.multi_scale and config.augment.pipeline != "none":
        raise ValueError(
            "config.discriminator.multi_scale and config.augment.pipeline exclude each other: augmentation transforms "
            "the image alone, not its smaller versions; set --config.augment.pipeline=none"
        )
    for name in ("generator", "discriminator"):
        network = getattr(config, name)
        if not network.channels and network.channel_base < resolution:
            raise ValueError(
                f"config.{name}.channel_base is {network.channel_base}; it must be at least {resolution} (resolution)"
            )
        if (channels := network.channels) and len(channels) != config.num_layers // 2:
            raise ValueError(
                f"config.{name}.channels names {len(channels)} resolutions; {resolution} pixels have "
                f"{config.num_layers // 2}, from 4 up"
            )
    return config


def _check_stages(config: Config) -> None:
    """Checks the fields of the `staged` recipe."""
    stages = config.staged.stages
    if not stages or [name for name in STAGES if name in stages] != list(stages):
        raise ValueError(f"config.staged.stages is {stages}; it must be some of {STAGES}, in this order")
    if config.metrics and "gan" not in stages:
        raise ValueError(
            f"config.metrics is {config.metrics}, but the stages {stages} train no generator; leave it out, and "
            "measure a model by experiments.evaluate --metrics"
        )
    if config.latent_space != "w":
        raise ValueError("config.recipe is 'staged', whose latents are those of w; set --config.latent_space=w")
