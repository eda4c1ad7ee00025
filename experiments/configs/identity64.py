"""The small identity network that the package ships: 128 numbers that tell who is on a picture of 64×64.

python -m experiments.train --config=experiments/configs/identity64.py --workdir=runs/identity64

Hardware: any two CPU cores, three quarters of an hour with the drawing of the faces.
"""

from sdgan_jax.network_config import IdentityConfig


def get_config() -> IdentityConfig:
    """The preset."""
    return IdentityConfig()
