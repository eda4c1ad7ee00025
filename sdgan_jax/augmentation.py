"""Adaptive discriminator augmentation: what D sees is changed at random, with a strength p that follows overfitting.

Karras et al., "Training Generative Adversarial Networks with Limited Data", 2020; the pipeline `bgc`: pixel blits,
general geometry, colour. Order, probabilities and ranges are those of NVlabs/stylegan2-ada-pytorch. A sample's geometry
is one 3×3 matrix, its colour one 4×4 matrix, so that an image is resampled and recoloured once.

Static shapes, nothing compiled anew for another p, affine in the images, differentiable to any order in reverse mode.
Three things differ from the reference:

* Images continue as mirror images without end, by folding the coordinates; the reference pads as far as the batch drawn
  needs, at most by R - 1, and shows black beyond.
* Flips, quarter turns and whole shifts alone move pixels exactly; the reference filters them too, and sym6 is not
  symmetric.
* A sample of the doubled grid stands where the centroid of its filter is, not in the middle of its taps 0.2 pixels
  away; the reference so displaces what it turns by up to 0.4 pixels.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

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
REACH = 3  # pixels that the filter looks at on either side
# Sample m of the doubled grid stands at pixel (m - CENTROID) / 2.
CENTROID = sum(k * tap for k, tap in enumerate(SYM6)) / sum(SYM6) - 5.0


class Draw(NamedTuple):
    """What one sample's augmentation is; the values in brackets are those of a transform that is not applied."""

    flip: jax.Array  # f32, 1 mirrors left and right [0]
    turns: jax.Array  # f32 of 0, 1, 2, 3 quarter turns [0]
    shift: jax.Array  # f32[2] in [-0.125, 0.125], of the side; rounded to whole pixels [0]
    scale: jax.Array  # f32 > 0 [1]
    turn_before: jax.Array  # f32 in [-pi, pi] [0]
    stretch: jax.Array  # f32 > 0, factor of the width and divisor of the height [1]
    turn_after: jax.Array  # f32 in [-pi, pi] [0]
    slide: jax.Array  # f32[2], of the side [0]
    brightness: jax.Array  # f32, added [0]
    contrast: jax.Array  # f32 > 0 [1]
    luma: jax.Array  # f32, 1 inverts the brightness [0]
    hue: jax.Array  # f32 in [-pi, pi] [0]
    saturation: jax.Array  # f32 > 0 [1]


def augment(keys: jax.Array, images: jax.Array, p: jax.Array) -> jax.Array:
    """Changes every image at random, geometry first and then colour.

    Args:
        keys: key[N], one for each sample, so that a sample's draw does not depend on the batch around it.
        images: f32[N,R,R,3] about [-1,1], R even and at least 4.
        p: f32 scalar in [0,1], the probability of each transform; 0 returns the images, bit for bit, and costs nothing.

    Returns:
        f32[N,R,R,3]; colours may leave [-1,1], as in the reference.
    """

    def change() -> jax.Array:
        draws = jax.vmap(draw, (0, None))(keys, p)
        planes = images.transpose(0, 3, 1, 2)  # [N,3,R,R], so that the long axes are the inner ones
        with jax.default_matmul_precision("highest"):  # of matrices; accelerators round their factors otherwise
            blits, motions = jax.vmap(functools.partial(place, size=images.shape[1]))(draws)
            colours = jax.vmap(colour)(draws)
            planes = recolour(move(planes, blits, motions), colours)
        return planes.transpose(0, 2, 3, 1)

    return jax.lax.cond(p > 0, change, lambda: images)


