"""Adaptive discriminator augmentation: random changes of D's images, with a probability p that follows overfitting.

Karras et al., "Training Generative Adversarial Networks with Limited Data", 2020, with the pipeline `bgc`: pixel blits,
general geometry, colour. Order, probabilities and ranges are those of NVlabs/stylegan2-ada-pytorch. One 3×3 matrix
holds the geometry of a sample and one 4×4 matrix its colour, so that an image is resampled and recoloured once.

Shapes are static, and another p needs no compilation. The result is affine in the images and differentiable to any
order in reverse mode. There are three differences from the reference:

* Images continue beyond their border as endless mirror images, by folding the coordinates. The reference pads by at
  most R - 1 pixels, as far as the batch needs, and shows black beyond.
* Flips, quarter turns and whole shifts alone move pixels exactly. The reference filters them too, and its filter sym6
  is not symmetric.
* A sample of the doubled grid is placed at the centroid of its filter. The reference places it in the middle of the
  filter's taps, 0.2 pixels away, which displaces rotated images by up to 0.4 pixels.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sdgan_jax.nets import backend

# Low-pass decomposition filter of the wavelet sym6 (Daubechies): orthogonal to its shifts by two, sum sqrt(2).
SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)
# Samples 2j and 2j + 1 of the doubled grid are sums over u of TAPS[phase][u] x[j + 3 - u]; each phase sums to 1.
TAPS = tuple(tuple(math.sqrt(2.0) * tap for tap in taps) for taps in ((0.0, *SYM6[1::2]), (*SYM6[0::2], 0.0)))
REACH = 3  # pixels on either side that the filter reads
# Sample m of the doubled grid lies at pixel (m - CENTROID) / 2.
CENTROID = sum(k * tap for k, tap in enumerate(SYM6)) / sum(SYM6) - 5.0


class Augmentation(NamedTuple):
    """Parameters of one sample's augmentation; brackets contain the values of a transform that is not applied."""

    flip: jax.Array  # f32, 1 mirrors left and right [0]
    turns: jax.Array  # f32, number of quarter turns, 0 to 3 [0]
    shift: jax.Array  # f32[2] in [-0.125, 0.125], share of the side; rounded to whole pixels [0]
    scale: jax.Array  # f32 > 0 [1]
    turn_before: jax.Array  # f32 in [-pi, pi] [0]
    stretch: jax.Array  # f32 > 0, multiplies the width and divides the height [1]
    turn_after: jax.Array  # f32 in [-pi, pi] [0]
    slide: jax.Array  # f32[2], share of the side [0]
    brightness: jax.Array  # f32, added to the image [0]
    contrast: jax.Array  # f32 > 0 [1]
    luma: jax.Array  # f32, 1 inverts the brightness [0]
    hue: jax.Array  # f32 in [-pi, pi] [0]
    saturation: jax.Array  # f32 > 0 [1]


def augment(keys: jax.Array, images: jax.Array, p: jax.Array) -> jax.Array:
    """Changes every image at random, geometry first and then colour.

    Args:
        keys: key[N], one for each sample, so that its augmentation does not depend on the rest of the batch.
        images: f32[N,R,R,3], usually in [-1,1]; R is even and at least 4.
        p: f32 scalar in [0,1], the probability of each transform; 0 returns the images unchanged at no cost.

    Returns:
        f32[N,R,R,3]; colours may leave [-1,1], as in the reference.
    """

    def change() -> jax.Array:
        sampled = jax.vmap(sample_augmentation, (0, None))(keys, p)
        planes = images.transpose(0, 3, 1, 2)  # [N,3,R,R], so that the long axes are the inner ones
        with jax.default_matmul_precision("highest"):  # accelerators round the factors otherwise
            blits, motions = jax.vmap(functools.partial(geometry_matrices, size=images.shape[1]))(sampled)
            colours = jax.vmap(colour_matrix)(sampled)
            planes = recolour(move(planes, blits, motions), colours)
        return planes.transpose(0, 2, 3, 1)

    return jax.lax.cond(p > 0, change, lambda: images)


