"""A run of SD-GAN: its state, its step, its pictures and its weights."""

from sdgan_jax.training.gan.run import check, train

__all__ = ["check", "train"]
