"""A run of SD-GAN: its state, its steps, its pictures and its weights."""

from sdgan_jax.training.gan.recipe import check, train

__all__ = ["check", "train"]