def sample_augmentation(key: jax.Array, p: jax.Array) -> Augmentation:
    """Draws the parameters of one sample's augmentation.

    Each transform is applied with probability p, independently. Each of the two rotations is applied with probability
    1 - sqrt(1 - p), so that at least one is applied with probability p. An applied flip, quarter turn or inversion may
    still draw the value that changes nothing.

    Args:
        key: key of the sample.
        p: f32 scalar in [0,1].
    """
    # One random draw compiles faster than many. Gates and angles are uniform; erf's inverse gives the normal numbers.
    numbers = jax.random.uniform(key, (28,), minval=np.nextafter(np.float32(-1), np.float32(0)), maxval=1.0)
    on, uniform = iter(0.5 * numbers[:13] + 0.5), iter(numbers[13:21])  # in (0,1) and (-1,1)
    normal = iter(math.sqrt(2.0) * jax.lax.erf_inv(numbers[21:]))
    p_turn = 1.0 - jnp.sqrt(1.0 - jnp.clip(p, 0.0, 1.0))

    def apply(value: jax.Array, otherwise: float, probability: jax.Array = p) -> jax.Array:
        return jnp.where(next(on) < probability, value, otherwise)

    def angle() -> jax.Array:
        return math.pi * next(uniform)

    return Augmentation(
        flip=apply(jnp.floor(1.0 + next(uniform)), 0.0),
        turns=apply(jnp.floor(2.0 + 2.0 * next(uniform)), 0.0),
        shift=apply(0.125 * jnp.stack((next(uniform), next(uniform))), 0.0),
        scale=apply(jnp.exp2(0.2 * next(normal)), 1.0),
        turn_before=apply(angle(), 0.0, p_turn),
        stretch=apply(jnp.exp2(0.2 * next(normal)), 1.0),
        turn_after=apply(angle(), 0.0, p_turn),
        slide=apply(0.125 * jnp.stack((next(normal), next(normal))), 0.0),
        brightness=apply(0.2 * next(normal), 0.0),
        contrast=apply(jnp.exp2(0.5 * next(normal)), 1.0),
        luma=apply(jnp.floor(1.0 + next(uniform)), 0.0),
        hue=apply(angle(), 0.0),
        saturation=apply(jnp.exp2(next(normal)), 1.0),
    )


def geometry_matrices(sampled: Augmentation, size: int) -> tuple[jax.Array, jax.Array]:
    """Returns one sample's geometry as the map from a pixel of the result to its source.

    Args:
        sampled: parameters of one sample.
        size: side of the image in pixels.

    Returns:
        Two matrices f32[3,3] acting on (x, y, 1), in pixels from the middle of the image, x to the right and y down:
        the blits, which map pixels to pixels, and the motions that follow them. The source of (x, y) is
        blits @ motions @ (x, y, 1).
    """
    shift, slide = jnp.round(size * sampled.shift), size * sampled.slide
    blits = mirror(sampled.flip) @ turn_quarters(sampled.turns) @ translate(shift[0], shift[1])
    motions = magnify(sampled.scale, sampled.scale) @ turn(sampled.turn_before)
    motions = motions @ magnify(sampled.stretch, 1.0 / sampled.stretch) @ turn(sampled.turn_after)
    return blits, motions @ translate(slide[0], slide[1])


def mirror(flip: jax.Array) -> jax.Array:
    """Returns the matrix that mirrors left and right where `flip` is 1: x -> -x."""
    return jnp.diag(jnp.stack((1.0 - 2.0 * flip, jnp.ones_like(flip), jnp.ones_like(flip))))


def turn_quarters(turns: jax.Array) -> jax.Array:
    """Returns the matrix of `turns` anticlockwise quarter turns, without rounding errors."""
    return jnp.round(turn(turns * (math.pi / 2.0)))


def turn(angle: jax.Array) -> jax.Array:
    """Returns the matrix of an anticlockwise rotation on the screen: (x, y) from (x cos - y sin, x sin + y cos)."""
    cos, sin, zero = jnp.cos(angle), jnp.sin(angle), jnp.zeros_like(angle)
    return jnp.stack((cos, -sin, zero, sin, cos, zero, zero, zero, zero + 1.0)).reshape(3, 3)


