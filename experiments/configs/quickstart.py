r"""The quickstart: ten minutes on two CPU cores, 32×32 faces, from the weights in experiments/weights/faces32 on.

python -m experiments.train

Hardware: any two cores. Expect masks, sunglasses and beards on different people, attribute accuracy about 0.9.

From scratch, ten minutes give coloured blobs. Those weights (184 kimg, 50 minutes on two busy cores) come from
    python -m experiments.train --config=experiments/configs/faces32.py --workdir=runs/first --config.total_steps=6019 \
        --config.losses.attribute_g=1.0
    python -m experiments.train --config=experiments/configs/faces32.py --workdir=runs/second \
        --config.total_steps=5470 --config.init=runs/first --config.seed=2 --config.ema_rampup=1.0
    python -c "import sdgan_jax; sdgan_jax.load('runs/second').save('experiments/weights/faces32', 'float16')"
and contain no F; the quickstart trains one from scratch.
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
