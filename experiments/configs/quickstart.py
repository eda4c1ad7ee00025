"""The quickstart: 64×64 faces on two CPU cores in ten minutes, from the model that comes with the project.

python -m experiments.train

Hardware: any two cores. Estimates the prior basis by all estimators, trains the fusion network on pairs of faces with
and without an attribute, and measures generated faces and edits. From scratch: experiments/configs/staged64.py.
"""

from experiments.configs import staged64
from sdgan_jax import pretrained
from sdgan_jax.config import Config


def get_config() -> Config:
    """The preset."""
    config = staged64.get_config()
    config.dataset = "megn/rendered_64_n3000"
    config.init = str(pretrained.SHIPPED_MODEL)
    config.seed = 2  # other batches than in the training of the model
    config.batch_size = 16
    config.staged.stages = ("basis", "fusion")
    config.staged.basis_samples = 300
    config.staged.length_samples = 0  # those of the model are fitted
    config.staged.targets = 600
    config.staged.fusion_steps = 90
    config.log_every = 15
    config.sample_every = 45
    config.checkpoint_every = 45
    return config
