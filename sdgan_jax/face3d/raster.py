"""Rasterises a surface given on a grid: the point of it that is visible in each sample of the image.

A cell of the grid is two triangles. Each cell that exists tests a window of samples from the corner of its box; there
are a few sizes of windows, so that all shapes are static. One scatter-max of (depth, cell)
packed into 32 bits finds the nearest cell of every sample; the position within the cell and the depth are then computed
exactly, in the samples that have one. Cells and samples are taken in rounds: an attribute covers a small part of both.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from sdgan_jax import pictures
from sdgan_jax.face3d import geometry

_CELLS = 1 << 16  # values of the lower half of a packed number
_GROWTHS = (1, 2, 6)  # widths of the windows, in those of the smallest
_AT_ONCE = 8192  # cells with the smallest window, and samples, of one round
_EDGE = 1e-4  # tolerance in cells; a sample on an edge belongs to both neighbours


@struct.dataclass
class Raster:
    """Visible points of a surface, in k x k samples per pixel.

    Attributes:
        uv: f32[H*k,W*k,2], the point of the surface as in `geometry.sample`; 0 or any in samples without a surface.
        depth: f32[H*k,W*k], z of the point; -inf in samples without a surface.
        covered: bool[H*k,W*k], the samples with a surface.
    """

    uv: jax.Array
    depth: jax.Array
    covered: jax.Array


def rasterise(
    surface: jax.Array,
    height: int,
    width: int,
    samples: int = 2,
    where: jax.Array | None = None,
    reach: int | None = None,
) -> Raster:
    """Rasterises a surface over a whole image; of several points in a sample the nearest wins.

    A cell may span six times `reach` samples; larger cells are truncated. It takes the longer the more cells span more
    than `reach`.

    Args:
        surface: f32[S1,S2,3], positions in pixels of the image, at most 65536 cells.
        height: height of the image in pixels, static.
        width: width of the image in pixels, static.
        samples: samples along each axis of a pixel, static.
        where: bool[S1,S2], the points that exist; all by default. A cell is drawn if its four corners exist.
        reach: samples that most cells span at most, static; by default 1.5 times `samples * height / S1` and
            `samples * width / S2`, enough for the front of a ball that fills the image.

    Raises:
        ValueError: the surface has too many cells.
    """
    rows, columns = surface.shape[0] - 1, surface.shape[1] - 1
    if rows * columns > _CELLS:
        raise ValueError(f"a surface has at most {_CELLS} cells, got {rows} x {columns}; resize the map to 256")
    high, wide = height * samples, width * samples
    points = jnp.concatenate([pictures.scale_positions(surface[..., :2], samples), surface[..., 2:]], -1)
    corners = _corners(points).reshape(-1, 4, 3)
    ok = jnp.isfinite(corners).all((1, 2))
    if where is not None:
        ok &= _corners(where[..., None]).all((2, 3)).reshape(-1)
    corners = jnp.where(ok[:, None, None], corners, 0.0)
    low, top = corners[..., 2].min(), corners[..., 2].max()

    window = 1 + (math.ceil(1.5 * max(high / (rows + 1), wide / (columns + 1))) if reach is None else reach)
    size = (high, wide)

    extent = (corners[..., :2].max(1) - corners[..., :2].min(1)).max(1)
    seen, drawn = jnp.zeros(high * wide, jnp.uint32), ~ok
    for growth in _GROWTHS:

        def draw(some: jax.Array, seen: jax.Array, side: int = growth * window) -> jax.Array:
            return _scatter(seen, some, corners[some], ok[some], (low, top), side, size)

        fits = ~drawn & ((extent <= growth * window - 1 - 4 * _EDGE) | (growth == _GROWTHS[-1]))
        seen = _in_rounds(_numbers(fits), fits.sum(), _AT_ONCE // growth**2, draw, seen)
        drawn |= fits

    planes = _locate(seen, corners, columns, wide).reshape(high, wide, 3)
    return Raster(planes[..., :2], planes[..., 2], (seen > 0).reshape(high, wide))


def _locate(seen: jax.Array, corners: jax.Array, columns: int, wide: int) -> jax.Array:
    """Returns point of the surface and depth f32[N,3] of each sample, from the nearest cells of `_scatter`."""
    covered, rows = seen > 0, len(corners) // columns

    def locate(some: jax.Array, planes: jax.Array) -> jax.Array:
        cell = (seen[some] & (_CELLS - 1)).astype(jnp.int32)
        y, x = jnp.divmod(some, wide)
        a, b, depth, _ = _place(corners[cell], x.astype(jnp.float32), y.astype(jnp.float32))
        depth = jnp.where(covered[some], depth, -jnp.inf)
        i, j = jnp.divmod(cell, columns)
        return planes.at[some].set(jnp.stack([(j + a + 0.5) / (columns + 1), (i + b + 0.5) / (rows + 1), depth], -1))

    planes = jnp.tile(jnp.array([0.0, 0.0, -jnp.inf]), (len(seen), 1))
    return _in_rounds(_numbers(covered), covered.sum(), _AT_ONCE, locate, planes)


def _numbers(where: jax.Array) -> jax.Array:
    """Returns the numbers i32[N] of the elements of bool[N] that are true, then any."""
    return jnp.nonzero(where, size=len(where), fill_value=0)[0].astype(jnp.int32)


def _in_rounds(
    numbers: jax.Array, count: jax.Array, each: int, run: Callable[[jax.Array, jax.Array], jax.Array], start: jax.Array
) -> jax.Array:
    """Runs a function of `each` numbers and the result so far on the first `count` of i32[N], some perhaps twice."""
    each = min(each, len(numbers))

    def one(k: jax.Array, result: jax.Array) -> jax.Array:  # the last slice is moved back so that it fits
        return run(jax.lax.dynamic_slice_in_dim(numbers, each * k, each), result)

    return jax.lax.fori_loop(0, (count + each - 1) // each, one, start)


def _corners(table: jax.Array) -> jax.Array:
    """Returns upper left, upper right, lower left and lower right of each cell, [S1-1,S2-1,4,C]."""
    return jnp.stack([table[:-1, :-1], table[:-1, 1:], table[1:, :-1], table[1:, 1:]], 2)


def _scatter(
    seen: jax.Array, cells: jax.Array, corners: jax.Array, ok: jax.Array, span: tuple, side: int, size: tuple[int, int]
) -> jax.Array:
    """Writes cells into the packed image, each in a window of `side` samples."""
    high, wide = size
    first = jnp.ceil(corners[..., :2].min(1) - 2 * _EDGE)
    step = jnp.arange(side, dtype=jnp.float32)
    x = first[:, 0, None, None] + step  # [N,1,side]
    y = first[:, 1, None, None] + step[:, None]  # [N,side,1]
    x, y = jnp.broadcast_arrays(x, y)
    _, _, depth, inside = _place(corners[:, None, None], x, y)
    inside &= ok[:, None, None] & (x >= 0) & (x < wide) & (y >= 0) & (y < high)
    low, top = span
    level = (depth - low) / jnp.maximum(top - low, 1e-6) * (_CELLS - 2)
    level = jnp.clip(level, 0, _CELLS - 2).astype(jnp.uint32) + 1  # 0 stands for samples without a surface
    packed = (level << 16) | cells.astype(jnp.uint32)[:, None, None]
    at = jnp.where(inside, y * wide + x, high * wide).astype(jnp.int32)
    return seen.at[at.reshape(-1)].max(packed.reshape(-1), mode="drop")


def _place(corners: jax.Array, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Locates samples in cells f32[...,4,3].

    The upper left triangle wins on the diagonal; a folded cell shows the nearer of its triangles.

    Returns:
        Position to the right and down in [0, 1], depth, and whether the sample lies in the cell.
    """
    p, q, r, s = (corners[..., k, :] for k in range(4))
    a, b, upper = _solve(p, q, r, x, y)
    c, d, lower = _solve(s, r, q, x, y)
    near = p[..., 2] + a * (q - p)[..., 2] + b * (r - p)[..., 2]
    far = s[..., 2] + c * (r - s)[..., 2] + d * (q - s)[..., 2]
    first = upper & (~lower | (near >= far))
    a, b, depth = (jnp.where(first, *pair) for pair in ((a, 1 - c), (b, 1 - d), (near, far)))
    return a, b, depth, upper | lower


