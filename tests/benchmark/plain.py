"""A small StyleGAN2 without attributes, for the benchmark's tests."""

from sdgan_jax import config as c
from tests.training import tiny

PLAIN = tiny.config(
    attributes=("none",),
    latent_space="w",
    fusion_every=0,
    style_mixing=0.9,
    losses=c.LossConfig(r1=1.0, r1_every=4, path_length=2.0, path_length_every=2),
    # Wide enough that convolutions make up most of the FLOPs.
    generator=c.GeneratorConfig(12, mapping_layers=1, channel_base=256, channel_max=32),
    discriminator=c.DiscriminatorConfig(channel_base=256, channel_max=32),
)
