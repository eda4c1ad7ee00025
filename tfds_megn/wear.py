"""The renderer's masks, beards and mustaches: surfaces over the face; spectacles are in `eyewear`.

Each is drawn over the finished picture of the bare face and marks the rays it changes; all others keep their bits.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from tfds_megn import attire, eyewear, noise
from tfds_megn.head import Head
from tfds_megn.scene import Frame, layer_maps, sample_maps, unit
from tfds_megn.skin import linear
from tfds_megn.surface import block_range, box_blur, face_coordinates, radius, smooth, trace


def put_on(frame: Frame, head: Head, name: str) -> np.ndarray:
    """Draws the attribute `name` onto the frame; returns bool[N], the rays that it changes."""
    touched = np.zeros(frame.side * frame.side, dtype=bool)
    if name == "mask":
        _draw_mask(frame, head, touched)
    elif name in ("eyeglasses", "sunglasses"):
        eyewear.put_on(frame, head, name, touched)
    elif name in ("beard", "mustache"):
        _draw_facial_hair(frame, head, name, touched)
    return touched


def _mask_place(
    frame: Frame, px: np.ndarray, py: np.ndarray, pz: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places points of the head's frame on the mask, see `attire.mask_place`."""
    w = px / np.sqrt(px * px + pz * pz + 1e-6)
    e = py / np.sqrt(px * px + py * py + pz * pz)
    inside, across, down = attire.mask_place(_mask_kind(frame.face), frame.face.mask_top, 0.0, w, e)
    return np.where(pz < 0.05, -1.0, inside), across, down


def _mask_kind(face: SimpleNamespace) -> str:
    return attire.MASK_KINDS[int(face.mask_kind)]


