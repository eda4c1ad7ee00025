"""64×64 faces on one GPU.

python -m experiments.train --config=experiments/configs/faces64.py --workdir=DIR

Hardware: one GPU of 8 GB or more (an estimate). 60,000 steps of 32 are 1,920 kimg, ten times what 32×32 needs to
show people and attributes; it has not been trained to the end yet. For photos of your own, put them into a folder
and add
--config.dataset=megn/photos_64 --config.manual_dir=FOLDER --config.losses.attribute_kind=sigmoid
"""

from sdgan_jax.config import AdamConfig, Config, DiscriminatorConfig, FusionConfig, GeneratorConfig, LossConfig


def get_config() -> Config:
    """The preset."""
    return Config(
        dataset="megn/rendered_64",
        resolution=64,
        batch_size=32,
        total_steps=60_000,
        sample_every=500,
        checkpoint_every=2000,
        generator=GeneratorConfig(mapping_layers=4, channel_base=8192, channel_max=256),
        discriminator=DiscriminatorConfig(channel_base=8192, channel_max=256),
        fusion=FusionConfig(channel_base=2048, channel_max=256, embedding_dim=64, hidden_dim=256),
        latent_space="w",
        basis_length=8.0,
        source="latent",
        losses=LossConfig(
            attribute_d_fake=0.0, identity=0.2, reconstruction=5.0, edit_attribute=1.0, edit_adversarial=0.2, r1=0.1
        ),
        adam_g=AdamConfig(0.002, 0.0, 0.99),
        adam_d=AdamConfig(0.002, 0.0, 0.99),
        fusion_every=4,
        ema_kimg=10.0,
    )
