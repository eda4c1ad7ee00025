"""256×256 faces: what to train on one GPU.

python -m experiments.train --config=experiments/configs/faces256.py --workdir=DIR

Hardware: one GPU of 24 GB or more (an estimate; it has not been trained yet). The networks are those of
StyleGAN2-ADA's `paper256`; 150,000 steps of 32 are 4,800 kimg, in which the published runs are past the knee of
their curve. For photos of your own, add
--config.dataset=megn/photos_256 --config.manual_dir=FOLDER --config.losses.attribute_kind=sigmoid
"""

from sdgan_jax.config import AdamConfig, Config, DiscriminatorConfig, GeneratorConfig, LossConfig


def get_config() -> Config:
    """The preset."""
    return Config(
        dataset="megn/rendered_256",
        resolution=256,
        batch_size=32,
        total_steps=150_000,
        sample_every=1000,
        checkpoint_every=5000,
        generator=GeneratorConfig(channel_base=16384),
        discriminator=DiscriminatorConfig(channel_base=16384),
        latent_space="w",
        basis_length=8.0,
        source="latent",
        losses=LossConfig(
            attribute_d_fake=0.0, identity=0.2, reconstruction=5.0, edit_attribute=1.0, edit_adversarial=0.2, r1=1.0
        ),
        adam_g=AdamConfig(0.002, 0.0, 0.99),
        adam_d=AdamConfig(0.002, 0.0, 0.99),
        fusion_every=4,
        ema_kimg=20.0,
        data_workers=4,
    )
