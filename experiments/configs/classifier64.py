"""The attribute classifier that the package ships: the judge of generated and edited faces.

python -m experiments.train --config=experiments/configs/classifier64.py --workdir=runs/classifier64

Hardware: any two CPU cores. The 3,000 steps (96 kimg) took 28 minutes beside five other programs; at the fastest rate
in between, 5.6 steps a second, they take nine. Before the first run, 22 minutes to render the faces (the same as for
prnet64).

`sdgan_jax/weights/classifier64` holds this network in float16. Of the 6,000 test faces, of persons that it never saw,
it recognises 0.991: none 0.984, mask 1.000, eyeglasses 0.995, sunglasses 1.000, beard 0.991, mustache 0.975. Of 2,400
of them shrunk to 32 pixels it recognises 0.963. The accuracy at 64 pixels is printed by
`python -m experiments.measure --dataset=megn/rendered_64_n60000 --faces=6000 --out=DIR`.
"""

from sdgan_jax.config.networks import ClassifierConfig


def get_config() -> ClassifierConfig:
    """The preset."""
    return ClassifierConfig()
