"""Blending of an edit into the given face: what the edit does not change stays as it was in the picture.

No latent reproduces a face exactly. The edited face is therefore laid over the given one only where the generator's
picture of the edited latent differs from its picture of the unedited one.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

# Differences of colours in [-1,1] up to which nothing, and from which all, is edited. Lower ones also edit pixels
# outside of the attribute, higher ones hide weak edits. Chosen on validation faces, see docs/training.md.
LOW, HIGH = 0.2, 0.3
_REACH = 64  # sides of an image in the reach of its dilation and blur


def blend(source: jax.Array, plain: jax.Array, edited: jax.Array) -> jax.Array:
    """Lays edited faces over given ones where they were edited: (1 - a) · source + a · edited, a = changed(...).

    Args:
        source: f32[N,R,R,3] in [-1,1], the given faces.
        plain: f32[N,R,R,3], G's pictures of their latents.
        edited: f32[N,R,R,3], G's pictures of the edited latents.

    Returns:
        f32[N,R,R,3]; the same numbers as `source` where `edited` is like `plain`.
    """
    share = changed(plain, edited, LOW, HIGH)[..., None]
    return (1.0 - share) * source + share * edited


def changed(a: jax.Array, b: jax.Array, low: float, high: float) -> jax.Array:
    """Marks the region in which images differ.

    The largest difference of the three colours is averaged over nearby pixels, scaled by a smooth step from `low` to
    `high`, dilated, and blurred, so that the region ends softly outside of the change.

    Args:
        a: f32[N,R,R,3] in [-1,1].
        b: f32[N,R,R,3] in [-1,1].
        low: difference up to which a place counts as the same.
        high: difference from which it counts in full.

    Returns:
        f32[N,R,R] in [0,1].
    """
    radius = max(1, a.shape[1] // _REACH)
    difference = _mean(jnp.abs(a - b).max(-1), radius)
    t = jnp.clip((difference - low) / (high - low), 0.0, 1.0)
    return jnp.clip(_mean(_greatest(t * t * (3.0 - 2.0 * t), 2 * radius), radius), 0.0, 1.0)


def _mean(x: jax.Array, radius: int) -> jax.Array:
    """Averages f32[N,R,R] over squares of the side 2 · radius + 1; the edge pixels are repeated beyond the edge."""
    width = 2 * radius + 1
    padded = jnp.pad(x, ((0, 0), (radius, radius), (radius, radius)), mode="edge")
    for axis in (1, 2):
        length = x.shape[axis]
        parts = [jax.lax.slice_in_dim(padded, shift, shift + length, axis=axis) for shift in range(width)]
        padded = jnp.stack(parts).sum(0)
    return padded / width**2


def _greatest(x: jax.Array, radius: int) -> jax.Array:
    """Returns the greatest values of f32[N,R,R] in squares of the side 2 · radius + 1."""
    window = (1, 2 * radius + 1, 2 * radius + 1)
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, (1, 1, 1), "SAME")
