"""The attribute classifier that models of 64×64 are judged by.

python -m experiments.train --config=experiments/configs/classifier64.py --workdir=runs/classifier64

Hardware: any two CPU cores. Not measured at 64×64 yet; at 32×32 it takes a minute, and 0.943 of the rendered faces of
held-out persons are classified correctly. Evaluation trains one by itself for each data set,
and keeps it in the folder `megn_classifier` beside the data.
"""

from sdgan_jax.config.networks import ClassifierConfig


def get_config() -> ClassifierConfig:
    """The preset."""
    return ClassifierConfig()
