"""Inputs of a training step: the batch of a device and the random numbers that go with it."""

from __future__ import annotations

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from sdgan_jax import pictures
from sdgan_jax.config import Config
from sdgan_jax.latents import Latents
from sdgan_jax.nets import layers
from sdgan_jax.training import sharding
from sdgan_jax.training.draws import sample_keys

# "image" u8[n,R,R,3], "attributes" f32[n,A]: the rows of a device; where the augmentation follows r_v also "held_out",
# which contains the same two of held-out images
Batch = dict[str, Any]

# Phases of the random numbers, see `sample_keys`.
_LATENT, _NOISE_HAT, _NOISE_REC, _AUGMENT_REAL, _AUGMENT_FAKE = 0, 1, 2, 3, 4
_PATH_LATENT, _PATH_NOISE, _PATH_PIXELS = 5, 6, 7
_AUGMENT_HELD_OUT = 8
_MIXING = 1000  # added to a latent's phase for its second z, twice for the crossover layer


@flax.struct.dataclass
class Draws:
    """Random numbers of the main update: n latents, and PRNG keys [n]."""

    latents: Latents
    noise_hat: jax.Array
    noise_rec: jax.Array
    augment_real: jax.Array
    augment_fake: jax.Array


@flax.struct.dataclass
class Inputs:
    """The batch of a device and its random numbers, or a part of both (`accumulation`)."""

    real: jax.Array  # f32[n,R,R,3] in [-1,1]
    attributes: jax.Array  # f32[n,A]
    draws: Draws


@flax.struct.dataclass
class PathDraws:
    """Random numbers of the path length update: n latents, PRNG keys [n] of G's noise, and y."""

    latents: Latents
    noise: jax.Array
    pixels: jax.Array  # f32[n,R,R,3]


def draw_main(config: Config, step: jax.Array, rows: int) -> Draws:
    """Draws the random numbers of the main update for the `rows` samples of a device, inside the map over devices."""
    noise_hat, noise_rec, augment_real, augment_fake = sample_keys(
        config.seed, step, rows, (_NOISE_HAT, _NOISE_REC, _AUGMENT_REAL, _AUGMENT_FAKE)
    )
    return Draws(_latents(config, step, rows, _LATENT), noise_hat, noise_rec, augment_real, augment_fake)


def draw_path(config: Config, step: jax.Array, rows: int) -> PathDraws:
    """Draws the random numbers of the path length update for `rows` samples of this device."""
    noise, pixels = sample_keys(config.seed, step, rows, (_PATH_NOISE, _PATH_PIXELS))
    shape = (config.resolution, config.resolution, 3)
    return PathDraws(
        _latents(config, step, rows, _PATH_LATENT), noise, jax.vmap(lambda key: jax.random.normal(key, shape))(pixels)
    )


def held_out_keys(config: Config, step: jax.Array, rows: int) -> jax.Array:
    """Returns the PRNG keys [rows] by which the held-out images of this device are augmented."""
    return sample_keys(config.seed, step, rows, (_AUGMENT_HELD_OUT,))[0]


def _latents(config: Config, step: jax.Array, rows: int, phase: int) -> Latents:
    """Draws latents; a share `style_mixing` of them has a second latent from a random layer on."""
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
    """Converts the images of a device's batch to f32 in [-1,1] and draws the random numbers of the step."""
    real = pictures.to_float(batch["image"])  # [n,R,R,3]
    return Inputs(real, batch["attributes"], draw_main(config, step, real.shape[0]))


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh, group: int = 1) -> Batch:
    """Puts this process's rows on its devices, in the order of `group_rows`.

    Sample i goes to device i mod n, so the groups are the same samples on any number of devices of one process.

    Args:
        batch: arrays with equal numbers of rows, among them "attributes" f32[N,A].
        mesh: the mesh of `sharding.make_mesh`.
        group: number of samples in a group (`discriminator.mbstd_group`).

    Returns:
        The batch, sharded by rows.
    """
    count = len(mesh.local_devices)
    order = group_rows(batch["attributes"], group)
    order = order.reshape(-1, count).T.reshape(-1)  # sample i to device i mod n
    return sharding.put_rows({name: rows[order] for name, rows in batch.items()}, mesh)


def group_rows(attributes: np.ndarray, group: int) -> np.ndarray:
    """Returns an order of samples that suits the minibatch standard deviation.

    The samples of a group have the same attribute where possible: a generator that always draws the same masked face
    then stands out.

    Args:
        attributes: f32[N,A].
        group: number of samples in a group (`discriminator.mbstd_group`).

    Returns:
        i64[N], the indices of the samples.
    """
    order = np.argsort(attributes.argmax(1), kind="stable")
    if len(order) % group == 0:  # groups are strided (`layers.minibatch_stddev`)
        order = order.reshape(-1, group).T.reshape(-1)
    return order


def check_accumulation(config: Config, devices: int) -> None:
    """Checks that `config.accumulate` cuts no group of the minibatch standard deviation.

    Raises:
        ValueError: a group would be cut.
    """
    rows = config.batch_size // devices
    if config.accumulate > 1 and rows % (config.accumulate * config.discriminator.mbstd_group):
        raise ValueError(
            f"config.accumulate is {config.accumulate}, but the {rows} images of a device do not split into so many "
            f"parts of whole groups of {config.discriminator.mbstd_group} (config.discriminator.mbstd_group)"
        )


def check_groups(config: Config, devices: int) -> str:
    """Checks that the images of a device form groups for the minibatch standard deviation.

    Args:
        config: of a training in which D judges images.
        devices: number of devices of all processes.

    Returns:
        A note where the groups are smaller than `config.discriminator.mbstd_group`, "" where they are not.

    Raises:
        ValueError: each image would be a group of its own, whose standard deviation says nothing.
    """
    rows, group = config.batch_size // devices, config.discriminator.mbstd_group
    size = layers.group_size(rows, group)
    if size == group:
        return ""
    fitting = -(-rows // group) * group * devices
    if size == 1:
        raise ValueError(
            f"config.batch_size is {config.batch_size}, {rows} on each device, which form no groups of 2 to {group} "
            "(config.discriminator.mbstd_group), so that D could not see how the images of a batch differ; set "
            f"--config.batch_size={fitting}, or train without by --config.discriminator.mbstd_group=1"
        )
    return (
        f"note: the {rows} images of a device form groups of {size} for the minibatch standard deviation, not of "
        f"{group} (config.discriminator.mbstd_group); --config.batch_size={fitting} would form these"
    )
