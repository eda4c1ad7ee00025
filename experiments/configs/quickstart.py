"""What two CPU cores can show in about ten minutes: 32×32 faces.

python -m experiments.train
"""

from sdgan_jax import config as c


def get_config() -> c.Config:
    """The preset."""
    return c.Config(
        dataset="megn/rendered_32",
        resolution=32,
        batch_size=16,
        total_steps=4000,
        sample_every=250,
        checkpoint_every=1000,
        generator=c.GeneratorConfig(mapping_layers=2, channel_base=512, channel_max=128),
        discriminator=c.DiscriminatorConfig(channel_base=512, channel_max=128),
        fusion=c.FusionConfig(channel_base=512, channel_max=64, embedding_dim=32, hidden_dim=128),
        latent_space="w",
        basis_length=8.0,
        source="latent",
        losses=c.LossConfig(
            attribute_d_fake=0.0,
            identity=0.2,
            reconstruction=5.0,
            edit_attribute=1.0,
            edit_adversarial=0.2,
            r1=0.05,
        ),
        adam_g=c.AdamConfig(0.002, 0.0, 0.99),
        adam_d=c.AdamConfig(0.002, 0.0, 0.99),
        fusion_every=8,
        ema_kimg=5.0,
    )
