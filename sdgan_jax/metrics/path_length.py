"""Perceptual path length, PPL (Karras et al. 2019, "A Style-Based Generator Architecture", section 4.1).

PPL is the mean of d(G(a), G(b)) / ε² for two latents a and b that are a step ε apart on the path between two random
latents. The first point of the step is anywhere on the path ("full") or at its start ("end"); the path is an arc in z
or a straight line in w. StyleGAN2 publishes w, end, with LPIPS of the whole images as the distance d (`ppl2_wend`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

EPSILON = 1e-4
TRIMMED = 0.01  # share of the distances that is left out at each end

# Latents z f32[N,D] to w f32[N,D], or w+ f32[N,L,D]; these to images; two batches of images to distances f32[N].
Map = Callable[[jax.Array], jax.Array]
Synthesize = Callable[[jax.Array], Any]
Distance = Callable[[Any, Any], jax.Array]


def step_lengths(
    mapping: Map,
    synthesize: Synthesize,
    distance: Distance,
    ends: tuple[jax.Array, jax.Array],
    t: jax.Array,
    space: str = "w",
    epsilon: float = EPSILON,
) -> jax.Array:
    """Computes d(G(a), G(b)) / ε² for a step of each path. Pure: its caller compiles it.

    Args:
        mapping: z to w.
        synthesize: w to images; its noise must be the same in both calls.
        distance: two batches of images to f32[N]; quadratic in small differences, as LPIPS is.
        ends: z f32[N,D] at both ends of the paths.
        t: f32[N] in [0,1], place of the steps on the paths; 0 for the sampling "end".
        space: "z" (spherical interpolation) or "w" (linear interpolation).
        epsilon: length of a step, as a share of its path.

    Returns:
        f32[N].
    """
    steps = (t[:, None], t[:, None] + epsilon)
    if space == "z":
        length = ends[0].shape[-1] ** 0.5  # of z, for models that add something to it before they normalise it
        first, second = (mapping(length * slerp(*ends, place)) for place in steps)
    else:
        start, end = map(mapping, ends)
        first, second = (start + (end - start) * place.reshape(-1, *[1] * (start.ndim - 1)) for place in steps)
    return distance(synthesize(first), synthesize(second)) / epsilon**2


def slerp(a: jax.Array, b: jax.Array, t: jax.Array) -> jax.Array:
    """Interpolates on the arc between two directions.

    Args:
        a: f32[N,D], not 0.
        b: f32[N,D], not 0; not opposite to a.
        t: f32[N,1], 0 at a, 1 at b.

    Returns:
        f32[N,D], unit vectors.
    """
    a, b = _unit(a), _unit(b)
    cosine = (a * b).sum(-1, keepdims=True)
    angle = t * jnp.arccos(jnp.clip(cosine, -1.0, 1.0))
    return _unit(a * jnp.cos(angle) + _unit(b - cosine * a) * jnp.sin(angle))


def path_length(lengths: np.ndarray, trimmed: float = TRIMMED) -> float:
    """Averages the lengths of steps between two quantiles, as published PPLs do.

    Args:
        lengths: float[N] of `step_lengths`, N >= 1.
        trimmed: share that is left out at each end; the quantiles are elements of the set, and belong to the mean.

    Returns:
        The mean.

    Raises:
        ValueError: there is no length, one is NaN or infinite, or `trimmed` is not from 0 to 0.5.
    """
    lengths = np.asarray(lengths, np.float64)
    if lengths.ndim != 1 or not len(lengths) or not 0 <= trimmed < 0.5:
        raise ValueError(f"lengths must be [N], N >= 1, and trimmed in [0, 0.5); got {lengths.shape} and {trimmed}")
    if not np.isfinite(lengths).all():
        raise ValueError("lengths are NaN or infinite; the generator has diverged")
    low = np.quantile(lengths, trimmed, method="lower")
    high = np.quantile(lengths, 1 - trimmed, method="higher")
    return float(lengths[(lengths >= low) & (lengths <= high)].mean())


def _unit(x: jax.Array) -> jax.Array:
    """Scales vectors to length 1; 0 stays 0."""
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
