"""256×256 faces on a TPU pod or many GPUs: `faces256` at a global batch of 256.

python -m experiments.train --config=experiments/configs/pod.py --workdir=gs://BUCKET/RUN --distributed   (each host)

Hardware: any number of devices that divides 256, from 8 up; expect what `faces256` gives, sooner. Each process
reads its share of the batch, gradients are averaged over all devices, every process saves its part of the
checkpoint. The learning rate is StyleGAN2's for large batches; 25,000 steps are 6,400 kimg.
"""

from experiments.configs import faces256
from sdgan_jax.config import Config


def get_config() -> Config:
    """The preset."""
    config = faces256.get_config()
    config.batch_size = 256
    config.total_steps = 25_000
    config.sample_every = 250
    config.checkpoint_every = 1000
    config.adam_g.learning_rate = config.adam_d.learning_rate = 0.0025
    config.data_workers = 8
    return config
