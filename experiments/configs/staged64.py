"""The paper's recipe at 64×64, in four stages: G and D, the encoder E, the prior basis B, the fusion network F.

python -m experiments.train --config=experiments/configs/staged64.py --workdir=runs/staged
python -m experiments.train --config=experiments/configs/staged64.py --workdir=runs/fusion \
    --config.init=runs/staged --config.staged.stages="('fusion',)"

Hardware: any two CPU cores; G and D take hours there.
"""

from sdgan_jax.config import (
    AdamConfig,
    Config,
    DiscriminatorConfig,
    EncoderConfig,
    FusionConfig,
    GeneratorConfig,
    LossConfig,
    StagedConfig,
)


def get_config() -> Config:
    """The preset."""
    return Config(
        dataset="megn/rendered_64_n60000",
        resolution=64,
        batch_size=32,
        total_steps=15_000,
        sample_every=500,
        checkpoint_every=500,
        generator=GeneratorConfig(mapping_layers=2, channel_base=2048, channel_max=128),
        discriminator=DiscriminatorConfig(channel_base=2048, channel_max=128, feature_heads=32),
        fusion=FusionConfig(width=16, width_max=48, blocks=1, kernel=3, use_3d=True, removal=True),
        encoder=EncoderConfig(),
        recipe="staged",
        # G has learned the random basis, whose lengths are fitted to real faces; the others are estimated and reported.
        staged=StagedConfig(basis="random", length_samples=256),
        latent_space="w",
        basis_length=8.0,
        source="latent",
        losses=LossConfig(
            attribute_g=0.3, attribute_d_fake=0.0, identity=0.2, identity_of="embeddings", reconstruction=0.0, r1=0.05
        ),
        adam_g=AdamConfig(0.002, 0.0, 0.99),
        adam_d=AdamConfig(0.002, 0.0, 0.99),
        adam_f=AdamConfig(1e-3, 0.0, 0.99),
        ema_kimg=10.0,
    )
