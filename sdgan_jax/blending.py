"""Blending of an edit into the given face: what the edit does not change stays as it was in the picture.

No latent reproduces a face exactly. The edited face is therefore laid over the given one only where the generator's
picture of the edited latent differs from its picture of the unedited one, and in the colours of the given face.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

# Differences of colours up to which nothing, and from which all, is edited, in shares of the strongest change of the
# face: thin frames change the picture less than masks. Lower ones also edit pixels outside of the attribute, higher
# ones hide weak edits. Chosen on validation faces, see docs/training.md.
LOW, HIGH = 0.4, 0.5
WEAKEST, STRONGEST = 0.2, 1.0  # bounds of the strongest change, in colours in [-1,1]
STRONGEST_REMOVAL = 0.7  # upper bound where an attribute is taken off, of which nothing must stay
_REACH = 64  # sides of an image in the reach of its dilation and blur
_NEARBY = 1 / 8  # width of the Gaussian over which differences of colour are averaged, in sides
_UNLIKE = 0.5  # difference of colours that says that the generator drew something else there


Array = TypeVar("Array", jax.Array, np.ndarray)


class Drawn(NamedTuple, Generic[Array]):
    """Faces drawn from their latents, before and after an edit.

    Attributes:
        plain: f32[N,R,R,3], about [-1,1], the unedited faces.
        edited: f32[N,R,R,3], the edited ones.
        region: f32[N,R,R] in [0,1], where the edit changes them, see `region_of_all`.
    """

    plain: Array
    edited: Array
    region: Array


def blend(source: jax.Array, plain: jax.Array, edited: jax.Array, removes: bool | np.ndarray | jax.Array) -> jax.Array:
    """Lays edited faces over given ones, see `lay_over`, in their `edited_region`."""
    return lay_over(source, plain, edited, edited_region(plain, edited, removes))


@jax.jit
def lay_over(source: jax.Array, plain: jax.Array, edited: jax.Array, region: jax.Array) -> jax.Array:
    """Lays edited faces over given ones in a region a: (1 - a) · source + a · (edited + c).

    Args:
        source: f32[N,R,R,3] in [-1,1], the given faces.
        plain: f32[N,R,R,3], G's pictures of their latents.
        edited: f32[N,R,R,3], G's pictures of the edited latents.
        region: f32[N,R,R] in [0,1], see `edited_region` and `region_of_all`.

    Returns:
        f32[N,R,R,3]; the same numbers as `source` outside of the region. c is that of `colour_correction`.
    """
    share = region[..., None]
    return (1.0 - share) * source + share * (edited + colour_correction(source, plain, region))


@jax.jit
def edited_region(plain: jax.Array, edited: jax.Array, removes: bool | np.ndarray | jax.Array) -> jax.Array:
    """Marks the region that an edit changes: `changed`, between thresholds that follow the strength of the change.

    Args:
        plain: f32[N,R,R,3], G's pictures of the latents.
        edited: f32[N,R,R,3], G's pictures of the edited latents.
        removes: whether an attribute is taken off, bool[N] or one for all faces.

    Returns:
        f32[N,R,R] in [0,1].
    """
    most = jnp.where(removes, STRONGEST_REMOVAL, STRONGEST).reshape(-1, 1, 1)
    strongest = jnp.clip(_differences(plain, edited).max((1, 2), keepdims=True), WEAKEST, most)  # [N,1,1]
    return changed(plain, edited, LOW * strongest, HIGH * strongest)


def region_of_all(
    plain: jax.Array, edited: jax.Array, attributes: np.ndarray, draw: Callable[[np.ndarray], jax.Array]
) -> jax.Array:
    """Marks the region that an edit of any number of attributes changes.

    Of several attributes the strongest alone would decide what counts as a change: frames of glasses would be lost
    beside a mask. So each marks the region of its own edit, too.

    Args:
        plain: f32[N,R,R,3], G's pictures of the latents.
        edited: f32[N,R,R,3], G's pictures of the edited latents.
        attributes: f32[N,A], weights of the edit, negative where an attribute is taken off; `none` is the first.
        draw: draws the latents edited by such weights, f32[N,R,R,3].

    Returns:
        f32[N,R,R] in [0,1].
    """
    region = edited_region(plain, edited, (attributes < 0).any(1))
    several = (attributes[:, 1:] != 0).sum(1) > 1
    for column in 1 + np.flatnonzero(attributes[several, 1:].any(0)):
        alone = np.zeros_like(attributes)
        alone[:, column] = attributes[:, column]
        region = jnp.maximum(region, edited_region(plain, draw(alone), (alone < 0).any(1)))
    return region


@jax.jit
def colour_correction(source: jax.Array, plain: jax.Array, region: jax.Array) -> jax.Array:
    """Computes what the colours of G's pictures lack to those of the given faces.

    It is the mean difference of the nearby pixels outside of a region. Pixels count less where picture and face show
    different things, such as another background.

    Args:
        source: f32[N,R,R,3] in [-1,1], the given faces.
        plain: f32[N,R,R,3], G's pictures of them.
        region: f32[N,R,R] in [0,1], see `edited_region`.

    Returns:
        f32[N,R,R,3].
    """
    difference = source - plain
    weight = (1.0 - region) * jnp.exp(-jnp.square(difference).max(-1) / (2.0 * _UNLIKE**2))
    places = jnp.arange(region.shape[1])
    near = jnp.exp(-0.5 * jnp.square((places[:, None] - places) / (_NEARBY * region.shape[1])))
    total = jnp.einsum("ia,nab,bj->nij", near, weight + 1e-3, near)
    return jnp.einsum("ia,nabc,bj->nijc", near, weight[..., None] * difference, near) / total[..., None]


def changed(a: jax.Array, b: jax.Array, low: float | jax.Array, high: float | jax.Array) -> jax.Array:
    """Marks the region in which images differ.

    The largest difference of the three colours is averaged over nearby pixels, scaled by a smooth step from `low` to
    `high`, dilated, and blurred, so that the region ends softly outside of the change.

    Args:
        a: f32[N,R,R,3] in [-1,1].
        b: f32[N,R,R,3] in [-1,1].
        low: difference up to which a place counts as the same, f32 or f32[N,1,1].
        high: difference from which it counts in full, likewise.

    Returns:
        f32[N,R,R] in [0,1].
    """
    radius = _radius(a)
    t = jnp.clip((_differences(a, b) - low) / (high - low), 0.0, 1.0)
    return jnp.clip(_mean(_greatest(t * t * (3.0 - 2.0 * t), 2 * radius), radius), 0.0, 1.0)


def _radius(images: jax.Array) -> int:
    return max(1, images.shape[1] // _REACH)


def _differences(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns the largest difference of the three colours, averaged over nearby pixels, f32[N,R,R]."""
    return _mean(jnp.abs(a - b).max(-1), _radius(a))


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