def _mask_surface(frame: Frame, head: Head) -> np.ndarray:
    """Radii f32[G,G] of a smooth sheet that stands off the lower face; outside the face, those of the head."""
    f, grid = frame.face, head.grid
    skin, s, t = head.skin[grid.front], grid.s[grid.front], grid.t[grid.front]
    reach = grid.count // 20
    base = box_blur(_swell(skin, 2 * reach), reach)
    base += attire.mask_bulge(_mask_kind(f), f.mask_puff, s, t)
    table = head.skin.copy()
    sheet = box_blur(np.maximum(base, skin + 0.006), max(1, grid.count // 60)) + 0.012
    table[grid.front] = np.maximum(sheet, skin + 0.004)
    return table


def _meet(frame: Frame, table: np.ndarray, region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Meets the rays with a part of a surface, where nothing drawn so far lies before it.

    Args:
      frame: the picture.
      table: f32[G,G], radii of the surface.
      region: bool[F,F], the part of the front of the grid that is wanted.

    Returns:
      int[n], the rays, and f32[n], their depth.
    """
    grid = frame.head.grid
    wanted = np.flatnonzero(region)
    radii = table[grid.front].reshape(-1)[wanted]
    points = [grid.d[k][grid.front].reshape(-1)[wanted] * radii for k in range(3)]
    x, y, _ = frame.to_camera(*points)
    if not len(x):
        return wanted, radii
    # The blocks of rays are counted from this row, also upwards: where they lie changes bits at the edges.
    origin = int(np.searchsorted(frame.ys, -0.3))
    margin = 4.0 / grid.count  # two directions
    down = block_range(float(y.min()) - margin, float(y.max()) + margin, frame.ys, origin)
    right = block_range(float(x.min()) - margin, float(x.max()) + margin, frame.xs)
    xs, ys = frame.xs[right], frame.ys[down]
    rows, z = trace(table, frame.turn, xs, ys)
    i, j = np.divmod(rows, len(xs))
    rows = (i + down.start) * frame.side + (j + right.start)
    near = np.flatnonzero(z > frame.z[rows] - 0.02)
    return rows[near], z[near]


def _swell(table: np.ndarray, reach: int) -> np.ndarray:
    """The largest value f32[F,F] within `reach` cells along both axes."""
    for axis in (0, 1):
        left, step = 2 * reach, 1
        while left > 0:
            move = min(step, left)
            here, there = (slice(None, -move), slice(move, None))
            grown = table.copy()
            if axis == 0:
                np.maximum(table[here], table[there], out=grown[here])
            else:
                np.maximum(table[:, here], table[:, there], out=grown[:, here])
            table, left, step = grown, left - move, step * 2
        table = np.roll(table, reach, axis)  # the windows began at their cell; centre them
    return table


def _draw_mask(frame: Frame, head: Head, touched: np.ndarray) -> None:
    f, kind = frame.face, _mask_kind(frame.face)
    table = _mask_surface(frame, head)
    rows = frame.head_rows  # the shadow on the skin around the mask
    px, py, pz = frame.head_points(rows, frame.z[rows])
    inside, _, _ = _mask_place(frame, px, py, pz)
    edge = np.flatnonzero(inside > -0.06)
    frame.darken(rows[edge], attire.mask_shadow(inside[edge]), touched)
    _draw_straps(frame, table, kind, touched)
    d = head.grid.d[(slice(None), *head.grid.front)] * table[head.grid.front]
    rows, z = _meet(frame, table, _mask_place(frame, *d)[0] > -0.1)
    px, py, pz = frame.head_points(rows, z)
    inside, across, down = _mask_place(frame, px, py, pz)
    on = np.flatnonzero(inside > -frame.soft)
    rows, z, inside, across, down = rows[on], z[on], inside[on], across[on], down[on]
    _, (nx, ny, nz) = sample_maps(frame, layer_maps(table, head), rows, z)
    tone, tilt, open_sky = attire.mask_cloth(kind, inside, across, down)
    albedo = linear(f.mask_r, f.mask_g, f.mask_b)[:, None] * tone
    nx, ny, nz = frame.to_camera(nx, ny + tilt, nz)
    colour = frame.shade(np.maximum(albedo, 0.004), unit(nx, ny, nz), open_sky, 0.05, sharp=3)
    frame.over(rows, colour, smooth(-frame.soft, frame.soft, inside), touched)


def _draw_straps(frame: Frame, table: np.ndarray, kind: str, touched: np.ndarray) -> None:
    """Draws loops from the mask's corners to the ears, or bands around the head."""
    f, strap = frame.face, attire.STRAPS[kind]
    colour = linear(*attire.strap_colour(f.mask_strap))
    knots = 6
    mix = np.linspace(0, 1, knots)[:, None, None]
    a = np.array([(strap.side, y, (1 - strap.side * strap.side) ** 0.5) for y in strap.rows])
    b = np.array(strap.ends)
    path = _unit_rows(a) * (1 - mix) + _unit_rows(b) * mix  # [knots,2,3], one side of the head
    path = _unit_rows(np.concatenate([path, path * np.array([-1.0, 1.0, 1.0])], 1)).astype(np.float32)
    flat = path.reshape(-1, 3).T
    skin, near = radius(frame.head.full, flat), np.linspace(1, 0, knots, dtype=np.float32).repeat(4)
    lift = np.maximum(skin, skin + (radius(table, flat) - skin) * near) + 0.012
    path *= lift.reshape(knots, 4, 1)
    for k in range(4):
        frame.stroke(path[:, k], strap.width, colour, touched)


def _unit_rows(v: np.ndarray) -> np.ndarray:
    return v / np.sqrt((v * v).sum(-1, keepdims=True))


def _draw_facial_hair(frame: Frame, head: Head, name: str, touched: np.ndarray) -> None:
    """Draws a layer of hair of some thickness over the beard's or the mustache's area."""
    f, grid, beard = frame.face, head.grid, name == "beard"
    s, t, q = grid.s[grid.front], grid.t[grid.front], grid.q[grid.front]
    area = _density(f, beard, s, t, q)
    if beard:
        height = attire.beard_height(0.025 + 0.17 * f.beard_length**1.5, s, t)
        height = height * (1.0 + 0.25 * noise.smooth_noise(grid.count, int(f.hair_seed), 24)[grid.front])
    else:
        height = np.float32(attire.MUSTACHE_HEIGHT * f.mustache_thick)
    table = head.skin.copy()
    table[grid.front] += height * smooth(0.1, 0.9, area)
    rows, z = _meet(frame, table, area > 0)
    px, py, pz = frame.head_points(rows, z)
    s, t, q = face_coordinates(px, py, pz)
    area = _density(f, beard, s, t, q)
    on = np.flatnonzero(area > 0.02)
    rows, z, s, t, area = rows[on], z[on], s[on], t[on], area[on]
    _, (nx, ny, nz) = sample_maps(frame, layer_maps(table, head), rows, z)
    fine = attire.hair_strands(beard, f.hair_curl, f.hair_seed, s, t)
    tone, alpha, open_sky = attire.hair_look(area, fine, f.beard_density)
    albedo = np.maximum(_facial_hair_colour(f)[:, None] * tone + np.float32(0.004), 0.003)
    nx, ny, nz = frame.to_camera(nx + 0.3 * fine, ny, nz)
    frame.over(rows, frame.shade(albedo, unit(nx, ny, nz), open_sky, 0.05, sharp=3), alpha, touched)


def _density(face: SimpleNamespace, beard: bool, s: np.ndarray, t: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Density f32[...] of the beard or the mustache in [0, 1] at face coordinates."""
    if beard:
        return attire.beard_density(face, s, t, q)
    return attire.mustache_density(face, list(attire.MUSTACHES)[int(face.mustache_form)], s, t, q)


def _facial_hair_colour(face: SimpleNamespace) -> np.ndarray:
    """Linear colour f32[3] of the hair, darker where it would not stand out from the skin."""
    hair, skin = linear(face.hair_r, face.hair_g, face.hair_b), linear(face.skin_r, face.skin_g, face.skin_b)
    share = float(np.divide(hair.sum(), hair.sum() + skin.sum()))
    return hair * np.float32(1.0 - 0.6 * max(0.0, 1.0 - ((share - 0.5) / 0.17) ** 2))
