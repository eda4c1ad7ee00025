"""What a face wears: masks, beards and mustaches as surfaces over the face; spectacles are in `eyewear`.

Each draws over the finished bare picture and reports the rays it touched; all others keep their bits.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from tfds_megn import eyewear, noise
from tfds_megn.head import Head
from tfds_megn.scene import Frame, layer_maps, sample_maps, unit
from tfds_megn.skin import beard_area, linear, lip_line
from tfds_megn.surface import bell, block_range, box_blur, face_coordinates, radius, smooth, trace

_MASK_SIDE = 0.885  # sine of the azimuth where a mask ends


def put_on(frame: Frame, head: Head, name: str) -> np.ndarray:
    """Draws the attribute `name` onto the frame; returns bool[N], the rays it changed."""
    touched = np.zeros(frame.side * frame.side, dtype=bool)
    if name == "mask":
        _mask(frame, head, touched)
    elif name in ("eyeglasses", "sunglasses"):
        eyewear.put_on(frame, head, name, touched)
    elif name in ("beard", "mustache"):
        _facial_hair(frame, head, name, touched)
    return touched


def _mask_edges(
    frame: Frame, px: np.ndarray, py: np.ndarray, pz: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How far inside the mask's outline points lie; their place across (-1 to 1) and down (0 to 1) it."""
    f = frame.face
    w = px / np.sqrt(px * px + pz * pz + 1e-6)
    e = py / np.sqrt(px * px + py * py + pz * pz)
    w2 = w * w
    if int(f.mask_kind) == 2:  # a cup: round, small
        top = f.mask_top - 0.03 + 0.42 * w2
        bottom = 0.90 - 0.34 * w2
        side = 0.80 - np.abs(w)
    else:
        top = f.mask_top + 0.17 * w2 - 0.03 * bell(w2 / 0.02)
        bottom = 0.94 - 0.34 * w2
        side = _MASK_SIDE - np.abs(w) - 0.05 * np.square((e - 0.45) / 0.25)
    inside = np.minimum(np.minimum(e - top, bottom - e), side * 1.2)
    inside = np.where(pz < 0.05, -1.0, inside)
    # Where the edges meet there is no mask; the height there is never looked at.
    return inside, w * (1 / _MASK_SIDE), (e - top) / np.maximum(bottom - top, 1e-3)