def draw(key: jax.Array, p: jax.Array) -> Draw:
    """Draws one sample's augmentation.

    Each transform is applied with probability p, independently; of the two rotations each with 1 - sqrt(1 - p), so
    that at least one is with p. A flip, a quarter turn or an inversion that is applied may still be by nothing.

    Args:
        key: the sample's key.
        p: f32 scalar in [0,1].
    """
    # All from one draw, as each takes a while to compile: gates and angles as they are, the rest by erf's inverse.
    numbers = jax.random.uniform(key, (28,), minval=np.nextafter(np.float32(-1), np.float32(0)), maxval=1.0)
    on, uniform = iter(0.5 * numbers[:13] + 0.5), iter(numbers[13:21])  # in (0,1) and (-1,1)
    normal = iter(math.sqrt(2.0) * jax.lax.erf_inv(numbers[21:]))
    p_turn = 1.0 - jnp.sqrt(1.0 - jnp.clip(p, 0.0, 1.0))

    def apply(value: jax.Array, otherwise: float, probability: jax.Array = p) -> jax.Array:
        return jnp.where(next(on) < probability, value, otherwise)

    def angle() -> jax.Array:
        return math.pi * next(uniform)

    return Draw(
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


def place(drawn: Draw, size: int) -> tuple[jax.Array, jax.Array]:
    """One sample's geometry: where the pixel that is now at (x, y) came from, in pixels from the middle of the image.

    Returns:
        Two matrices f32[3,3] of (x, y, 1), x to the right and y down: of the blits, which take pixels to pixels, and of
        the motions that follow. The source of (x, y) is blits @ motions @ (x, y, 1).
    """
    shift, slide = jnp.round(size * drawn.shift), size * drawn.slide
    blits = mirror(drawn.flip) @ turn_quarters(drawn.turns) @ translate(shift[0], shift[1])
    motions = magnify(drawn.scale, drawn.scale) @ turn(drawn.turn_before)
    motions = motions @ magnify(drawn.stretch, 1.0 / drawn.stretch) @ turn(drawn.turn_after)
    return blits, motions @ translate(slide[0], slide[1])


def mirror(flip: jax.Array) -> jax.Array:
    """Left and right exchanged where `flip` is 1: x -> -x."""
    return jnp.diag(jnp.stack((1.0 - 2.0 * flip, jnp.ones_like(flip), jnp.ones_like(flip))))


def turn_quarters(turns: jax.Array) -> jax.Array:
    """Anticlockwise by `turns` quarters, without a rounding error."""
    return jnp.round(turn(turns * (math.pi / 2.0)))


def turn(angle: jax.Array) -> jax.Array:
    """Anticlockwise, as one sees it: (x, y) comes from (x cos - y sin, x sin + y cos)."""
    cos, sin, zero = jnp.cos(angle), jnp.sin(angle), jnp.zeros_like(angle)
    return jnp.stack((cos, -sin, zero, sin, cos, zero, zero, zero, zero + 1.0)).reshape(3, 3)


def translate(x: jax.Array, y: jax.Array) -> jax.Array:
    """To the right by `x` and down by `y` pixels."""
    return jnp.eye(3).at[:2, 2].set(jnp.stack((-x, -y)))


def magnify(x: jax.Array, y: jax.Array) -> jax.Array:
    """`x` times as wide and `y` times as high."""
    return jnp.diag(jnp.stack((1.0 / x, 1.0 / y, jnp.ones_like(x))))


def colour(drawn: Draw) -> jax.Array:
    """One sample's colour: a matrix f32[4,4] of (r, g, b, 1)."""
    first = contrast(drawn.contrast) @ brighten(drawn.brightness)
    return saturate(drawn.saturation) @ turn_hue(drawn.hue) @ invert_luma(drawn.luma) @ first


def brighten(amount: jax.Array) -> jax.Array:
    """c + amount."""
    return jnp.eye(4).at[:3, 3].set(amount)


def contrast(factor: jax.Array) -> jax.Array:
    """c · factor; grey, 0, stays."""
    return jnp.diag(jnp.stack((factor, factor, factor, jnp.ones_like(factor))))


def invert_luma(flip: jax.Array) -> jax.Array:
    """Where `flip` is 1, reflects along the axis of greys g = (1,1,1) / sqrt(3): c - 2 g (g·c)."""
    return jnp.eye(4).at[:3, :3].add(-2.0 / 3.0 * flip)


def turn_hue(angle: jax.Array) -> jax.Array:
    """Rotates about the axis of greys g: c cos + (g × c) sin + g (g·c) (1 - cos), the formula of Rodrigues."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    return jnp.eye(4).at[:3, :3].set(cos * np.eye(3) + sin / math.sqrt(3.0) * cross + (1.0 - cos) / 3.0)


def saturate(factor: jax.Array) -> jax.Array:
    """Scales what a colour is beside its grey: c · factor + g (g·c) (1 - factor)."""
    return jnp.eye(4).at[:3, :3].set(factor * np.eye(3) + (1.0 - factor) / 3.0)


def recolour(planes: jax.Array, colours: jax.Array) -> jax.Array:
    """Applies f32[N,4,4] of (r, g, b, 1) to the colours of f32[N,3,H,W]."""
    columns = colours[:, :3, :, None, None]
    return columns[:, :, 3] + sum(columns[:, :, k] * planes[:, k : k + 1] for k in range(3))


def move(planes: jax.Array, blits: jax.Array, motions: jax.Array) -> jax.Array:
    """Resamples every image once.

    Args:
        planes: f32[N,3,R,R].
        blits: f32[N,3,3] that take pixels to pixels, first in time.
        motions: f32[N,3,3], any affine maps. A sample whose motion is the identity has its pixels moved, not filtered.

    Returns:
        f32[N,3,R,R].
    """
    still = jnp.all(motions == jnp.eye(3), (1, 2))[:, None, None, None]
    return jnp.where(still, _blit(planes, blits), _warp(planes, blits @ motions))


def _blit(planes: jax.Array, inverse: jax.Array) -> jax.Array:
    """The pixel that each pixel comes from, of f32[N,3,R,R] under f32[N,3,3]."""
    size = planes.shape[-1]
    x, y = _sources(inverse, jnp.arange(size) - (size - 1) / 2.0)
    x, y = (_fold(jnp.round(c + (size - 1) / 2.0), size - 1.0).astype(jnp.int32) for c in (x, y))
    return _take(planes.reshape(*planes.shape[:2], -1), y * size + x)


def _warp(planes: jax.Array, inverse: jax.Array) -> jax.Array:
    """Doubles f32[N,3,R,R] by sym6, samples it bilinearly where f32[N,3,3] says, halves it by sym6.

    The doubled grid is kept as [phase, pixel] in both axes, which spares the interleaving: sample 2j + phase.
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
    """Where the warped doubled grid lies in that of an image of `size`, with the margin that halving looks at.

    Returns:
        Indices [2][2] of i32[N,2R+12,2R+12] of the four samples around, and the shares f32[N,1,2R+12,2R+12] of the
        right ones and of the lower ones.
    """
    sample = 2.0 * jnp.arange(-REACH, size + REACH) + jnp.arange(2.0)[:, None]  # [phase, pixel]
    x, y = _sources(inverse, (sample.reshape(-1) - CENTROID - (size - 1)) / 2.0)  # in pixels from the middle
    x, y = (_fold(2.0 * c + (size - 1), 2.0 * (size - 1)) + CENTROID for c in (x, y))  # in samples
    x0, y0 = jnp.floor(x), jnp.floor(y)
    columns, rows = ([_phase(c.astype(jnp.int32) + i, size) for i in (0, 1)] for c in (x0, y0))
    return [[2 * size * row + column for column in columns] for row in rows], (x - x0)[:, None], (y - y0)[:, None]


def _compute_once(compute: Callable[[], Any], true: jax.Array) -> Any:
    """`compute()`, stored and not computed anew for each element that uses it, which takes three times as long on CPU.

    XLA's CPU backend drops a barrier before it fuses, but fuses nothing across a branch, here one on what is `true`.
    """
    if jax.default_backend() != "cpu":
        return jax.lax.optimization_barrier(compute())
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(compute))
    return jax.lax.cond(true, compute, lambda: zeros)


