"""A radial surface r(direction), tabulated on an equal-area map of directions, and its intersection with rays.

Head frame: x to the right of a frontal picture, y down, z out of the face; unit length is half the head's
height. A direction d is stored at (u, v) = (dx, dy) / sqrt(2 (1 + dz)), Lambert's azimuthal equal-area map
with the face in the middle and the back of the head on the rim of the unit disc; it needs one square root, no
trigonometry.

Face coordinates (s, t, q) of a direction are where it meets a fixed ellipsoid, so that s, t read as the x, y
of a frontal picture of a mean head: eyes at t = 0, nose tip at 0.33, mouth at 0.6, chin at 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

MEAN_AXES = (0.70, 1.0, 0.86)  # half width, height and depth of the mean head
_BLOCK = 4  # rays per side of a block that shares its starting depth
_PAD = 2  # blocks around a region that its blocks look at
_MISS = np.float32(-9.0)
_BACK = np.float32(-0.95)  # no visible part of a head lies deeper


@dataclass(frozen=True)
class Directions:
    """A square grid of directions and their face coordinates, f32[G,G] each; `front` slices its face part."""

    count: int
    d: np.ndarray  # [3,G,G]
    s: np.ndarray
    t: np.ndarray
    q: np.ndarray
    front: tuple[slice, slice]


def smooth(low: Any, high: Any, x: Any) -> Any:
    """Cubic step f32[...] from 0 at `low` to 1 at `high` (either may be the larger), of arrays of numpy or jax."""
    x = x - low
    x *= 1.0 / (high - low)
    x = x.clip(0.0, 1.0)
    y = x * -2.0
    y += 3.0
    y *= x
    y *= x
    return y


def bell(q: Any) -> Any:
    """Returns about exp(-q) for q >= 0, exactly 0 from q = 4, of arrays of numpy or jax.

    It is cheap, and has the same bits on every processor.
    """
    b = q * -0.25
    b += 1.0
    b = b.clip(0.0, 1.0)  # a third of the time of np.maximum with a number
    b *= b
    b *= b
    return b


@lru_cache(maxsize=4)
def directions(count: int) -> Directions:
    """Makes the grid of `count` by `count` directions over u, v in [-1, 1]."""
    line = np.linspace(-1.0, 1.0, count)
    v, u = np.meshgrid(line, line, indexing="ij")
    rho2 = np.minimum(u * u + v * v, 1.0)
    lift = 2.0 * np.sqrt(1.0 - rho2)
    d = np.stack([u * lift, v * lift, 1.0 - 2.0 * rho2])
    d /= np.maximum(np.sqrt((d * d).sum(0)), 1e-9)
    a, b, c = MEAN_AXES
    r = 1.0 / np.sqrt((d[0] / a) ** 2 + (d[1] / b) ** 2 + (d[2] / c) ** 2)
    s, t, q = (d * r).astype(np.float32)
    edge = int(0.12 * count)  # the face's features lie within |u|, |v| < 0.76
    front = (slice(edge, count - edge), slice(edge, count - edge))
    return Directions(count, d.astype(np.float32), s, t, q, front)


def face_coordinates(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Face coordinates (s, t, q) of head frame points, f32[N] each."""
    a, b, c = MEAN_AXES
    k = 1.0 / np.sqrt((x * (1 / a)) ** 2 + (y * (1 / b)) ** 2 + (z * (1 / c)) ** 2)
    return x * k, y * k, z * k


