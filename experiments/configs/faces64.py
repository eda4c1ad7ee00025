"""64×64 faces on one GPU.

python -m experiments.train --config=experiments/configs/faces64.py --workdir=DIR

Hardware: one GPU of 8 GB or more (an estimate). 60,000 steps of 32 are 1,920 kimg, ten times the number after which
32×32 shows people and attributes; it has not been trained to the end yet. For photos of your own, put them into a
folder and add
--config.dataset=megn/photos_64 --config.manual_dir=FOLDER --config.losses.attribute_kind=sigmoid
The photos are first cut out around their faces. For N training photos, fewer than 5,000, also set
--config.augment.kimg to N / 20, so that the augmentation can follow overfitting within 50 passes over them.
"""

from sdgan_jax.config import Config, FusionConfig, auto


def get_config() -> Config:
    """The preset: `auto` with networks of half the width, and an F that does not see the 3D face."""
    config = auto(64, 32)
    config.total_steps = 60_000
    config.sample_every = 500
    config.checkpoint_every = 2000
    for network in (config.generator, config.discriminator):
        network.channel_base, network.channel_max = 8192, 256
    config.fusion = FusionConfig(width=32, width_max=128)
    return config
