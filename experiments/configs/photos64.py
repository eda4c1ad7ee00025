"""PRNet for photos: the small PRNet that the package ships, trained further on varied faces.

python -m experiments.train --config=experiments/configs/photos64.py --workdir=runs/photos64

Hardware: any two CPU cores, 16 minutes where they are idle; before the first run, two minutes to render the faces.
"""

import os

from sdgan_jax.config.networks import PRNetConfig
from sdgan_jax.pretrained import storage


def get_config() -> PRNetConfig:
    """The preset."""
    return PRNetConfig(
        dataset="megn/varied_64_n20000",
        init=os.fspath(storage.SHIPPED / "prnet64"),
        total_steps=3000,
        learning_rate=3e-3,
        stages=1,
        stage_faces=7000,
        ridge=2.0,
        rotation=20.0,
        scale=0.06,
        shift=0.03,
        colour=0.15,
        occlusion=0.1,
        photo=0.3,
        threshold=0.02,
    )
