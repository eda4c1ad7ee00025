"""The small PRNet that the package ships: position maps of 64×64 from images of 64×64.

python -m experiments.train --config=experiments/configs/prnet64.py --workdir=runs/prnet64

Hardware: any two CPU cores, an hour, and 22 minutes for the stages that correct the network's maps; before the first
run, 22 minutes to render the faces.
"""

from sdgan_jax.config.networks import PRNetConfig


def get_config() -> PRNetConfig:
    """The preset."""
    return PRNetConfig()
