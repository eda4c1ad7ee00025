"""The SD-GAN pseudo-code, to the letter, at 256×256: its settings and losses and nothing else.

python -m experiments.train --config=experiments/configs/seed256.py --workdir=DIR

Hardware: one GPU of 16 GB or more; a CPU takes minutes a step. 50,000 steps are 100 epochs of the 8,000 training
faces at batch 16. Expect little: there is no R1 and no path length, a prior basis of unit length hardly shows
beside a z of length 22.6, and the identity loss compares X_hat with an unrelated X. It serves as a
baseline; for good results use `faces256`.
"""

from sdgan_jax.config import Config


def get_config() -> Config:
    """The preset: every default of `Config` is that of the pseudo-code."""
    return Config(dataset="megn/rendered_256", resolution=256, batch_size=16, total_steps=50_000)
