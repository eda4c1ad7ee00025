"""A run on random 8-pixel faces in which every part of the state changes: the averages, p of ADA, all optimisers."""

from sdgan_jax import config as c
from tests.training import tiny  # its data set is registered by the import


def get_config() -> c.Config:
    """The preset."""
    return tiny.config(
        latent_space="w",
        source="latent",
        style_mixing=0.5,
        fusion_every=2,
        losses=c.LossConfig(r1=1.0, r1_every=3, path_length=2.0, path_length_every=2, edit_attribute=1.0),
        augment=c.AugmentConfig(pipeline="bgc", kimg=2.0, every=2, target=-1.0),  # p only grows
        total_steps=10**6,
        log_every=5,
        sample_every=10**6,
        checkpoint_every=5,
    )
