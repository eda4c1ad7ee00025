"""Settings for a resolution and a batch size: StyleGAN2-ADA's `auto`, with SD-GAN's edit path.

python -m experiments.train --config=experiments/configs/auto.py:RESOLUTION,BATCH --workdir=DIR

BATCH is the batch size over all devices. Without it the batch fits one GPU of 16 GB: 32 up to 128×128, 16 at 256.
The run takes 25,000 kimg, as the published runs did; their curves flatten after a fifth of that.
"""

from sdgan_jax import config as config_lib
from sdgan_jax.config import Config


def get_config(size: str = "256") -> Config:
    """The preset.

    Args:
        size: "RESOLUTION" or "RESOLUTION,BATCH".

    Raises:
        ValueError: the text has another form.
    """
    numbers = size.split(",")
    if len(numbers) > 2 or not all(number.isdecimal() and int(number) for number in numbers):
        raise ValueError("write auto.py:RESOLUTION or auto.py:RESOLUTION,BATCH, e.g. auto.py:256,32")
    resolution = int(numbers[0])
    batch_size = int(numbers[1]) if len(numbers) == 2 else max(4, min(4096 // resolution, 32))
    config = config_lib.auto(resolution, batch_size)
    config.total_steps = 25_000_000 // batch_size
    config.sample_every = max(1, 50_000 // batch_size)
    config.checkpoint_every = max(1, 200_000 // batch_size)
    config.data_workers = 4
    return config
