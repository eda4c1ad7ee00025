"""Plain StyleGAN2 at 64×64, full width, batch 8: what `experiments.benchmark` measures by default.

python -m experiments.benchmark --out=benchmark.json

No attributes and no F, so that other StyleGAN2 implementations can be measured beside it; all that config-f does in
training is on: R1 every 16 steps, path length every 4, style mixing. 27.0M + 26.5M parameters. It trains too, but it is
meant to be measured.
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