def translate(x: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the matrix of a shift to the right by `x` and down by `y` pixels."""
    return jnp.eye(3).at[:2, 2].set(jnp.stack((-x, -y)))


def magnify(x: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the matrix that makes images `x` times as wide and `y` times as high."""
    return jnp.diag(jnp.stack((1.0 / x, 1.0 / y, jnp.ones_like(x))))


def colour_matrix(sampled: Augmentation) -> jax.Array:
    """Returns one sample's change of colour as a matrix f32[4,4] acting on (r, g, b, 1)."""
    first = contrast(sampled.contrast) @ brighten(sampled.brightness)
    return saturate(sampled.saturation) @ turn_hue(sampled.hue) @ invert_luma(sampled.luma) @ first


def brighten(amount: jax.Array) -> jax.Array:
    """Returns the matrix of c + amount."""
    return jnp.eye(4).at[:3, 3].set(amount)


def contrast(factor: jax.Array) -> jax.Array:
    """Returns the matrix of c · factor; mid-grey, 0, stays."""
    return jnp.diag(jnp.stack((factor, factor, factor, jnp.ones_like(factor))))


def invert_luma(flip: jax.Array) -> jax.Array:
    """Returns the matrix that, where `flip` is 1, reflects along the grey axis g = (1,1,1) / sqrt(3): c - 2 g (g·c)."""
    return jnp.eye(4).at[:3, :3].add(-2.0 / 3.0 * flip)


def turn_hue(angle: jax.Array) -> jax.Array:
    """Returns the rotation about the grey axis g by Rodrigues' formula: c cos + (g × c) sin + g (g·c) (1 - cos)."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    return jnp.eye(4).at[:3, :3].set(cos * np.eye(3) + sin / math.sqrt(3.0) * cross + (1.0 - cos) / 3.0)


def saturate(factor: jax.Array) -> jax.Array:
    """Returns the matrix that scales the distance from grey: c · factor + g (g·c) (1 - factor)."""
    return jnp.eye(4).at[:3, :3].set(factor * np.eye(3) + (1.0 - factor) / 3.0)


def recolour(planes: jax.Array, colours: jax.Array) -> jax.Array:
    """Applies matrices f32[N,4,4] acting on (r, g, b, 1) to the colours of `planes` f32[N,3,H,W]."""
    columns = colours[:, :3, :, None, None]
    return columns[:, :, 3] + sum(columns[:, :, k] * planes[:, k : k + 1] for k in range(3))


def move(planes: jax.Array, blits: jax.Array, motions: jax.Array) -> jax.Array:
    """Resamples every image once.

    Args:
        planes: f32[N,3,R,R].
        blits: f32[N,3,3], maps from pixels to pixels, applied first.
        motions: f32[N,3,3], any affine maps. Where a motion is the identity, pixels are moved without filtering.

    Returns:
        f32[N,3,R,R].
    """
    still = jnp.all(motions == jnp.eye(3), (1, 2))[:, None, None, None]
    return jnp.where(still, _blit(planes, blits), _warp(planes, blits @ motions))


def _blit(planes: jax.Array, inverse: jax.Array) -> jax.Array:
    """Copies to each pixel of `planes` f32[N,3,R,R] its source pixel under `inverse` f32[N,3,3]."""
    size = planes.shape[-1]
    x, y = _sources(inverse, jnp.arange(size) - (size - 1) / 2.0)
    x, y = (_fold(jnp.round(c + (size - 1) / 2.0), size - 1.0).astype(jnp.int32) for c in (x, y))
    return _take(planes.reshape(*planes.shape[:2], -1), y * size + x)


def _warp(planes: jax.Array, inverse: jax.Array) -> jax.Array:
    """Warps f32[N,3,R,R]: doubles it with sym6, samples it bilinearly under f32[N,3,3], halves it with sym6.

    Both axes of the doubled grid are stored as [phase, pixel], where sample 2j + phase has pixel j. This avoids
    interleaving the phases.
    """
    n, _, size, _ = planes.shape
    for axis in (2, 4):
        pads = [(REACH, REACH) if a == axis else (0, 0) for a in range(planes.ndim)]
        planes = _split(jnp.pad(planes, pads, mode="reflect"), axis)  # [N,3,2,R,2,R] in the end
    planes = planes.reshape(n, 3, -1)

    corners, right, down = _compute_once(lambda: _corners(inverse, size), inverse[0, 2, 2] > 0)
    top, bottom = ((1.0 - right) * _take(planes, i) + right * _take(planes, k) for i, k in corners)
    planes = ((1.0 - down) * top + down * bottom).reshape(n, 3, 2, size + 2 * REACH, 2, size + 2 * REACH)
    return _join(_join(planes, 4), 2)


def _corners(inverse: jax.Array, size: int) -> tuple[list[list[jax.Array]], jax.Array, jax.Array]:
    """Locates the warped doubled grid, with the margin that halving needs, in the doubled grid of an image.

    Returns:
        Indices [2][2] of i32[N,2R+12,2R+12] of the four samples around each point, by row and column, and the weights
        f32[N,1,2R+12,2R+12] of the right and of the lower samples.
    """
    sample = 2.0 * jnp.arange(-REACH, size + REACH) + jnp.arange(2.0)[:, None]  # [phase, pixel]
    x, y = _sources(inverse, (sample.reshape(-1) - CENTROID - (size - 1)) / 2.0)  # in pixels from the middle
    x, y = (_fold(2.0 * c + (size - 1), 2.0 * (size - 1)) + CENTROID for c in (x, y))  # in samples
    x0, y0 = jnp.floor(x), jnp.floor(y)
    columns, rows = ([_phase(c.astype(jnp.int32) + i, size) for i in (0, 1)] for c in (x0, y0))
    return [[2 * size * row + column for column in columns] for row in rows], (x - x0)[:, None], (y - y0)[:, None]


def _compute_once(compute: Callable[[], Any], true: jax.Array) -> Any:
    """Returns `compute()`, stored once; XLA's CPU backend would recompute it for each use, in three times the time.

    That backend removes an optimisation barrier before fusion, but it does not fuse across a branch. The branch taken
    here is on the condition `true`, which always holds.
    """
    if backend.name() != "cpu":
        return jax.lax.optimization_barrier(compute())
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(compute))
    return jax.lax.cond(true, compute, lambda: zeros)


def _sources(inverse: jax.Array, at: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the sources x and y, f32[N,S,S], of the points of the grid `at` × `at` under f32[N,3,3]."""
    m = inverse[:, :, :, None, None]
    x, y = (m[:, i, 0] * at + m[:, i, 1] * at[:, None] + m[:, i, 2] for i in (0, 1))
    return x, y


def _fold(x: jax.Array, last: float) -> jax.Array:
    """Maps any number to [0, last] by reflections at 0 and `last`."""
    x = x - 2.0 * last * jnp.floor(x * (0.5 / last))
    return jnp.minimum(x, 2.0 * last - x)


def _phase(sample: jax.Array, size: int) -> jax.Array:
    """Returns the flat index in [phase, pixel] of sample 2j + phase."""
    return (sample & 1) * size + (sample >> 1)


def _take(planes: jax.Array, index: jax.Array) -> jax.Array:
    """Gathers the elements i32[N,S,S] of f32[N,3,P]; returns f32[N,3,S,S]."""
    return jax.vmap(lambda plane, i: plane.at[:, i].get(mode="promise_in_bounds"))(planes, index)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _split(x: jax.Array, axis: int) -> jax.Array:
    """Doubles `axis`, padded by REACH on both sides, into [phase, pixel]: out[phase, j] = sum TAPS[phase][u] x[j+6-u].

    `_split` and `_join` are each the adjoint of the other on zero-padded arrays. Their derivatives are written by hand,
    because automatic differentiation of shifted sums takes ten times as long on CPU.
    """
    last = 2 * REACH
    size = x.shape[axis] - last
    shifted = [jax.lax.slice_in_dim(x, last - u, last - u + size, axis=axis) for u in range(last + 1)]
    return jnp.stack([sum(t * s for t, s in zip(taps, shifted, strict=True) if t) for taps in TAPS], axis)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _join(x: jax.Array, axis: int) -> jax.Array:
    """Halves `axis`, [phase, pixel + 2 REACH]: out[n] = 1/2 sum TAPS[phase][u] x[phase, n+u]; inverts `_split`."""
    size = x.shape[axis + 1] - 2 * REACH
    phases = [jax.lax.index_in_dim(x, phase, axis, keepdims=False) for phase in (0, 1)]
    shifted = [
        (t, jax.lax.slice_in_dim(x, u, u + size, axis=axis))
        for taps, x in zip(TAPS, phases, strict=True)
        for u, t in enumerate(taps)
        if t
    ]
    return functools.reduce(jnp.add, [0.5 * t * s for t, s in shifted])


def _pad(x: jax.Array, axis: int) -> jax.Array:
    return jnp.pad(x, [(2 * REACH, 2 * REACH) if a == axis else (0, 0) for a in range(x.ndim)])


_split.defvjp(lambda x, axis: (_split(x, axis), None), lambda axis, _, y: (2.0 * _join(_pad(y, axis + 1), axis),))
_join.defvjp(lambda x, axis: (_join(x, axis), None), lambda axis, _, y: (0.5 * _split(_pad(y, axis), axis),))


def adapt(p: jax.Array, measured: jax.Array, batch_size: int, every: int, target: float, ada_kimg: float) -> jax.Array:
    """Returns the next p: p + sgn(measured - target) · every · batch_size / (1000 · ada_kimg), clipped to [0, 1].

    p crosses its whole range in `ada_kimg` thousand images. The reference has no upper bound; above 1 nothing changes,
    and p would only take longer to fall again.

    Args:
        p: f32 scalar in [0,1].
        measured: f32 scalar, a measure of overfitting. The reference takes the mean of sgn D(x) over the real images
            of the last `every` steps; near 0 while D cannot distinguish them from unseen images, near 1 when D has
            memorised them.
        batch_size: images per step.
        every: steps between two updates of p.
        target: target value of `measured`.
        ada_kimg: thousands of images in which p crosses [0,1].
    """
    return jnp.clip(p + jnp.sign(measured - target) * (every * batch_size / (1000.0 * ada_kimg)), 0.0, 1.0)
