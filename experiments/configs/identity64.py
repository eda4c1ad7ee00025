"""The small identity network that the package ships: 128 numbers that tell who is on a picture of 64×64.

python -m experiments.train --config=experiments/configs/identity64.py --workdir=runs/identity64

Hardware: any two CPU cores, 40 minutes; before them, once, 22 in which the faces are drawn (those of prnet64).
"""

from sdgan_jax.config.networks import IdentityConfig


def get_config() -> IdentityConfig:
    """The preset."""
    return IdentityConfig()
