"""The small identity network that the package ships: embeddings f32[128] of faces of 64×64.

python -m experiments.train --config=experiments/configs/identity64.py --workdir=runs/identity64

Hardware: any two CPU cores, 40 minutes; before the first run, 22 minutes to render the faces (the same as for prnet64).
"""

from sdgan_jax.config.networks import IdentityConfig


def get_config() -> IdentityConfig:
    """The preset."""
    return IdentityConfig()
