"""Similarity of pairs of images."""

from __future__ import annotations

import jax
import jax.numpy as jnp

_RANGE = 2.0  # of images in [-1,1]


def psnr(a: jax.Array, b: jax.Array) -> jax.Array:
    """Computes the peak signal-to-noise ratio, 10 log10(range² / mean squared error).

    Args:
        a: f32[N,H,W,C] in [-1,1].
        b: likewise.

    Returns:
        f32[N] in dB; infinite for equal images.
    """
    return 10.0 * jnp.log10(_RANGE**2 / jnp.square(a - b).mean((1, 2, 3)))