def _solve(
    o: jax.Array, e: jax.Array, f: jax.Array, x: jax.Array, y: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the coordinates of a sample along the edges o-e and o-f, and whether it lies in the triangle."""
    ex, ey, fx, fy = (e - o)[..., 0], (e - o)[..., 1], (f - o)[..., 0], (f - o)[..., 1]
    px, py = x - o[..., 0], y - o[..., 1]
    area = ex * fy - ey * fx
    flat = jnp.abs(area) < 1e-8
    over = 1.0 / jnp.where(flat, 1.0, area)
    a, b = (px * fy - py * fx) * over, (py * ex - px * ey) * over
    return a, b, ~flat & (a >= -_EDGE) & (b >= -_EDGE) & (a + b <= 1 + _EDGE)


def visible(position_map: jax.Array, height: int, width: int, raster: Raster | None = None) -> jax.Array:
    """Computes the visibility of each texel of a face to the camera.

    Args:
        position_map: f32[S,S,3], in pixels of the image.
        height: height of the image in pixels, static.
        width: width of the image in pixels, static.
        raster: raster of the position map if there is one already, with one sample per pixel or more.

    Returns:
        f32[S,S] in [0, 1]: 0 outside the image, where the surface faces away, and where another part of it is in
        front; between 0 and 1 where it is seen nearly edge-on.
    """
    raster = rasterise(position_map, height, width, 1) if raster is None else raster
    samples = raster.depth.shape[0] // height
    x, y, z = (position_map[..., k] for k in range(3))
    toward = geometry.normals(position_map)[..., 2]
    at = jnp.round(pictures.scale_positions(position_map[..., :2], samples)).astype(jnp.int32)
    j, i = at[..., 0], at[..., 1]
    inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    before = raster.depth[jnp.clip(i, 0, height * samples - 1), jnp.clip(j, 0, width * samples - 1)] - z
    # The nearest sample lies up to 0.7 samples away, on a slope.
    before -= 0.7 / samples * jnp.sqrt(1 - toward * toward) / jnp.maximum(toward, 0.05)
    span = jnp.maximum(z.max() - z.min(), 1e-6)
    facing = jnp.clip(toward / 0.2, 0.0, 1.0)
    return facing * inside * jnp.clip(1.0 - (before / span - 0.02) / 0.02, 0.0, 1.0)
