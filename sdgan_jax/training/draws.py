"""The randomness of a step: every sample's own numbers, from its place in the global batch.

A key is folded from the seed, the step, the phase (what it is for) and the sample, so that a run draws the same numbers
on any number of devices, and a resumed one those it would have drawn.
"""

from __future__ import annotations

import flax.struct
import jax
import jax.numpy as jnp

from sdgan_jax.config import Config

AXIS = "data"  # of the mesh

# Phases.
_LATENT, _NOISE_HAT, _NOISE_REC, _AUGMENT_REAL, _AUGMENT_FAKE = 0, 1, 2, 3, 4
_PATH_LATENT, _PATH_NOISE, _PATH_PIXELS = 5, 6, 7
_MIXING = 1000  # added to a latent's phase: its second z; twice: where that one takes over


@flax.struct.dataclass
class Latents:
    """What w+ is made from. Without style mixing the last two are None."""

    z: jax.Array  # f32[n,D]
    other: jax.Array | None  # f32[n,D]
    crossover: jax.Array | None  # i32[n], the first layer that `other` draws; L where it draws none


@flax.struct.dataclass
class Draws:
    """The randomness of the main update: n latents, and PRNG keys [n]."""

    latents: Latents
    noise_hat: jax.Array
    noise_rec: jax.Array
    augment_real: jax.Array
    augment_fake: jax.Array


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


def sample_keys(seed: int, step: jax.Array, rows: int, phases: tuple[int, ...]) -> jax.Array:
    """Keys [phases, rows]. Row j of device d is sample j · devices + d of the global batch."""
    key = jax.random.fold_in(jax.random.key(seed), step)
    sample = jnp.arange(rows) * jax.lax.axis_size(AXIS) + jax.lax.axis_index(AXIS)
    fold = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))
    return fold(jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(phases)), sample)