def _sources(inverse: jax.Array, at: jax.Array) -> tuple[jax.Array, jax.Array]:
    """x and y f32[N,S,S] that the points of the grid `at` × `at` come from under f32[N,3,3]."""
    m = inverse[:, :, :, None, None]
    x, y = (m[:, i, 0] * at + m[:, i, 1] * at[:, None] + m[:, i, 2] for i in (0, 1))
    return x, y


def _fold(x: jax.Array, last: float) -> jax.Array:
    """Reflects at 0 and at `last`, as often as needed: any number to [0, last]."""
    x = x - 2.0 * last * jnp.floor(x * (0.5 / last))
    return jnp.minimum(x, 2.0 * last - x)


def _phase(sample: jax.Array, size: int) -> jax.Array:
    """Where sample 2j + phase lies among [phase, pixel]."""
    return (sample & 1) * size + (sample >> 1)


def _take(planes: jax.Array, index: jax.Array) -> jax.Array:
    """Elements i32[N,S,S] of f32[N,3,P]; returns f32[N,3,S,S]. Its adjoint is a sum into the places looked at."""
    return jax.vmap(lambda plane, i: plane.at[:, i].get(mode="promise_in_bounds"))(planes, index)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _split(x: jax.Array, axis: int) -> jax.Array:
    """Doubles `axis`, padded by REACH on both sides, into [phase, pixel]: out[phase, j] = sum TAPS[phase][u] x[j+6-u].

    The adjoint of `_split` and that of `_join` are each the other, on zero-padded arrays; said by hand because what
    autodiff makes of shifted sums takes ten times as long on CPU.
    """
    last = 2 * REACH
    size = x.shape[axis] - last
    shifted = [jax.lax.slice_in_dim(x, last - u, last - u + size, axis=axis) for u in range(last + 1)]
    return jnp.stack([sum(t * s for t, s in zip(taps, shifted, strict=True) if t) for taps in TAPS], axis)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _join(x: jax.Array, axis: int) -> jax.Array:
    """Halves `axis`, [phase, pixel + 2 REACH]: out[n] = 1/2 sum TAPS[phase][u] x[phase, n+u]; undoes `_split`."""
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


def adapt(p: jax.Array, sign: jax.Array, batch_size: int, every: int, target: float, ada_kimg: float) -> jax.Array:
    """One move of p: p + sgn(sign - target) · every · batch_size / (1000 · ada_kimg), within [0, 1].

    p crosses its whole range in `ada_kimg` thousand images. The reference has no upper bound; beyond 1, where nothing
    changes any more, p would only take longer to come back.

    Args:
        p: f32 scalar.
        sign: f32 scalar, the mean of sgn D(x) over the real images of the last `every` steps: near 0 while D does not
            know them from others, near 1 when it has learnt them by heart.
        batch_size: images a step.
        every: steps between two moves.
        target: where `sign` is to stay.
        ada_kimg: thousands of images.
    """
    return jnp.clip(p + jnp.sign(sign - target) * (every * batch_size / (1000.0 * ada_kimg)), 0.0, 1.0)
