"""Rasterises surfaces given on grids: the point of each that is visible in each sample of the image.

A cell of a grid is two triangles. The samples that its box contains are tested in square tiles, as many as it needs, so
that all shapes are static whatever the sizes of cells. One scatter-max of (depth, cell) packed into 32 bits finds the
nearest cell of every sample; the position within the cell and the depth are then computed exactly, in the samples that
have one. Tiles and samples are taken in rounds: an attribute covers a small part of the image. The rounds of all
surfaces are one loop, which is compiled once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from sdgan_jax import pictures
from sdgan_jax.face3d import geometry

_CELLS = 1 << 16  # values of the lower half of a packed number
_AT_ONCE = 8192  # tiles, or samples, of one round
_MOST_TILES = 1 << 20  # 16 for each cell of a surface: a face needs one for most
_ROW = 64  # numbers that are summed by one product
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


@struct.dataclass
class _Cells:
    """The cells of all surfaces.

    Attributes:
        corners: f32[N,4,3], upper left, upper right, lower left and lower right, x and y in samples.
        exist: bool[N], whether they are drawn.
        surface: i32[N], the numbers of their surfaces.
        number: i32[N], their numbers within their surfaces.
        grid: i32[N,2], rows and columns of points of their surfaces.
        span: f32[N,2], the least and the largest depth of their surfaces.
    """

    corners: jax.Array
    exist: jax.Array
    surface: jax.Array
    number: jax.Array
    grid: jax.Array
    span: jax.Array


def rasterise(
    surfaces: Sequence[tuple[jax.Array, jax.Array | None]], height: int, width: int, samples: int = 2
) -> list[Raster]:
    """Rasterises surfaces over a whole image, each by itself; of several of its points in a sample the nearest wins.

    Args:
        surfaces: f32[S1,S2,3] each, positions in pixels of the image, at most 65536 cells; and bool[S1,S2], the points
            that exist, or None for all. A cell is drawn if its four corners exist. The time grows with the number of
            samples in the boxes of the cells; of surfaces whose cells have more than 2^20 tiles together, each of a
            few samples a side, the last cells are left out.
        height: height of the image in pixels, static.
        width: width of the image in pixels, static.
        samples: samples along each axis of a pixel, static.

    Raises:
        ValueError: a surface has too many cells.
    """
    size = height * samples, width * samples
    cells = [_cells(number, *one, samples) for number, one in enumerate(surfaces)]
    counts = [len(one.exist) for one in cells]
    cells = jax.tree.map(lambda *parts: jnp.concatenate(parts), *cells)
    finest = min(length / points for one, _ in surfaces for length, points in zip(size, one.shape, strict=False))
    side = 1 + math.ceil(1.5 * finest)  # of a tile: a cell of a ball that fills the image needs one
    first, tiles = _tiles(cells, side, size)

    def draw(cell: jax.Array, tile: jax.Array, seen: jax.Array) -> jax.Array:
        place = jnp.stack(jnp.divmod(tile, tiles[cell, 1]), -1)
        return _scatter(seen, jax.tree.map(lambda part: part[cell], cells), first[cell] + side * place, side, size)

    seen = jnp.zeros(len(surfaces) * math.prod(size), jnp.uint32)
    seen = _in_rounds(tiles.prod(-1), draw, seen, _MOST_TILES)
    planes = _locate(seen, cells, counts, size).reshape(-1, *size, 3)
    covered = (seen > 0).reshape(-1, *size)
    return [Raster(plane[..., :2], plane[..., 2], some) for plane, some in zip(planes, covered, strict=True)]


def _cells(number: int, surface: jax.Array, where: jax.Array | None, samples: int) -> _Cells:
    """Returns the cells of a surface.

    Raises:
        ValueError: there are too many.
    """
    rows, columns = surface.shape[0] - 1, surface.shape[1] - 1
    count = rows * columns
    if count > _CELLS:
        raise ValueError(f"a surface has at most {_CELLS} cells, got {rows} x {columns}; resize the map to 256")
    points = jnp.concatenate([pictures.scale_positions(surface[..., :2], samples), surface[..., 2:]], -1)
    corners = _corners(points).reshape(-1, 4, 3)
    exist = jnp.isfinite(corners).all((1, 2))
    if where is not None:
        exist &= _corners(where[..., None]).all((2, 3)).reshape(-1)
    corners = jnp.where(exist[:, None, None], corners, 0.0)
    depth = corners[..., 2]

    def each(values: Sequence[jax.Array | int]) -> jax.Array:
        return jnp.broadcast_to(jnp.stack([jnp.asarray(value) for value in values]), (count, len(values)))

    grid, span = each(surface.shape[:2]), each([depth.min(), depth.max()])
    return _Cells(corners, exist, jnp.full(count, number), jnp.arange(count), grid, span)


def _corners(table: jax.Array) -> jax.Array:
    """Returns upper left, upper right, lower left and lower right of each cell, [S1-1,S2-1,4,C]."""
    return jnp.stack([table[:-1, :-1], table[:-1, 1:], table[1:, :-1], table[1:, 1:]], 2)


def _tiles(cells: _Cells, side: int, size: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    """Returns row and column of the first sample in the box of each cell, and the numbers of tiles, i32[N,2] both."""
    boxes = cells.corners[..., 1::-1]
    most = jnp.array(size, jnp.float32)
    first = jnp.clip(jnp.ceil(boxes.min(1) - 2 * _EDGE), 0, most).astype(jnp.int32)
    last = jnp.clip(jnp.floor(boxes.max(1) + 2 * _EDGE), -1, most - 1).astype(jnp.int32)
    some = cells.exist & (last >= first).all(-1)
    return first, jnp.where(some[:, None], (last - first) // side + 1, 0)


def _in_rounds(
    counts: jax.Array,
    run: Callable[[jax.Array, jax.Array, jax.Array], jax.Array],
    start: jax.Array,
    most: int,
) -> jax.Array:
    """Runs a function on the parts of things, `_AT_ONCE` of them at once and the last ones twice.

    Args:
        counts: i32[N], the number of parts of each thing.
        run: takes the numbers of things and of their parts, i32[A] both, and the result so far.
        start: the result at the start.
        most: largest number of parts that are taken, the first.
    """
    counts = jnp.minimum(counts, (2**31 - 1) // len(counts))
    ends = _running_sum(counts)
    total = jnp.minimum(ends[-1], most)

    def one(k: jax.Array, result: jax.Array) -> jax.Array:
        some = jnp.minimum(_AT_ONCE * k + jnp.arange(_AT_ONCE), total - 1)
        thing = jnp.searchsorted(ends, some, side="right")
        return run(thing, some - ends[thing] + counts[thing], result)

    return jax.lax.fori_loop(0, (total + _AT_ONCE - 1) // _AT_ONCE, one, start)


def _running_sum(counts: jax.Array) -> jax.Array:
    """Returns the sums of the first 1, 2, … of i32[N]; in an eighth of the time of `jnp.cumsum` on CPU."""
    rows = jnp.pad(counts, (0, -len(counts) % _ROW)).reshape(-1, _ROW)
    within = jnp.dot(rows.astype(jnp.float32), np.triu(np.ones((_ROW, _ROW), np.float32)), precision="highest")
    within = within.astype(jnp.int32)  # exact: below 2^24
    before = jnp.cumsum(within[:, -1]) - within[:, -1]
    return (within + before[:, None]).reshape(-1)[: len(counts)]


def _scatter(seen: jax.Array, cells: _Cells, first: jax.Array, side: int, size: tuple[int, int]) -> jax.Array:
    """Writes tiles of `side` samples, one of each of these cells, into the packed images."""
    high, wide = size
    step = jnp.arange(side)
    y, x = first[:, 0, None, None] + step[:, None], first[:, 1, None, None] + step
    y, x = jnp.broadcast_arrays(y, x)  # [N,side,side]
    _, _, depth, inside = _place(cells.corners[:, None, None], x.astype(jnp.float32), y.astype(jnp.float32))
    inside &= (x < wide) & (y < high)
    low, top = (cells.span[:, k, None, None] for k in range(2))
    level = (depth - low) / jnp.maximum(top - low, 1e-6) * (_CELLS - 2)
    level = jnp.clip(level, 0, _CELLS - 2).astype(jnp.uint32) + 1  # 0 stands for samples without a surface
    packed = (level << 16) | cells.number.astype(jnp.uint32)[:, None, None]
    at = jnp.where(inside, (cells.surface[:, None, None] * high + y) * wide + x, len(seen))
    return seen.at[at.reshape(-1)].max(packed.reshape(-1), mode="drop")


def _locate(seen: jax.Array, cells: _Cells, counts: Sequence[int], size: tuple[int, int]) -> jax.Array:
    """Returns point of the surface and depth f32[N,3] of each sample, from the nearest cells of `_scatter`."""
    high, wide = size
    before = jnp.array([sum(counts[:k]) for k in range(len(counts))])  # number of cells of the surfaces before

    def locate(sample: jax.Array, _: jax.Array, planes: jax.Array) -> jax.Array:
        number = (seen[sample] & (_CELLS - 1)).astype(jnp.int32)
        row, x = jnp.divmod(sample, wide)
        surface, y = jnp.divmod(row, high)
        cell = before[surface] + number
        a, b, depth, _ = _place(cells.corners[cell], x.astype(jnp.float32), y.astype(jnp.float32))
        rows, columns = cells.grid[cell].T
        i, j = jnp.divmod(number, columns - 1)
        return planes.at[sample].set(jnp.stack([(j + a + 0.5) / columns, (i + b + 0.5) / rows, depth], -1))

    planes = jnp.tile(jnp.array([0.0, 0.0, -jnp.inf]), (len(seen), 1))
    return _in_rounds((seen > 0).astype(jnp.int32), locate, planes, len(seen))


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
    raster = rasterise([(position_map, None)], height, width, 1)[0] if raster is None else raster
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
