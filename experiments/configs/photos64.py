"""The small PRNet that the package ships, with a stage that corrects its maps on faces of real proportions.

python -m experiments.train --config=experiments/configs/photos64.py --workdir=runs/photos64

Hardware: any two CPU cores, ten minutes, rendering included. The network itself stays as it is, without its own stages.
"""

import os

from sdgan_jax.config.networks import PRNetConfig
from sdgan_jax.pretrained import storage


def get_config() -> PRNetConfig:
    """The preset."""
    return PRNetConfig(
        dataset="megn/natural_64_n3000",
        init=os.fspath(storage.SHIPPED / "prnet64"),
        total_steps=0,
        stages=1,
        components=32,
        ridge=3.0,
        rotation=8.0,
        scale=0.06,
        shift=0.03,
        colour=0.15,
        occlusion=0.1,
        photo=0.15,
    )
