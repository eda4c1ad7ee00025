"""Small sets of images and a feature network with a closed form."""

import jax.numpy as jnp
import numpy as np
import PIL.Image

from sdgan_jax.evaluation.extraction import FEATURES, LOGITS, Task
from sdgan_jax.evaluation.feature_networks import FeatureNetwork


def pixels(count, side=16, seed=0, low=0, high=256):
    return np.random.default_rng(seed).integers(low, high, (count, side, side, 3)).astype(np.uint8)


def write_folder(folder, images):
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        PIL.Image.fromarray(image).save(folder / f"{number:04d}.png")
    return folder


def mean_colours(name="inception", convention="nvlabs", ddof=0):
    """Features: the mean colour of an image; logits: its first three pixels' red."""

    def apply(variables, images):
        return {FEATURES: variables["scale"] * images.mean((1, 2)), LOGITS: images[:, 0, :3, 0] / 64}

    return FeatureNetwork(name, convention, ddof, {"scale": jnp.float32(0.5)}, apply)


def array_task(images, name="colours of an array", **key):
    """A task on images in memory."""

    def read(numbers):
        return {"image": images[numbers]}

    def function(params, rows):
        return mean_colours().apply(params, rows["image"].astype(jnp.float32))

    return Task(name, {"array": key}, {"scale": jnp.float32(0.5)}, read, function)
