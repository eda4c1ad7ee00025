"""The picture being drawn (rays, light, depth), and the surroundings of the face: background, body, ears, hair."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from tfds_megn import noise
from tfds_megn.head import Head, light_direction, pose_matrix
from tfds_megn.skin import linear, scatter
from tfds_megn.surface import MEAN_AXES, bell, cells, lookup, origins, smooth, surface_normals

BEHIND = np.float32(-50.0)


class Frame:
    """Rays, light and the layers drawn so far, at `samples` samples per picture pixel along each axis.

    Attributes:
      x, y: f32[N], coordinates of each ray, in head units from the head's centre (camera frame).
      z: f32[N], depth of the nearest thing drawn. colour: f32[3,N], linear.
      start: f32[3,N], points where the rays cross depth 0 (head frame).
      turn: f32[3,3], pose matrix. soft: width of a sample in head units.
      head: the person's head. head_rows: int[n], the rays on which the bare head is seen.
    """

    def __init__(self, face: SimpleNamespace, head: Head, size: int, samples: int):
        side = size * samples
        self.face, self.head, self.turn, self.side = face, head, pose_matrix(face), side
        self.head_rows = np.zeros(0, dtype=np.int64)
        line = ((np.arange(side, dtype=np.float32) + np.float32(0.5)) * np.float32(2.0 / side) - 1).astype(np.float32)
        self.xs, self.ys = (line - face.shift_x) * (1 / face.scale), (line - face.shift_y) * (1 / face.scale)
        self.x, self.y = np.tile(self.xs, side), np.repeat(self.ys, side)
        self.soft = 1.2 / (side * face.scale)
        self.z = np.full(side * side, BEHIND, dtype=np.float32)
        self.colour = np.zeros((3, side * side), dtype=np.float32)
        self.start = origins(self.turn, self.xs, self.ys).reshape(3, -1)
        self.light = light_direction(face)
        half = self.light + np.array([0, 0, 1], np.float32)
        self.half = half / np.float32(np.sqrt((half * half).sum()))
        warm = np.array([1.0 + 0.16 * face.light_warmth, 1.0, 1.0 - 0.22 * face.light_warmth], np.float32)
        self.key = warm * np.float32(1.02 * face.light_strength)
        self.key *= np.array([face.key_r, face.key_g, face.key_b], np.float32)
        self.sky = np.array(
            [1.0 - 0.05 * face.light_warmth, 1.0, 1.0 + 0.08 * face.light_warmth], np.float32
        ) * np.float32(0.85 * face.ambient)

    def head_points(self, rows: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Head frame points at depth `z` on rays `rows`."""
        return tuple(self.start[k].take(rows) + z * self.turn[2, k] for k in range(3))

    def window(self, left: float, top: float, right: float, bottom: float) -> tuple[slice, slice]:
        """Rows and columns of the samples inside a box of camera coordinates."""
        (i, k), (j, m) = self.xs.searchsorted((left, right)), self.ys.searchsorted((top, bottom))
        return slice(int(j), int(m)), slice(int(i), int(k))

    def within(self, box: tuple[slice, slice], on: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Flat indices of a window's samples where `on` bool[h,w] holds, and their row and column there."""
        i, j = np.nonzero(on)
        return (i + box[0].start) * self.side + (j + box[1].start), i, j

    def to_camera(self, nx: np.ndarray, ny: np.ndarray, nz: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Turns head frame vectors into the camera frame."""
        m = self.turn
        return tuple(m[k, 0] * nx + m[k, 1] * ny + m[k, 2] * nz for k in range(3))

    def shade(
        self, albedo: np.ndarray, normal: tuple, cavity: np.ndarray | float, gloss: np.ndarray | float,
        sharp: int = 4, bleed: float = 0.0, reach: np.ndarray | float = 1.0,
    ) -> np.ndarray:  # fmt: skip
        """Lit colour f32[3,n] of albedo f32[3,n]: soft Lambert, sky, and a highlight of power 2^sharp.

        `bleed` reddens the edge of the light; `reach` is the share of it that arrives.
        """
        nx, ny, nz = normal
        lit = nx * self.light[0] + ny * self.light[1] + nz * self.light[2]
        lit += 0.22
        lit *= 1 / 1.22
        soft = lit.clip(0.0, 1.0, out=lit) * reach
        sky = (0.72 - 0.28 * ny + 0.25 * nz) * cavity
        shine = nx * self.half[0] + ny * self.half[1] + nz * self.half[2]
        shine.clip(0.0, 1.0, out=shine)
        for _ in range(sharp):
            shine *= shine
        shine *= gloss * (soft * 4.0).clip(0.0, 1.0)
        direct = soft * (0.4 + 0.6 * cavity)
        out = np.empty((3, len(nx)), dtype=np.float32)
        for c in range(3):
            d = direct if (c > 0 or not bleed) else direct + bleed * soft * (1 - soft)
            light = np.multiply(d, self.key[c], out=out[c])
            light += sky * self.sky[c]
            light *= albedo[c]
            light += shine * (0.5 * self.key[c])
        return out

    def put(self, rows: np.ndarray, z: np.ndarray, colour: np.ndarray) -> None:
        """Draws opaque samples."""
        self.z[rows] = z
        scatter(self.colour, rows, colour)

    def put_nearer(self, rows: np.ndarray, z: np.ndarray, colour: np.ndarray) -> None:
        """Draws opaque samples where they lie before what is drawn there."""
        near = np.flatnonzero(z > self.z[rows])
        self.put(rows[near], z[near], colour.take(near, 1))

    def over(self, rows: np.ndarray, colour: np.ndarray, alpha: np.ndarray, touched: np.ndarray) -> None:
        """Lays colour f32[3,n] or f32[3,1] over samples with opacity f32[n] and marks those it changes."""
        on = np.flatnonzero(alpha > 0.004)
        rows, alpha = rows[on], alpha[on]
        here = self.colour.take(rows, 1)
        here += ((colour.take(on, 1) if colour.shape[1] > 1 else colour) - here) * alpha
        scatter(self.colour, rows, here)
        touched[rows] = True

    def darken(self, rows: np.ndarray, amount: np.ndarray, touched: np.ndarray) -> None:
        """Takes away the share `amount` f32[n] of the light of samples and marks them."""
        on = np.flatnonzero(amount > 0.004)
        rows = rows[on]
        scatter(self.colour, rows, self.colour.take(rows, 1) * (1.0 - amount[on]))
        touched[rows] = True

    def stroke(
        self, path: np.ndarray, width: float, colour: np.ndarray, touched: np.ndarray, bias: float = 0.02
    ) -> None:
        """Draws a round bar along head frame points f32[k,3], hidden by what is nearer by over `bias`."""
        points = path @ self.turn.T
        low, high = points.min(0) - width, points.max(0) + width
        box = self.window(low[0], low[1], high[0], high[1])
        x, y = self.xs[box[1]], self.ys[box[0], None]
        off2 = np.full((y.shape[0], x.shape[0]), 9.0, dtype=np.float32)
        z = np.zeros_like(off2)
        for a, b in zip(points[:-1], points[1:], strict=True):
            px, py = x - a[0], y - a[1]
            dx, dy = float(b[0] - a[0]), float(b[1] - a[1])
            k = px * dx + py * dy
            k *= 1.0 / max(dx * dx + dy * dy, 1e-6)
            k.clip(0.0, 1.0, out=k)
            px, py = px - k * dx, py - k * dy
            gap2 = px * px + py * py
            nearer = gap2 < off2
            off2 = np.minimum(off2, gap2)
            z = np.where(nearer, a[2] + k * (b[2] - a[2]), z)
        half = 0.5 * width
        on = (off2 < (half + self.soft) ** 2) & (z > self.z.reshape(self.side, -1)[box] - bias)
        rows, i, j = self.within(box, on)
        off = np.sqrt(off2[i, j])
        tone = 1.1 - 0.5 * np.square(off * (1 / half))
        lit = (colour * (0.75 * self.key + 0.7 * self.sky))[:, None] * tone
        alpha = smooth(half + 0.5 * self.soft, half - 0.5 * self.soft, off)
        self.over(rows, lit.astype(np.float32), alpha, touched)


def background(frame: Frame) -> None:
    """Draws a gradient with soft discs, stripes or nothing on it."""
    f, side = frame.face, frame.side
    line = np.linspace(0, 1, side, dtype=np.float32)
    u, v = line, line[:, None]
    rng = np.random.default_rng(int(f.back_seed))
    a, b = linear(f.back_r, f.back_g, f.back_b), linear(f.back2_r, f.back2_g, f.back2_b)
    angle = rng.uniform(0, 2 * np.pi)
    mix = 0.5 + (u - 0.5) * np.float32(np.cos(angle)) + (v - 0.5) * np.float32(np.sin(angle))
    mix.clip(0.0, 1.0, out=mix)
    kind = int(f.back_kind)
    if kind == 1:  # out of focus lights
        for _ in range(5):
            x, y, r = rng.uniform(0, 1), rng.uniform(0, 0.9), rng.uniform(0.08, 0.3)
            rho = np.sqrt((u - x) ** 2 + (v - y) ** 2)
            mix += np.float32(rng.uniform(-0.8, 0.8)) * smooth(r * 1.25, r * 0.75, rho)
    elif kind == 2:  # a wall, a door, a shelf
        for _ in range(3):
            x, w, blur = rng.uniform(0, 1), rng.uniform(0.05, 0.3), rng.uniform(0.01, 0.05)
            mix += np.float32(rng.uniform(-0.8, 0.8)) * smooth(w + blur, w - blur, np.abs(u - x + 0.1 * (v - 0.5)))
        mix += np.float32(rng.uniform(-0.5, 0.5)) * smooth(-0.02, 0.02, v - rng.uniform(0.2, 0.8))
    elif kind == 3:  # foliage, cloud
        clouds = noise.smooth_noise(noise.SIDE, int(f.back_seed) % 16, 7).reshape(-1)
        mix += 0.6 * noise.wrapped(clouds, v * 255, u * 255)
    mix = mix.clip(-0.25, 1.25).reshape(-1)
    for plane, low, high in zip(frame.colour, a, b, strict=True):
        np.multiply(mix, high - low, out=plane)
        plane += low
        plane.clip(0.003, 1.0, out=plane)


def body(frame: Frame) -> None:
    """Draws neck, shoulders and clothes, upright in the camera frame."""
    f = frame.face
    chin = frame.turn @ np.array([0.0, 0.62, -0.28], np.float32)
    base_x, base_y, base_z = 0.35 * chin[0], 1.36, -0.32
    # Neck: an upright elliptic cylinder that leans from under the skull to the collar and flares at its root.
    box = frame.window(-0.9, 0.4, 0.9, 9.0)
    y = frame.ys[box[0], None]
    down = ((y - chin[1]) * (1.0 / (base_y - chin[1]))).clip(0.0, 1.3)
    middle, back = chin[0] + (base_x - chin[0]) * down, chin[2] + (base_z - chin[2]) * down
    half = f.neck_width * (1.0 + 0.10 * np.square(down) + 0.5 * np.maximum(down - 0.85, 0))
    nx = (frame.xs[box[1]] - middle) / half
    rows, i, j = frame.within(box, np.abs(nx) < 1)
    nx, down, half, back = nx[i, j], down[i, 0], half[i, 0], back[i, 0]
    nz = np.sqrt(1 - nx * nx)
    z = back + 0.95 * half * nz
    skin = linear(f.skin_r, f.skin_g, f.skin_b) * np.array([0.97, 0.92, 0.90], np.float32)
    shadow = 0.45 + 0.55 * smooth(0.15, 0.95, down + 0.25 * np.abs(nx))
    cord = bell(((np.abs(nx) - 0.62 + 0.4 * down) / 0.10) ** 2) * 0.10
    colour = frame.shade(
        skin[:, None] * (shadow - cord), (nx, np.full_like(nx, 0.1), nz * 0.99), shadow, 0.06, bleed=0.15
    )
    frame.put_nearer(rows, z, colour)
    # Shoulders: a rounded bulk below a sloping line.
    width = f.shoulder_width
    box = frame.window(-9.0, 1.0, 9.0, 9.0)
    x, y = frame.xs[box[1]] - base_x, frame.ys[box[0]]
    u = np.abs(x) * (1.0 / width)
    slope = 1.12 + 0.50 * u * u + 1.2 * np.maximum(u - 0.8, 0) ** 2
    neckline = {0: 1.30, 1: 1.42, 2: 1.20}[int(f.collar) % 3]
    scoop = (0.32, 0.62, 0.20)[int(f.collar) % 3] if int(f.collar) != 1 else 0.5
    hole = neckline + 0.16 - 1.1 * (np.abs(x) if int(f.collar) == 1 else x * x) / scoop
    top = np.maximum(slope, hole)
    rows, i, j = frame.within(box, (y[:, None] > top) & (u < 1.25))
    x, y, u, top = x[j], y[i], u[j], top[j]
    rise = ((y - slope[j]) / 0.55).clip(0.0, 1.0)
    z = -0.40 + 0.55 * np.sqrt((1 - 0.6 * u * u).clip(0.0, 1.0)) * np.sqrt(rise * (2 - rise))
    ny = -(1 - rise) * 0.9
    nx = np.sign(x) * 0.75 * u * u
    nz = np.sqrt((1 - 0.45 * (nx * nx + ny * ny)).clip(0.05, 1))
    k = 1 / np.sqrt(nx * nx + ny * ny + nz * nz)
    fold = noise.wrapped(noise.smooth_noise(noise.SIDE, 5, 9).reshape(-1), y * 60 + 80, x * 90 + 128)
    hem = smooth(0.075, 0.055, y - top) * smooth(0.9, 0.6, u)
    fabric = linear(f.cloth_r, f.cloth_g, f.cloth_b)[:, None] * (1.0 + 0.12 * fold - 0.22 * hem)
    frame.put_nearer(rows, z, frame.shade(fabric, (nx * k, ny * k, nz * k), 0.85 + 0.15 * fold, 0.02))


def meet_ellipsoid(
    frame: Frame, centre: tuple[float, ...], axes: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray], list[np.ndarray]]:
    """Meets the rays with an ellipsoid in the frame of the head.

    Args:
      frame: the picture.
      centre: its centre, and
      axes: its half axes, three numbers each.

    Returns:
      int[n], the rays on which it lies before everything drawn so far; f32[n], their depth; the parts f32[n] of its
      unit normal; and of the point on the unit ball.
    """
    m = frame.turn
    cx, cy, cz = (float(v) for v in m @ np.array(centre, np.float32))
    reach = max(axes)
    box = frame.window(cx - reach, cy - reach, cx + reach, cy + reach)
    x, y = frame.xs[box[1]] - cx, frame.ys[box[0], None] - cy
    inv = [1.0 / a for a in axes]
    o = [x * (m[0, k] * inv[k]) + y * (m[1, k] * inv[k]) for k in range(3)]
    d = [float(m[2, k]) * inv[k] for k in range(3)]
    a = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
    b = o[0] * d[0] + o[1] * d[1] + o[2] * d[2]
    disc = o[0] * o[0] + o[1] * o[1] + o[2] * o[2] - 1.0
    disc *= -a
    disc += b * b
    rows, i, j = frame.within(box, disc > 0)
    at = i * x.shape[0] + j
    z = (np.sqrt(disc.take(at)) - b.take(at)) * (1.0 / a)
    near = np.flatnonzero(z + cz > frame.z[rows])
    rows, at, z = rows[near], at[near], z[near]
    p = [o[k].take(at) + z * d[k] for k in range(3)]
    return rows, z + cz, unit(p[0] * inv[0], p[1] * inv[1], p[2] * inv[2]), p


def ears(frame: Frame) -> None:
    """Draws the ears: two flat ellipsoids with a darker hollow."""
    f = frame.face
    for sign in (-1.0, 1.0):
        if sign * f.yaw > 0.45:
            continue
        out = MEAN_AXES[0] * f.head_width + 0.025 + f.ear_out
        centre = (sign * out, 0.11, -0.10)
        axes = (0.10 + 0.6 * abs(f.ear_out), 0.21 * f.ear_size, 0.12 * f.ear_size)
        rows, z, normal, p = meet_ellipsoid(frame, centre, axes)
        u, v = p[2], p[1]
        rim = np.sqrt((u * 1.1) ** 2 + v**2)
        hollow = smooth(0.72, 0.45, rim) * smooth(-0.9, -0.2, u + 0.4)
        skin = linear(f.skin_r, f.skin_g, f.skin_b) * np.array([1.0, 0.86, 0.82], np.float32)
        skin = skin[:, None] * (1.0 - 0.55 * hollow)
        colour = frame.shade(skin, frame.to_camera(*normal), 0.9 - 0.3 * hollow, 0.10, bleed=0.2)
        frame.put(rows, z, colour)


def hair_colour(frame: Frame, px: np.ndarray, py: np.ndarray, pz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Albedo f32[3,n] of strands around the crown, and their noise f32[n], at head frame points."""
    f = frame.face
    crown_y, crown_z = -0.80, -0.45
    y, z = py - crown_y, pz - crown_z
    flow = int(f.hair_flow)
    if flow == 1:
        around, along = px * 1.6, pz - py
    elif flow == 2:  # from a parting at one side of the forehead
        x, y, z = px - (0.3 if f.hair_sweep > 0 else -0.3), py + 0.95, pz - 0.30
        around, along = np.arctan2(x, z + 0.3 * y + 1e-6), np.sqrt(x * x + y * y + z * z)
    else:
        around = np.arctan2(px, 0.65 * z + 0.75 * y + 1e-6)
        along = np.sqrt(px * px + y * y + z * z)
    kink = noise.smooth_at(int(f.hair_seed), 10, along * 120 + 300, around * 50 + 300)
    wave = f.hair_curl * 0.11 * kink
    fine = noise.wrapped(noise.strands(), (around + wave) * 95 + f.hair_seed + 1000, along * 45)
    if f.hair_curl > 0.6:
        curl = noise.wrapped(noise.grain(), (px * 40 + pz * 25) + 512, py * 40 + 512)
        fine = 0.3 * fine + 1.1 * curl
    hair = linear(f.hair_r, f.hair_g, f.hair_b)
    albedo = hair[:, None] * (1.0 + 0.42 * fine)
    albedo += np.float32(0.006)
    return albedo.clip(0.003, None, out=albedo), fine


def long_hair(frame: Frame, behind: bool) -> None:
    """Draws hair that falls behind the face (one bulk, and a bun) or beside it (two curtains)."""
    f = frame.face
    w = f.head_width
    shapes = []
    if behind and f.hair_bun > 0:
        shapes.append(((0.0, -1.02 - 0.4 * f.hair_bun, -0.25), (f.hair_bun * 1.15, f.hair_bun, f.hair_bun)))
    if f.hair_length > 0:
        low = f.hair_length
        if behind:
            shapes.append(((0.0, 0.5 * (low - 0.7), -0.50), (0.80 * w + 0.8 * f.hair_volume, 0.5 * (low + 1.2), 0.32)))
        else:
            for sign in (-1, 1):
                shapes.append(((sign * (0.66 * w + 0.5 * f.hair_volume), 0.5 * low - 0.1, -0.12),
                               (0.15 + 0.3 * f.hair_volume, 0.5 * low + 0.25, 0.30)))  # fmt: skip
    for centre, axes in shapes:
        rows, z, (nx, ny, nz), _ = meet_ellipsoid(frame, centre, axes)
        px, py, pz = frame.head_points(rows, z)
        wave = f.hair_curl * 0.06 * np.sin(py * (12 + 8 * f.hair_curl) + f.hair_seed)
        fine = noise.wrapped(noise.strands(), (px + wave) * 75 + 512 + f.hair_seed, py * 30 + 512)
        albedo = linear(f.hair_r, f.hair_g, f.hair_b)[:, None] * (1.0 + 0.42 * fine) + np.float32(0.005)
        deep = 0.55 if behind else 0.85
        colour = frame.shade(albedo.clip(0.003, None), frame.to_camera(nx + 0.3 * fine, ny, nz), deep, 0.05, sharp=3)
        frame.put(rows, z, colour)


def sample_maps(
    frame: Frame, maps: tuple[np.ndarray, ...], rows: np.ndarray, z: np.ndarray
) -> tuple[tuple, list[np.ndarray]]:
    """Head frame points and interpolated tables where rays `rows` meet a radial surface at depth `z`."""
    px, py, pz = frame.head_points(rows, z)
    count = len(maps[0])
    _, at, fu, fv = cells(px, py, pz, count)
    return (px, py, pz), [lookup(table.reshape(-1), at, fu, fv, count) for table in maps]


def unit(nx: np.ndarray, ny: np.ndarray, nz: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The vectors at unit length."""
    k = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
    return nx * k, ny * k, nz * k


def layer_maps(table: np.ndarray, head: Head) -> tuple[np.ndarray, ...]:
    """Three f32[G,G]: normals of another radial surface on the same grid, on its front part."""
    grid = head.grid
    normals = np.zeros((3, grid.count, grid.count), dtype=np.float32)
    normals[2] = 1.0
    normals[(slice(None), *grid.front)] = surface_normals(table[grid.front], grid.d[(slice(None), *grid.front)])
    return tuple(normals)
