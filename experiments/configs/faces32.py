"""32×32 faces from scratch on two CPU cores, in about an hour; the model in the box started from such weights.

python -m experiments.train --config=experiments/configs/faces32.py --workdir=runs/faces32

Hardware: any two cores, about 6.5 steps per second. Expect blobs with attributes after 1,000 steps, faces after 3,000,
people who differ in skin, hair, age and pose after 6,000.
"""

from sdgan_jax.config import AdamConfig, Config, DiscriminatorConfig, FusionConfig, GeneratorConfig, LossConfig


def get_config() -> Config:
    """The preset."""
    return Config(
        dataset="megn/rendered_32",
        resolution=32,
        batch_size=16,
        total_steps=6_000,
        sample_every=500,
        checkpoint_every=1000,
        generator=GeneratorConfig(mapping_layers=2, channel_base=512, channel_max=128),
        discriminator=DiscriminatorConfig(channel_base=512, channel_max=128),
        fusion=FusionConfig(width=16, width_max=32, blocks=1, kernel=3),
        latent_space="w",
        basis_length=8.0,
        source="latent",
        losses=LossConfig(
            attribute_g=0.3,
            attribute_d_fake=0.0,
            identity=0.2,
            reconstruction=5.0,
            edit_attribute=1.0,
            edit_adversarial=0.2,
            r1=0.05,
        ),
        adam_g=AdamConfig(0.002, 0.0, 0.99),
        adam_d=AdamConfig(0.002, 0.0, 0.99),
        adam_f=AdamConfig(1e-3, 0.0, 0.99),
        fusion_every=4,
        ema_kimg=5.0,
    )