def surface_normals(r: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Outward unit normals f32[3,...] of a surface of radii `r` in directions `d`, by central differences."""
    p = d * r
    du, dv = p[:, 1:-1, 2:] - p[:, 1:-1, :-2], p[:, 2:, 1:-1] - p[:, :-2, 1:-1]
    n = np.zeros_like(p)  # stays zero on the rim
    inner = n[:, 1:-1, 1:-1]
    for k in range(3):
        a, b = (k + 1) % 3, (k + 2) % 3
        np.multiply(du[a], dv[b], out=inner[k])
        inner[k] -= du[b] * dv[a]
    inner *= 1.0 / np.sqrt(inner[0] * inner[0] + inner[1] * inner[1] + inner[2] * inner[2] + 1e-20)
    return n


def box_blur(table: np.ndarray, radius: int) -> np.ndarray:
    """Twice the running mean over 2 radius + 1 cells along both axes; the rim repeats."""
    width = 2 * radius + 1
    for _ in range(4):  # blur down the rows, then turn the table over: twice each way
        n = len(table)
        padded = np.empty((n + width - 1, table.shape[1]), dtype=np.float32)
        padded[:radius], padded[radius : n + radius], padded[n + radius :] = table[0], table, table[-1]
        # Sums of 1, 2, 4, ... rows; those that make up the width are added.
        total, first, run = padded[:n].copy(), 1, padded
        for bit in range(1, width.bit_length()):
            half = 1 << (bit - 1)
            run = run[:-half] + run[half:]
            if width >> bit & 1:
                total += run[first : first + n]
                first += 1 << bit
        total *= np.float32(1.0 / width)
        table = total.T
    return np.ascontiguousarray(table)


def cells(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Finds the cells of a table in which points lie: radius |p|, flat index of the upper left cell, two fractions."""
    plane2 = x * x + y * y
    r = np.sqrt(plane2 + z * z)
    centre = 0.5 * (count - 1)
    # The square is never less than x^2 + y^2, also after rounding; a hair less, so that the last cell has a
    # next.
    k = r + z
    k *= r
    k *= 2.0
    plane2 += np.float32(1e-9)
    np.maximum(k, plane2, out=k)
    np.sqrt(k, out=k)
    np.divide(np.float32(centre * 0.99999), k, out=k)
    u = x * k
    u += centre
    v = y * k
    v += centre
    i, j = np.floor(v), np.floor(u)
    u -= j
    v -= i
    i *= count
    i += j
    return r, i.astype(np.intp), u, v


def lookup(table: np.ndarray, at: np.ndarray, fu: np.ndarray, fv: np.ndarray, count: int) -> np.ndarray:
    """Bilinear values of a flat table f32[G*G] at `cells`."""
    a, b = table.take(at), table[1:].take(at)
    c, d = table[count:].take(at), table[count + 1 :].take(at)
    for low, high, share in ((a, b, fu), (c, d, fu), (a, c, fv)):
        high -= low
        high *= share
        low += high
    return a


def radius(table: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Bilinear radius f32[N] of a table f32[G,G] in directions f32[3,N]."""
    count = table.shape[0]
    x, y, z = direction.astype(np.float32)
    _, at, fu, fv = cells(x, y, z, count)
    return lookup(table.reshape(-1), at, fu, fv, count)


def block_range(low: float, high: float, line: np.ndarray, origin: int = 0) -> slice:
    """Samples of `line` that `trace` needs to be exact on [low, high], in whole blocks counted from sample `origin`."""
    i, j = (int(k) - origin for k in line.searchsorted((low, high)))
    start = max(origin + (i // _BLOCK - _PAD) * _BLOCK, 0)
    return slice(start, max(origin + (-(-j // _BLOCK) + _PAD) * _BLOCK, start + _BLOCK))


def origins(turn: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Head frame points f32[3,H,W] where the rays of a picture cross depth 0; depth z adds turn[2] * z."""
    return np.stack([xs * turn[0, k] + (ys * turn[1, k])[:, None] for k in range(3)])


def trace(table: np.ndarray, turn: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Meets the parallel rays of a picture with a radial surface.

    A coarse picture is traced first; each block of rays starts from the nearest depth found around it.

    Args:
      table: f32[G,G] radii.
      turn: f32[3,3] pose matrix, camera = turn @ head.
      xs: f32[W], and
      ys: f32[H], camera coordinates of the picture's columns and rows, in head units.

    Returns:
      rows: int64[n] flat indices (row * W + column) of the rays that meet it, and z: f32[n] their camera
        depth.
    """
    reach = float(table.max()) + 0.01
    coarse_x, coarse_y = (
        line[np.minimum(np.arange(0, len(line), _BLOCK) + _BLOCK // 2, len(line) - 1)] for line in (xs, ys)
    )
    blocks, down = len(coarse_x), len(coarse_y)
    under = (reach * reach - coarse_x * coarse_x) - (coarse_y * coarse_y)[:, None]
    near = np.flatnonzero(under > 0)
    start = origins(turn, coarse_x, coarse_y).reshape(3, -1).take(near, 1)
    z, hit = _scan(table, turn[2], start, np.sqrt(under.reshape(-1)[near]), 16)
    depth = np.full((down + 2, blocks + 2), _MISS, dtype=np.float32)
    i, j = np.divmod(near[hit], blocks)
    depth[i + 1, j + 1] = z[hit]
    start_z = _spread_blocks(depth, len(ys), len(xs)).reshape(-1)
    rows = np.flatnonzero(start_z > _MISS + 1)
    start, start_z = origins(turn, xs, ys).reshape(3, -1).take(rows, 1), start_z[rows]
    z, gap = _approach(table, turn[2], start, start_z, 5)
    hit = gap <= 0.003
    lost = np.flatnonzero(~hit)
    z[lost], hit[lost] = _scan(table, turn[2], start.take(lost, 1), start_z[lost] + np.float32(0.06), 10)
    hit = np.flatnonzero(hit)
    return rows[hit], z[hit]


def _spread_blocks(depth: np.ndarray, height: int, width: int) -> np.ndarray:
    """Starting depth f32[height,width] of every ray from that of the blocks f32[h+2,w+2], rimmed by misses.

    Between blocks of like depth it is interpolated; at edges it is the nearest depth around; where all miss,
    a miss.
    """
    high = np.maximum(np.maximum(depth[:-2], depth[1:-1]), depth[2:])
    high = np.maximum(np.maximum(high[:, :-2], high[:, 1:-1]), high[:, 2:])
    low = np.minimum(np.minimum(depth[:-2], depth[1:-1]), depth[2:])
    low = np.minimum(np.minimum(low[:, :-2], low[:, 1:-1]), low[:, 2:])
    even = (high - low < 0.8).repeat(_BLOCK, 0)[:height].repeat(_BLOCK, 1)[:, :width]
    top = high.repeat(_BLOCK, 0)[:height].repeat(_BLOCK, 1)[:, :width]
    table = depth
    for count in (height, width):
        place = (np.arange(count, dtype=np.float32) - _BLOCK // 2) * np.float32(1 / _BLOCK) + 1
        first = np.floor(place)
        share = (place - first)[:, None]
        first = first.astype(np.int32)
        table = (table[first] * (1 - share) + table[first + 1] * share).T
    return np.where(even, table, top)


def _heights(table: np.ndarray, ray: np.ndarray, start: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Heights over a radial surface of points at depth `z` f32[...,N] on rays from `start` f32[3,N]."""
    px, py, pz = (z * ray[k] + start[k] for k in range(3))
    r, at, fu, fv = cells(px, py, pz, table.shape[0])
    r -= lookup(table.reshape(-1), at, fu, fv, table.shape[0])
    return r


def _approach(
    table: np.ndarray, ray: np.ndarray, start: np.ndarray, z: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Moves rays from near a surface onto it; f32[N] depth, f32[N] height before the last step."""
    final, gap = z.copy(), np.zeros_like(z)
    live, old_z, old_g = None, None, None
    for _ in range(steps):
        g = _heights(table, ray, start, z)
        # Newton's step for a sphere, then secants.
        if old_z is None:
            slope = z.clip(0.35, 1.0)
        else:
            slope = ((old_g - g) / (old_z - z + np.float32(1e-9))).clip(0.4, 4.0)
        ahead = z - g / slope
        off = np.abs(g)
        if live is None:
            final, gap = ahead, off
        else:
            final[live], gap[live] = ahead, off
        on = np.flatnonzero(off > 0.003)
        live = on if live is None else live[on]
        start, old_z, old_g, z = start.take(on, 1), z[on], g[on], ahead[on]
    return final, gap


def _scan(
    table: np.ndarray, ray: np.ndarray, start: np.ndarray, top: np.ndarray, samples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Searches rays from depth `top` backwards for the first crossing; returns its depth f32[N], and bool[N], found."""
    share = np.linspace(0, 1, samples, dtype=np.float32)[:, None]
    z = top + (_BACK - top) * share
    g = _heights(table, ray, start, z)
    below = g < 0
    hit = np.asarray(below.any(0))
    at = np.maximum(below.argmax(0), 1) * len(top) + np.arange(len(top))
    before = at - len(top)
    z, g = z.reshape(-1), g.reshape(-1)
    z0, z1, g0, g1 = z.take(before), z.take(at), g.take(before), g.take(at)
    for left in (True, False):  # false position
        middle = z0 + (z1 - z0) * (g0 / (g0 - g1 + np.float32(1e-9))).clip(0.0, 1.0)
        if left:
            g = _heights(table, ray, start, middle)
            outside = g > 0
            z0, g0 = np.where(outside, middle, z0), np.where(outside, g, g0)
            z1, g1 = np.where(outside, z1, middle), np.where(outside, g1, g)
    return middle, hit
