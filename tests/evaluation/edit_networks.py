"""A tiny model, and judges that are closed-form functions of the pixels."""

import types

import jax.numpy as jnp
import numpy as np

import sdgan_jax
from sdgan_jax.networks import make_networks
from sdgan_jax.training.gan import weights
from tests.training import tiny

NAMES = tiny.ATTRIBUTES  # none, mask, beard


def make_model(seed=4, **fields):
    """A model of 8 pixels with random arrays; F moves latents a little."""
    config = tiny.config(**({"latent_space": "w", "basis_length": 3.0} | fields))
    state = tiny.random_state(config, seed=seed)
    trees = {name: getattr(state, name) for name in weights.FIELDS}
    return sdgan_jax.Model(make_networks(config), {name: tree for name, tree in trees.items() if name != "params_e"})


class Classifier:
    """Sees mask in images that are red, beard in green ones, and `none` in dark ones; 6 attributes, 3 features."""

    resolution, held_out_accuracy, held_out_images = 8, 0.75, 40

    def __call__(self, images):
        red, green, blue = jnp.moveaxis(images.mean((1, 2)), -1, 0)
        logits = jnp.full((len(images), 6), -9.0).at[:, 0].set(0.0)
        return logits.at[:, 1].set(4 * red).at[:, 4].set(4 * green), jnp.stack((red, green, blue), 1)


class Perceptual:
    """One layer of features, the image itself; the embedding is the direction of its mean colour."""

    def __call__(self, images):
        return (images,)

    def identity(self, images):
        colour = images.mean((1, 2))
        return colour / jnp.linalg.norm(colour, axis=1, keepdims=True)


class Position:
    """Position maps that hold the mean colour of the image."""

    uv_layout = "layout"

    def __call__(self, images):
        return jnp.broadcast_to(images.mean((1, 2))[:, None, None], (len(images), 4, 4, 3))


def images(count, size=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def stub_wear(image, position_map, attribute, style, layout):
    """Adds the first texel of the map to the image."""
    assert (style, layout) == (None, "layout") and attribute in NAMES
    return jnp.clip(image + position_map[0, 0], -1, 1), None


wear_module = types.SimpleNamespace(wear=stub_wear)
