"""All hyperparameters with defaults and ranges: of a GAN (`gan`) and of networks trained by themselves (`networks`)."""

from sdgan_jax.config.gan import (
    ESTIMATORS,
    STAGES,
    AdamConfig,
    AugmentConfig,
    Config,
    DiscriminatorConfig,
    EditLossConfig,
    EncoderConfig,
    EncoderLossConfig,
    FusionConfig,
    GeneratorConfig,
    LossConfig,
    StagedConfig,
    auto,
    validate,
)
from sdgan_jax.config.networks import ClassifierConfig, IdentityConfig, PRNetConfig
from sdgan_jax.config.storage import Kind, from_values, to_json

__all__ = [
    "ESTIMATORS",
    "STAGES",
    "AdamConfig",
    "AugmentConfig",
    "ClassifierConfig",
    "Config",
    "DiscriminatorConfig",
    "EditLossConfig",
    "EncoderConfig",
    "EncoderLossConfig",
    "FusionConfig",
    "GeneratorConfig",
    "IdentityConfig",
    "Kind",
    "LossConfig",
    "PRNetConfig",
    "StagedConfig",
    "auto",
    "from_values",
    "to_json",
    "validate",
]
