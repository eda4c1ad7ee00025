"""Inputs of a training step: the device's batch, and the random numbers that go with it."""

from __future__ import annotations

import flax.struct
import jax
import jax.numpy as jnp

from sdgan_jax import pictures
from sdgan_jax.config import Config
from sdgan_jax.latents import Latents
from sdgan_jax.training.draws import sample_keys

Batch = dict[str, jax.Array]  # "image" u8[n,R,R,3], "attributes" f32[n,A]: this device's rows

# Phases.
_LATENT, _NOISE_HAT, _NOISE_REC, _AUGMENT_REAL, _AUGMENT_FAKE = 0, 1, 2, 3, 4
_PATH_LATENT, _PATH_NOISE, _PATH_PIXELS = 5, 6, 7
_MIXING = 1000  # added to a latent's phase: its second z; twice: where that one takes over


@flax.struct.dataclass
class Draws:
    """The randomness of the main update: n latents, and PRNG keys [n]."""

    latents: Latents
    noise_hat: jax.Array
    noise_rec: jax.Array
    augment_real: jax.Array
    augment_fake: jax.Array


@flax.struct.dataclass
class Inputs:
    """What the gradients of a step are taken on: a batch and its random numbers, or a part of both."""

    real: jax.Array  # f32[n,R,R,3] in [-1,1]
    attributes: jax.Array  # f32[n,A]
    draws: Draws


@flax.struct.dataclass
class PathDraws:
    """The randomness of the path length update: n latents, keys [n] of G's noise, and y."""

    latents: Latents
    noise: jax.Array
    pixels: jax.Array  # f32[n,R,R,3]


def draw(config: Config, step: jax.Array, rows: int) -> Draws:
    """What the main update draws for the `rows` samples of this device. Only inside a map over the axis `data`."""
    noise_hat, noise_rec, augment_real, augment_fake = sample_keys(
        config.seed, step, rows, (_NOISE_HAT, _NOISE_REC, _AUGMENT_REAL, _AUGMENT_FAKE)
    )
    return Draws(_latents(config, step, rows, _LATENT), noise_hat, noise_rec, augment_real, augment_fake)


def draw_path(config: Config, step: jax.Array, rows: int) -> PathDraws:
    """What the path length update draws for `rows` samples of this device."""
    noise, pixels = sample_keys(config.seed, step, rows, (_PATH_NOISE, _PATH_PIXELS))
    shape = (config.resolution, config.resolution, 3)
    return PathDraws(
        _latents(config, step, rows, _PATH_LATENT), noise, jax.vmap(lambda key: jax.random.normal(key, shape))(pixels)
    )


def _latents(config: Config, step: jax.Array, rows: int, phase: int) -> Latents:
    """Latents, of which a share of `style_mixing` gets a second one from a random layer on."""
    dim, layers = config.generator.latent_dim, config.num_layers
    if not config.style_mixing:
        (keys,) = sample_keys(config.seed, step, rows, (phase,))
        return Latents(jax.vmap(lambda key: jax.random.normal(key, (dim,)))(keys), None, None)
    keys = sample_keys(config.seed, step, rows, (phase, phase + _MIXING, phase + 2 * _MIXING))
    z = jax.vmap(jax.vmap(lambda key: jax.random.normal(key, (dim,))))(keys[:2])

    def crossover(key: jax.Array) -> jax.Array:
        whether, where = jax.random.uniform(key, (2,))
        return jnp.where(whether < config.style_mixing, 1 + jnp.int32(where * (layers - 1)), layers)

    return Latents(z[0], z[1], jax.vmap(crossover)(keys[2]))


def make_inputs(config: Config, step: jax.Array, batch: Batch) -> Inputs:
    """This device's batch as floats, and what the step draws."""
    real = pictures.to_float(batch["image"])  # [n,R,R,3]
    return Inputs(real, batch["attributes"], draw(config, step, real.shape[0]))