def _mask_surface(frame: Frame, head: Head) -> np.ndarray:
    """Radius table of a smooth sheet that stands off the lower face; outside the face, of the head."""
    f, grid = frame.face, head.grid
    skin, s, t = head.skin[grid.front], grid.s[grid.front], grid.t[grid.front]
    reach = grid.count // 20
    base = box_blur(_swell(skin, 2 * reach), reach)
    if int(f.mask_kind) == 2:
        cup = np.maximum(1 - np.square(s / 0.50) - np.square((t - 0.62) / 0.46), 0)
        base += (0.10 + 0.06 * f.mask_puff) * np.sqrt(cup)
    else:
        base += (0.02 + 0.05 * f.mask_puff) * bell(np.square(s / 0.35) + np.square((t - 0.62) / 0.25))
    table = head.skin.copy()
    sheet = box_blur(np.maximum(base, skin + 0.006), max(1, grid.count // 60)) + 0.012
    table[grid.front] = np.maximum(sheet, skin + 0.004)
    return table


def _meet(frame: Frame, table: np.ndarray, region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rays that meet a surface over anything drawn so far, and their depth, where `region` can be seen.

    Args:
      frame: the picture.
      table: f32[G,G], radii of the surface.
      region: bool[F,F], the part of the front of the grid that is wanted.
    """
    grid = frame.head.grid
    wanted = np.flatnonzero(region)
    radii = table[grid.front].reshape(-1)[wanted]
    points = [grid.d[k][grid.front].reshape(-1)[wanted] * radii for k in range(3)]
    x, y, _ = frame.to_camera(*points)
    if not len(x):
        return wanted, radii
    top = int(np.searchsorted(frame.ys, -0.3))
    margin = 4.0 / grid.count  # two directions
    down = block_range(float(y.min()) - margin, float(y.max()) + margin, frame.ys, top)
    right = block_range(float(x.min()) - margin, float(x.max()) + margin, frame.xs)
    xs, ys = frame.xs[right], frame.ys[down]
    rows, z = trace(table, frame.turn, xs, ys)
    i, j = np.divmod(rows, len(xs))
    rows = (i + down.start) * frame.side + (j + right.start)
    near = np.flatnonzero(z > frame.z[rows] - 0.02)
    return rows[near], z[near]


def _swell(table: np.ndarray, reach: int) -> np.ndarray:
    """The largest value within `reach` cells along both axes."""
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


def _mask(frame: Frame, head: Head, touched: np.ndarray) -> None:
    f = frame.face
    kind = int(f.mask_kind)
    table = _mask_surface(frame, head)
    # The shadow on the skin around it.
    rows = frame.head_rows[frame.y[frame.head_rows] > -0.35]
    px, py, pz = frame.head_points(rows, frame.z[rows])
    inside, _, _ = _mask_edges(frame, px, py, pz)
    edge = np.flatnonzero(inside > -0.06)
    frame.darken(rows[edge], 0.42 * smooth(-0.06, 0.02, inside[edge]), touched)
    _straps(frame, table, kind, touched)
    d = head.grid.d[(slice(None), *head.grid.front)] * table[head.grid.front]
    rows, z = _meet(frame, table, _mask_edges(frame, *d)[0] > -0.1)
    px, py, pz = frame.head_points(rows, z)
    inside, across, down = _mask_edges(frame, px, py, pz)
    on = np.flatnonzero(inside > -frame.soft)
    rows, z, inside, across, down = rows[on], z[on], inside[on], across[on], down[on]
    _, (nx, ny, nz) = sample_maps(frame, layer_maps(table, head), rows, z)
    tone = np.ones(len(rows), dtype=np.float32)
    tilt = np.zeros(len(rows), dtype=np.float32)
    if kind == 0:  # surgical: three pleats, a stiff upper and lower border
        for k in (0.34, 0.54, 0.74):
            fold = (down - k + 0.05 * across * across * (k - 0.5)) * (1 / 0.028)
            tone -= 0.30 * bell(np.square(fold)) * smooth(1.0, 0.8, np.abs(across))
            tilt += 0.55 * fold * bell(np.square(fold * 0.6))
        tone -= 0.10 * bell(np.square((inside - 0.05) / 0.010))
        weave = noise.wrapped(noise.grain(), down * 130, across * 130 + 256)
        tone += 0.04 * weave
    elif kind == 1:  # cloth: a seam down the middle, a hem
        tone -= 0.35 * bell(np.square(across / 0.018))
        tone -= 0.22 * bell(np.square((inside - 0.03) / 0.008))
        soft = noise.wrapped(noise.smooth_noise(noise.SIDE, 21, 12).reshape(-1), down * 200, across * 120 + 128)
        tone += 0.05 * soft
        tilt += 0.25 * soft
    else:  # cup: a pressed rim and embossed lines
        tone -= 0.28 * bell(np.square((inside - 0.045) / 0.012))
        tone -= 0.16 * bell(np.square((down - 0.42) / 0.02)) + 0.12 * bell(np.square((down - 0.66) / 0.02))
        tone += 0.04 * noise.wrapped(noise.grain(), down * 90, across * 90 + 256)
    albedo = linear(f.mask_r, f.mask_g, f.mask_b)[:, None] * tone
    nx, ny, nz = frame.to_camera(nx, ny + tilt, nz)
    colour = frame.shade(
        np.maximum(albedo, 0.004), unit(nx, ny, nz), 0.92 + 0.08 * smooth(0, 0.08, inside), 0.05, sharp=3
    )
    frame.over(rows, colour, smooth(-frame.soft, frame.soft, inside), touched)


def _straps(frame: Frame, table: np.ndarray, kind: int, touched: np.ndarray) -> None:
    """Loops from the mask's corners to the ears, or bands around the head."""
    f = frame.face
    colour = linear(f.mask_strap, f.mask_strap, f.mask_strap * 0.98)
    if kind < 2:
        side, begin, end = _MASK_SIDE - 0.03, (0.36, 0.64), ((0.9, -0.10, -0.16), (0.9, 0.31, -0.16))
    else:
        side, begin, end = 0.74, (0.38, 0.62), ((0.9, -0.36, -0.6), (0.9, 0.36, -0.6))
    knots = 6
    mix = np.linspace(0, 1, knots)[:, None, None]
    a = np.array([(side, y, (1 - side * side) ** 0.5) for y in begin])
    b = np.array(end)
    path = _unit_rows(a) * (1 - mix) + _unit_rows(b) * mix  # [knots,2,3], one side of the head
    path = _unit_rows(np.concatenate([path, path * np.array([-1.0, 1.0, 1.0])], 1)).astype(np.float32)
    flat = path.reshape(-1, 3).T
    skin, near = radius(frame.head.full, flat), np.linspace(1, 0, knots, dtype=np.float32).repeat(4)
    lift = np.maximum(skin, skin + (radius(table, flat) - skin) * near) + 0.012
    path *= lift.reshape(knots, 4, 1)
    for k in range(4):
        frame.stroke(path[:, k], 0.016 if kind == 0 else 0.022, colour, touched)


def _unit_rows(v: np.ndarray) -> np.ndarray:
    return v / np.sqrt((v * v).sum(-1, keepdims=True))


def _facial_hair(frame: Frame, head: Head, name: str, touched: np.ndarray) -> None:
    """A layer of hair of some thickness over the beard's or the mustache's area."""
    f, grid = frame.face, head.grid
    s, t, q = grid.s[grid.front], grid.t[grid.front], grid.q[grid.front]
    area = (_beard if name == "beard" else _mustache)(frame, s, t, q)
    if name == "beard":
        length = 0.025 + 0.17 * f.beard_length**1.5
        chin = bell(np.square(s / 0.38)) * smooth(0.45, 0.95, t)
        height = length * (0.35 + 0.65 * chin) + 0.25 * length * chin * smooth(0.8, 1, t)
        lumps = 1.0 + 0.25 * noise.smooth_noise(grid.count, int(f.hair_seed), 24)[grid.front]
    else:
        height, lumps = np.float32(0.035 * f.mustache_thick), 1.0
    table = head.skin.copy()
    table[grid.front] += height * lumps * smooth(0.1, 0.9, area)
    rows, z = _meet(frame, table, area > 0)
    px, py, pz = frame.head_points(rows, z)
    s, t, q = face_coordinates(px, py, pz)
    area = (_beard if name == "beard" else _mustache)(frame, s, t, q)
    on = np.flatnonzero(area > 0.02)
    rows, z, s, t, q, area = rows[on], z[on], s[on], t[on], q[on], area[on]
    _, (nx, ny, nz) = sample_maps(frame, layer_maps(table, head), rows, z)
    flow = s * (1.0 + 0.5 * t) if name == "beard" else t * 1.4 + 0.4 * np.abs(s)
    along = t if name == "beard" else s
    wave = 0.03 * f.hair_curl * np.sin(along * 60)
    fine = noise.wrapped(noise.strands(), (flow + wave) * 110 + 512 + f.hair_seed, along * 55 + 512)
    fine = 0.7 * fine + 0.6 * noise.wrapped(noise.grain(), s * 120 + 300, t * 120 + 300)
    hair = _facial_hair_colour(f)
    albedo = np.maximum(hair[:, None] * (0.95 + 0.45 * fine) + np.float32(0.004), 0.003)
    thin = (1.0 - f.beard_density) * (0.8 + 1.2 * fine)
    alpha = smooth(0.12, 0.62, area + 0.16 * fine * (1 - area) - thin)
    nx, ny, nz = frame.to_camera(nx + 0.3 * fine, ny, nz)
    colour = frame.shade(albedo, unit(nx, ny, nz), 0.62 + 0.38 * smooth(0.2, 1.0, area), 0.05, sharp=3)
    frame.over(rows, colour, alpha, touched)


def _facial_hair_colour(face: SimpleNamespace) -> np.ndarray:
    """The hair's colour, darker where it would not stand out from the skin; f32[3] linear."""
    hair, skin = linear(face.hair_r, face.hair_g, face.hair_b), linear(face.skin_r, face.skin_g, face.skin_b)
    share = float(hair.sum() / (hair.sum() + skin.sum()))
    return hair * np.float32(1.0 - 0.6 * max(0.0, 1.0 - ((share - 0.5) / 0.17) ** 2))


def _beard(frame: Frame, s: np.ndarray, t: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Density of a full beard, without the lips, f32 in [0, 1]."""
    f = frame.face
    side = np.abs(s)
    area = beard_area(f, side, t, f.beard_cheek)
    burn = smooth(0.47, 0.54, side) * smooth(0.02, 0.2, t) * smooth(-0.02, 0.08, q) * smooth(0.40, 0.22, q - 0.5 * t)
    area = np.maximum(area, burn) * smooth(-0.40, -0.22, q)
    x, line = lip_line(f, s)
    above, below = (
        np.float32(f.lip_upper + 0.012),
        np.float32(f.lip_lower * 1.15 + 0.05 * f.mouth_open + 0.012),
    )
    y = (t - line) / np.where(t < line, above, below)
    lips = smooth(0.85, 1.25, x * x * 0.9 + y * y)
    nose = smooth(f.nose_length + 0.085, f.nose_length + 0.115, t + 0.25 * np.maximum(side - 0.1, 0))
    nose = np.maximum(nose, smooth(f.nose_width + 0.06, f.nose_width + 0.11, side))
    return area * lips * nose * smooth(-0.1, 0.1, t)


def _mustache(frame: Frame, s: np.ndarray, t: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Density of a mustache, f32 in [0, 1]: chevron, pencil or handlebar."""
    f = frame.face
    side = np.abs(s)
    _, line = lip_line(f, s)
    form = int(f.mustache_form)
    half = f.mouth_width * f.mustache_length * (1.12, 1.0, 1.30)[form]
    x = side * (1.0 / half)
    lip = line - f.lip_upper * np.sqrt(np.maximum(1 - x * x, 0.1))
    room = f.mouth_height - f.lip_upper - f.nose_length - 0.09
    thick = max(room, 0.05) * ((0.46, 0.27, 0.38)[form] * f.mustache_thick)
    if form == 2:
        middle = lip - 0.7 * thick + 0.05 * x * x - 0.20 * np.maximum(x - 0.72, 0) * 1.2
        thick = thick * (1.05 - 0.72 * x)
    else:
        middle = lip - (0.85, 0.9)[form] * thick + (0.055, 0.02)[form] * x * x
        thick = thick * (1.0 - 0.45 * x * x)
    y = np.abs(t - middle) / np.maximum(thick, 0.008)
    return smooth(1.15, 0.55, y) * smooth(1.06, 0.92, x) * smooth(0.1, 0.25, q)
