"""256×256 faces on one GPU.

python -m experiments.train --config=experiments/configs/faces256.py --workdir=DIR

Hardware: one GPU of 24 GB or more (an estimate; it has not been trained yet). 150,000 steps of 32 are 4,800 kimg, after
which the curves of the published runs are flat. For photos of your own, add
--config.dataset=megn/photos_256 --config.manual_dir=FOLDER --config.losses.attribute_kind=sigmoid
"""

from sdgan_jax.config import Config, auto


def get_config() -> Config:
    """The preset: `auto` at 256 pixels and a batch of 32."""
    config = auto(256, 32)
    config.total_steps = 150_000
    config.sample_every = 1000
    config.checkpoint_every = 5000
    config.data_workers = 4
    return config
