"""A run of a few steps on random 8-pixel faces, small enough for a test of the launcher."""

from sdgan_jax.config import Config
from tests.training import tiny  # its data set is registered by the import


def get_config() -> Config:
    """The preset."""
    return tiny.config(attributes=("none",), total_steps=2, log_every=1, sample_every=2, checkpoint_every=2)
