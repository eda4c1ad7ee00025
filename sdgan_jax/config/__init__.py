"""All hyperparameters with defaults and ranges: of a GAN (`gan`) and of networks trained by themselves (`networks`)."""

from sdgan_jax.config.gan import (
    AdamConfig,
    AugmentConfig,
    Config,
    DiscriminatorConfig,
    FusionConfig,
    GeneratorConfig,
    LossConfig,
    auto,
    validate,
)
from sdgan_jax.config.networks import ClassifierConfig, IdentityConfig, PRNetConfig
from sdgan_jax.config.storage import Kind, from_values, to_json

__all__ = [
    "AdamConfig",
    "AugmentConfig",
    "ClassifierConfig",
    "Config",
    "DiscriminatorConfig",
    "FusionConfig",
    "GeneratorConfig",
    "IdentityConfig",
    "Kind",
    "LossConfig",
    "PRNetConfig",
    "auto",
    "from_values",
    "to_json",
    "validate",
]
