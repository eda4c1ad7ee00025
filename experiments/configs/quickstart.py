"""The quickstart: 32×32 faces on two CPU cores in ten minutes, from the weights in experiments/weights/faces32 on.

python -m experiments.train

Hardware: any two cores. Expect masks, sunglasses and beards on different people, attribute accuracy about 0.9.

From scratch, ten minutes give blobs with attributes. An earlier version of this code trained the weights for 184 kimg;
`--config=experiments/configs/faces32.py` trains such weights from scratch. They contain no F; the quickstart trains F.
"""

import pathlib

from experiments.configs import faces32
from sdgan_jax.config import Config


def get_config() -> Config:
    """The preset."""
    config = faces32.get_config()
    config.init = str(pathlib.Path(__file__).parents[1] / "weights" / "faces32")
    config.seed = 1  # other batches and latents than in the training of the weights
    config.total_steps = 1500
    config.sample_every = 250
    config.checkpoint_every = 500
    config.ema_rampup = 1.0  # the moving average starts from good weights
    return config
