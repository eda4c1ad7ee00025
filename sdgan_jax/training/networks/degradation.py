"""Augmentation of faces by what cameras, films and files do to photos: blur, tones, grey, noise, JPEG's blocks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

_BLOCK = 8  # pixels along a side of JPEG's blocks
_MOST_GAMMA = 0.8  # logarithm of the exponent
_MOST_NOISE = 0.2  # standard deviation, in brightness from -1 to 1
_COARSEST = 0.12  # JPEG's step at the finest pattern of a block, in brightness from -1 to 1
_TINT = 0.15  # of old prints, per colour channel


def degrade(key: jax.Array, image: jax.Array, probability: float) -> jax.Array:
    """Degrades an image, by each kind with the same probability.

    Args:
        key: PRNG key.
        image: f32[R,R,3] in [-1,1], with R a multiple of 8.
        probability: of lens blur, motion blur, another gamma, grey, noise, and JPEG's blocks, each.

    Returns:
        f32[R,R,3] in [-1,1].
    """
    chance_key, draw_key, noise_key = jax.random.split(key, 3)
    chances = jax.random.uniform(chance_key, (6,)) < probability
    draws = jax.random.uniform(draw_key, (8,))
    # Grey comes first: the noise of a grey film is grey, that of a faded one is not.
    image = jnp.where(chances[0], fade(image, draws[:3]), image)
    image = jnp.where(chances[1], blur(blur(image)), image)
    image = jnp.where(chances[2], smear(image, draws[3]), image)
    image = jnp.where(chances[3], bend(image, _MOST_GAMMA * (2.0 * draws[4] - 1.0)), image)
    grain = jax.random.normal(noise_key, image.shape)
    grain = jnp.where(draws[5] < 0.5, grain, 1.7 * blur(grain[..., :1]))
    image = jnp.where(chances[4], image + _MOST_NOISE * draws[6] * grain, image)
    return jnp.where(chances[5], quantise(image, _COARSEST * draws[7]), image).clip(-1.0, 1.0)


def blur(image: jax.Array) -> jax.Array:
    """Convolves f32[R,R,3] with [1 2 1]/4 along height and width, as shifted sums."""
    x = jnp.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    x = (x[:-2] + 2.0 * x[1:-1] + x[2:]) / 4.0
    return (x[:, :-2] + 2.0 * x[:, 1:-1] + x[:, 2:]) / 4.0


def fade(image: jax.Array, draws: jax.Array) -> jax.Array:
    """Turns f32[R,R,3] grey, with a tint by draws f32[3] in [0,1]."""
    weights = jnp.array([0.299, 0.587, 0.114])
    return (image @ weights)[..., None] * jnp.ones(3) + _TINT * (2.0 * draws - 1.0)


def smear(image: jax.Array, draw: jax.Array) -> jax.Array:
    """Averages f32[R,R,3] along a direction that a draw in [0,1] chooses of four, over five pixels."""
    ways = jnp.array([(0, 1), (1, 0), (1, 1), (1, -1)])
    way = ways[jnp.minimum((4 * draw).astype(jnp.int32), 3)]
    padded = jnp.pad(image, ((2, 2), (2, 2), (0, 0)), mode="edge")
    parts = [jax.lax.dynamic_slice(padded, (2 + k * way[0], 2 + k * way[1], 0), image.shape) for k in (-2, -1, 0, 1, 2)]
    return jnp.stack(parts).mean(0)


def bend(image: jax.Array, amount: jax.Array) -> jax.Array:
    """Applies the gamma curve of exponent exp(amount) to f32[R,R,3] in [-1,1]."""
    return 2.0 * ((image.clip(-1.0, 1.0) + 1.0) / 2.0 + 1e-6) ** jnp.exp(amount) - 1.0


def quantise(image: jax.Array, step: jax.Array) -> jax.Array:
    """Rounds the cosine transform of blocks of 8×8 pixels, as JPEG does; finer patterns by larger steps.

    Args:
        image: f32[R,R,3], with R a multiple of 8.
        step: step of the finest pattern's coefficient; that of the mean is an eighth of it.
    """
    count = image.shape[0] // _BLOCK
    blocks = image.reshape(count, _BLOCK, count, _BLOCK, 3)
    cosines = jnp.asarray(_cosines())
    parts = jnp.einsum("ki,lj,aibjc->akblc", cosines, cosines, blocks)
    order = jnp.arange(_BLOCK)
    steps = (step + 1e-6) * _BLOCK * (1.0 + 7.0 * (order[:, None] + order) / (2 * _BLOCK - 2)) / 8.0
    steps = steps[None, :, None, :, None]
    return jnp.einsum("ki,lj,akblc->aibjc", cosines, cosines, jnp.round(parts / steps) * steps).reshape(image.shape)


def _cosines() -> np.ndarray:
    """Returns the orthonormal cosine transform f32[8,8] of 8 values (DCT-II)."""
    k, i = np.arange(_BLOCK)[:, None], np.arange(_BLOCK)
    table = np.cos(np.pi * (i + 0.5) * k / _BLOCK) * np.sqrt(2.0 / _BLOCK)
    table[0] /= np.sqrt(2.0)
    return table.astype(np.float32)
