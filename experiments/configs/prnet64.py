"""The small PRNet that the package ships: position maps of 64×64 from pictures of 64×64.

python -m experiments.train --config=experiments/configs/prnet64.py --workdir=runs/prnet64

Hardware: any two CPU cores, an hour, and 22 minutes for the stages that correct what the network says; before it, once,
22 minutes in which the faces are drawn.
"""

from sdgan_jax.config.networks import PRNetConfig


def get_config() -> PRNetConfig:
    """The preset."""
    return PRNetConfig()
