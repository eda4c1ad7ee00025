"""Plain StyleGAN2 at 64×64, full width, batch 8: the default of `experiments.benchmark`.

python -m experiments.benchmark --out=benchmark.json

It has no attributes and no F, so that other StyleGAN2 implementations can be measured beside it, and every part of
config-f's training: R1 every 16 steps, path length every 4, style mixing. 27.0M + 26.5M parameters.
"""

from sdgan_jax.config import AdamConfig, Config, LossConfig


def get_config() -> Config:
    """The preset."""
    return Config(
        dataset="megn/rendered_64",
        resolution=64,
        attributes=("none",),
        batch_size=8,
        latent_space="w",
        losses=LossConfig(r1=10.0, path_length=2.0),
        style_mixing=0.9,
        adam_g=AdamConfig(0.002, 0.0, 0.99),
        adam_d=AdamConfig(0.002, 0.0, 0.99),
        fusion_every=0,
    )
