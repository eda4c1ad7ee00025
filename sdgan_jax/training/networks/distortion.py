"""Augmentation of faces: turned, moved, recoloured, blurred, partly hidden. A position map moves with its image."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sdgan_jax.config.networks import IdentityConfig, PRNetConfig
from sdgan_jax.face3d import geometry
from sdgan_jax.training.networks import degradation

_PHOTO = 4  # number of the key of `degradation`, after those of `distort`


def distort(
    key: jax.Array, image: jax.Array, position_map: jax.Array, other: jax.Array, config: PRNetConfig
) -> tuple[jax.Array, jax.Array]:
    """Distorts one image and its position map.

    Args:
        key: PRNG key.
        image: f32[R,R,3] in [-1,1].
        position_map: f32[S,S,3] in pixels of the image; of a layout that is its own mirror image.
        other: f32[R,R,3], the image that patches in front of the face are cut from.
        config: the amounts.

    Returns:
        The image and the map, of the same shapes; under a patch the map still describes the face.
    """
    keys = jax.random.split(key, 4)
    flip = jax.random.bernoulli(keys[0])
    position_map = jnp.where(flip, geometry.mirror(position_map, image.shape[1]), position_map)
    image = jnp.where(flip, image[:, ::-1], image)
    image, position_map = move(keys[1], image, position_map, config)
    image = recolour(keys[2], image, config.colour)
    image = hide(keys[3], image, other, config.occlusion)
    if config.photo:
        image = degradation.degrade(jax.random.fold_in(key, _PHOTO), image, config.photo)
    return image, position_map


def move(
    key: jax.Array, image: jax.Array, position_map: jax.Array, config: PRNetConfig | IdentityConfig
) -> tuple[jax.Array, jax.Array]:
    """Rotates, scales and shifts image and map about the image's centre; border pixels are repeated outwards."""
    angle, scale, x, y = jax.random.uniform(key, (4,), minval=-1.0)
    size = image.shape[0]
    angle, scale = jnp.deg2rad(config.rotation) * angle, jnp.exp(config.scale * scale)
    shift = config.shift * size * jnp.stack((x, y))
    turn = jnp.stack((jnp.cos(angle), -jnp.sin(angle), jnp.sin(angle), jnp.cos(angle))).reshape(2, 2)
    middle = (size - 1) / 2
    moved = (position_map[..., :2] - middle) @ (scale * turn).T + middle + shift
    position_map = jnp.concatenate((moved, position_map[..., 2:] * scale), -1)
    line = jnp.arange(size)
    to = jnp.stack(jnp.meshgrid(line, line), -1)  # [R,R,2], x and y
    at = (to - middle - shift) @ turn / scale + middle
    return geometry.sample_pixels(image, at), position_map


def shift_pixels(key: jax.Array, image: jax.Array, reach: int) -> jax.Array:
    """Shifts f32[R,R,C] by up to `reach` whole pixels along each axis; border pixels are repeated outwards."""
    padded = jnp.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    row, column = jax.random.randint(key, (2,), 0, 2 * reach + 1)
    return jax.lax.dynamic_slice(padded, (row, column, 0), image.shape)


def recolour(key: jax.Array, image: jax.Array, amount: float) -> jax.Array:
    """Changes brightness, contrast, tint and saturation of f32[R,R,3] in [-1,1]; blurs it and adds noise."""
    uniform_key, noise_key = jax.random.split(key)
    draws = jax.random.uniform(uniform_key, (8,), minval=-1.0)
    image = image + jnp.maximum(draws[0], 0.0) * (degradation.blur(image) - image)
    grey = image.mean(-1, keepdims=True)
    image = image + 0.5 * jnp.maximum(draws[1], 0.0) * (grey - image)
    image = image * jnp.exp(amount * draws[2]) + amount * (draws[3] + 0.5 * draws[4:7])
    sigma = 0.2 * amount * jnp.maximum(draws[7], 0.0)
    return (image + sigma * jax.random.normal(noise_key, image.shape)).clip(-1.0, 1.0)


def hide(key: jax.Array, image: jax.Array, other: jax.Array, probability: float) -> jax.Array:
    """Puts a patch in front: a rectangle or an ellipse of one colour, of noise, or cut from another image."""
    keys = jax.random.split(key, 3)
    draws = jax.random.uniform(keys[0], (9,))
    line = jnp.linspace(0.0, 1.0, image.shape[0])
    half = 0.05 + 0.2 * draws[2:4]
    x, y = (line[None] - draws[0]) / half[0], (line[:, None] - draws[1]) / half[1]
    inside = jnp.where(draws[4] < 0.5, jnp.hypot(x, y), jnp.maximum(jnp.abs(x), jnp.abs(y))) < 1.0
    colour = jax.random.uniform(keys[1], (3,), minval=-1.0)
    plain = colour + 0.4 * draws[5] * jax.random.normal(keys[2], image.shape)
    patch = jnp.where(draws[6] < 0.5, plain, other)
    return jnp.where((inside & (draws[7] < probability))[..., None], patch, image)
