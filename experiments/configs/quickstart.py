"""The quickstart: 32×32 faces on two CPU cores in ten minutes, from the weights in experiments/weights/faces32 on.

python -m experiments.train

Hardware: any two cores. Expect masks, glasses, beards and mustaches on different people, attribute accuracy above 0.9.

The weights contain no F, which the quickstart trains. They come from a plain StyleGAN2 (1,152 kimg, three and a half
hours on two idle cores), which then learned the attributes (24 kimg, four minutes):

    python -m experiments.train --config=experiments/configs/faces32.py --workdir=runs/plain --noevaluate \
        --config.dataset=megn/rendered_32_n60000 --config.attributes="('none',)" --config.batch_size=32 \
        --config.total_steps=36000 --config.generator.channel_base=1024 --config.discriminator.channel_base=1024 \
        --config.losses.r1=0.02 --config.losses.identity=0 --config.losses.reconstruction=0 --config.ema_kimg=20
    python -m experiments.train --config=experiments/configs/faces32.py --workdir=runs/attributes \
        --config.init=runs/plain --config.seed=1 --config.total_steps=1500 --config.losses.attribute_g=1.0 \
        --config.ema_rampup=1.0 --config.generator.channel_base=1024 \
        --config.discriminator.channel_base=1024
"""

import pathlib

from experiments.configs import faces32
from sdgan_jax.config import Config


def get_config() -> Config:
    """The preset."""
    config = faces32.get_config()
    config.init = str(pathlib.Path(__file__).parents[1] / "weights" / "faces32")
    config.generator.channel_base = config.discriminator.channel_base = 1024  # the widths of the weights
    config.seed = 2  # other batches and latents than in the training of the weights
    config.total_steps = 1500
    config.sample_every = 250
    config.checkpoint_every = 500
    config.ema_rampup = 1.0  # the moving average starts from good weights
    return config
