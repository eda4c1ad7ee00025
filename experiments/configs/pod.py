"""256×256 faces on a TPU pod or many GPUs: `auto` at a global batch of 256.

python -m experiments.train --config=experiments/configs/pod.py --workdir=gs://BUCKET/RUN --distributed   (each host)

Hardware: 8, 16, 32 or 64 devices; expect the results of `faces256`, sooner. On more, raise --config.batch_size to
four images a device, which the minibatch standard deviation compares. Each process reads its share of the batch,
gradients are averaged over all devices, every process saves its part of the checkpoint. 25,000 steps are 6,400 kimg.
"""

from sdgan_jax.config import Config, auto


def get_config() -> Config:
    """The preset."""
    config = auto(256, 256)
    config.total_steps = 25_000
    config.sample_every = 250
    config.checkpoint_every = 1000
    config.data_workers = 8
    return config
