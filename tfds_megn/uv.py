"""The UV square, on which each texel is one point of every face, and the 68 landmarks on it.

The square is laid out on a mean face: columns are the azimuth about the head's vertical axis, from -80 degrees (left
in a frontal picture) to 80; rows are the angle below the horizontal, from -46 degrees (forehead, row 0) to 76 (under
the chin, last row). Coordinates u (to the right) and v (down) run from 0 to 1; texel [row i, column j] of a map of S
texels has its centre at u = (j + 0.5) / S, v = (i + 0.5) / S.

On another face the eyes lie further apart, the mouth lower. A thin-plate spline that takes the mean face's landmarks to
those of the face bends the square, so that the corner of the eye is at the same texel for everybody, as in PRNet's map.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np

from tfds_megn.additions import ADDITIONS
from tfds_megn.head import bare, pose_matrix
from tfds_megn.params import PARAM_NAMES, as_face
from tfds_megn.render import check_size, table_side
from tfds_megn.skin import brow_line, lid_lines, lip_line, lip_reach
from tfds_megn.surface import MEAN_AXES, face_coordinates, radius

UV_AZIMUTH = np.deg2rad(80.0)
UV_TOP, UV_BOTTOM = np.deg2rad(-46.0), np.deg2rad(76.0)

_OFF_KNOTS = [*range(17), 61, 63, 65, 67]  # landmarks that are no knots of the spline: the jaw, four of the inner lips
# Directions from the centre of the mean head, in degrees to the side and below the horizon, of the landmarks of the jaw
# from the ear to the chin. On a natural face from the front they lie where 300-W's mean has them (as OpenFace publishes
# it), the lowest ones between that and the contour of the face mesh.
_JAW_ANGLES = ((76, 2), (67, 15), (66.5, 27.5), (62, 39.5), (59, 49.5), (52, 57.5), (41, 65), (21.5, 69.5), (0, 71))
# Moves (s, t) of the knots along the edge, from the ear to the chin, on a face whose `jaw_depth` is 1. They take the
# landmarks of a mean natural jaw, whose places from the front stay, to the depths of PRNet's public mean head.
_DEEPER = (
    (-0.030, 0.003), (-0.045, 0.020), (-0.036, 0.037), (-0.028, 0.045), (-0.008, 0.010), (0.015, -0.070),
    (0.017, -0.109), (0.010, -0.116), (0.0, -0.121),
)  # fmt: skip
_CORNER = 0.92  # half widths of the mouth from its middle to its inner corners;
_BETWEEN, _NEARER = 0.5, 0.27  # to the knots between them and the middle, and to the landmarks there

# Means of the parameters that move landmarks, over the faces that `sample_params` draws.
MEAN_FACE = {
    "eye_spacing": 0.272, "eye_height": 0.0, "eye_size": 0.163, "eye_tilt": 0.06, "eye_open": 1.0, "brow_raise": 0.0,
    "brow_arch": 0.03, "nose_length": 0.325, "nose_width": 0.10, "mouth_height": 0.605, "mouth_width": 0.225,
    "lip_upper": 0.056, "lip_lower": 0.076, "smile": 0.35, "mouth_open": 0.3,
}  # fmt: skip


def position_map(params: np.ndarray, size: int = 256) -> np.ndarray:
    """Computes the true UV position map of the bare face, in PRNet's convention.

    Texel [row v, column u] of the map contains the position of that point of the face in the picture `render(params,
    ..., size)`: x to the right and y down in pixels (the centre of pixel [i, j] is (j, i)), and z towards the
    camera to the same scale, 0 at the depth of the head's centre. Sampling the picture at (x, y) unwraps the
    face; points hidden by the face itself, by hair or by an attribute have a position all the same.

    Args:
      params: f32[P], from `sample_params`.
      size: side of the map in texels and of the picture in pixels.

    Returns:
      f32[size,size,3].

    Raises:
      ValueError: wrong shape of params, or size out of range.
    """
    face = as_face(params)
    check_size(size)
    moved = np.stack(_knots_on(face)) - _mean_knots()  # [2,68]
    # No matrix product: BLAS would start threads for it, which wait for each other where several processes draw.
    s, t = _mean_coordinates(size) + np.einsum("al,ln->an", moved.astype(np.float32), _moves(size))
    a, b, _ = MEAN_AXES
    inside = np.sqrt(np.minimum(1.0, 0.995 / np.maximum((s / a) ** 2 + (t / b) ** 2, 1e-9)))
    return _positions(face, s * inside, t * inside, size).reshape(size, size, 3)


def position_maps(task: tuple[np.ndarray, int]) -> np.ndarray:
    """Position maps f32[N,size,size,3] of faces f32[N,P]: a task for `workers.map_ordered`."""
    params, size = task
    return np.stack([position_map(one, size) for one in params])


def landmarks(params: np.ndarray, size: int = 256) -> np.ndarray:
    """Computes the 68 landmarks of the iBUG scheme, in the coordinates of `position_map`.

    Args:
      params: f32[P], from `sample_params`.
      size: side of the picture in pixels.

    Returns:
      f32[68,3]: jaw 0 to 16, brows 17 to 26, nose 27 to 35, eyes 36 to 47, outer lips 48 to 59, inner lips 60 to 67,
      each from the left of the picture to the right, and back below.

    Raises:
      ValueError: wrong shape of params, or size out of range.
    """
    face = as_face(params)
    check_size(size)
    s, t = np.stack(_knots_on(face))
    moved = np.stack([s, t]) - _mean_knots()
    s[_OFF_KNOTS], t[_OFF_KNOTS] = mean_landmarks()[:, _OFF_KNOTS] + np.einsum(
        "al,ln->an", moved.astype(np.float32), _landmark_moves()
    )
    return _positions(face, s, t, size)


def outline(params: np.ndarray, size: int = 256) -> np.ndarray:
    """Positions f32[68,3] of points along the edge of the face and of the 51 inner landmarks, as in `landmarks`."""
    return _positions(as_face(params), *_knots_on(as_face(params)), size)


def uv_directions(size: int) -> np.ndarray:
    """Unit directions f32[3,size,size] from the mean head's centre through each UV texel (head frame)."""
    line = (np.arange(size) + 0.5) / size
    return _direction(*np.meshgrid(line, line))


def uv_face_coordinates(size: int) -> np.ndarray:
    """Face coordinates (s, t) of each UV texel on the mean face, f32[2,size,size]; see `surface`."""
    return np.stack(face_coordinates(*uv_directions(size))[:2])


def _positions(face: SimpleNamespace, s: np.ndarray, t: np.ndarray, size: int) -> np.ndarray:
    """Positions f32[N,3] in the picture of points of the bare face, given by face coordinates."""
    skin = bare(face, table_side(size))
    a, b, c = MEAN_AXES
    d = np.stack([s, t, c * np.sqrt(np.maximum(1 - (s / a) ** 2 - (t / b) ** 2, 0.0))])
    d = (d / np.sqrt((d * d).sum(0))).astype(np.float32)
    x, y, z = pose_matrix(face) @ (radius(skin, d) * d)
    half = 0.5 * size
    x = (x * face.scale + face.shift_x + 1.0) * half - 0.5
    y = (y * face.scale + face.shift_y + 1.0) * half - 0.5
    return np.stack([x, y, z * (face.scale * half)], -1).astype(np.float32)


def _direction(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Unit directions f32[3,...] at UV coordinates."""
    below, azimuth = UV_TOP + v * (UV_BOTTOM - UV_TOP), (2 * u - 1) * UV_AZIMUTH
    d = [np.sin(azimuth) * np.cos(below), np.sin(below), np.cos(azimuth) * np.cos(below)]
    return np.stack(d).astype(np.float32)


def _uv_of(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """UV coordinates f32[N,2] of points of the mean face."""
    a, b, c = MEAN_AXES
    q = c * np.sqrt(1 - (s / a) ** 2 - (t / b) ** 2)
    below, azimuth = np.arctan2(t, np.hypot(s, q)), np.arctan2(s, q)
    uv = [0.5 + 0.5 * azimuth / UV_AZIMUTH, (below - UV_TOP) / (UV_BOTTOM - UV_TOP)]
    return np.stack(uv, -1).astype(np.float32)


def _knots_on(face: SimpleNamespace) -> tuple[np.ndarray, np.ndarray]:
    """Face coordinates f32[68] each of the spline's knots: 17 along the edge of the face, and the inner landmarks.

    Those of the edge move with `jaw_depth` only. Brows, nose, eyes and lips lie where `skin` paints them.
    """
    deeper = np.concatenate([_DEEPER, np.array([-1.0, 1.0]) * _DEEPER[-2::-1]]).T
    points = [np.stack(face_coordinates(*_direction(*EDGE.T))[:2]) + face.jaw_depth * deeper]

    def both_sides(side: np.ndarray, t: np.ndarray, order: list[int]) -> None:
        """Adds the left part of the picture, in this order, then its mirror image."""
        points.append(np.stack([-side, t])[:, order])
        points.append(np.stack([side, t]))

    x = np.array([-0.9, -0.45, 0.0, 0.45, 0.9])
    both_sides(*brow_line(face, x), [4, 3, 2, 1, 0])
    bridge = np.linspace(face.eye_height, face.nose_length, 4)
    points.append(np.stack([np.zeros(4), bridge]))
    wing = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    points.append(np.stack([wing * (face.nose_width + 0.03), face.nose_length + face.nose_under - 0.05 * wing * wing]))
    x = np.array([-1.0, -0.4, 0.4, 1.0, 0.4, -0.4])  # inner corner, upper lid outwards, outer corner, lower lid back
    side, top, bottom = lid_lines(face, x)
    both_sides(side, np.where(np.arange(6) < 4, top, bottom), [3, 2, 1, 0, 5, 4])
    points.append(_lips(face, 1.0, np.array([-0.66, -0.3, 0.0, 0.3, 0.66])))
    points.append(_lips(face, _CORNER, np.array([-_BETWEEN, 0.0, _BETWEEN])))
    s, t = np.concatenate(points, 1)
    return s, t


def _lips(face: SimpleNamespace, corner: float, x: np.ndarray) -> np.ndarray:
    """Face coordinates f32[2,2n+2] of points on the edges of the lips.

    Args:
      face: the face.
      corner: place of the corners in half widths of the mouth; below 1 they and all points are on the inner edges.
      x: f64[n], places between the corners, from left to right in the picture.

    Returns:
      The left corner, the points above, the right corner, the points below back.
    """
    width, inner = face.mouth_width * (1.0 + 0.14 * face.smile), corner < 1.0
    along = np.concatenate([[-corner], x, [corner], x[::-1]])
    _, line = lip_line(face, along * width)
    upper, lower, gap = lip_reach(face, along)
    above, below = (gap, gap) if inner else (upper + gap, lower + gap)
    sign = np.where(np.arange(len(along)) <= len(along) // 2, -1.0, 1.0)
    return np.stack([along * width, line + np.where(sign < 0, -above, below)])


def _edge() -> np.ndarray:
    """Places f64[17,2] on the square, (u, v), along the edge of the face, from the left ear over the chin."""
    x = np.linspace(-1, 1, 17)
    below = np.deg2rad(70 - 58 * np.abs(x) ** 2.2)
    return np.stack([0.5 + 0.5 * np.deg2rad(78) / UV_AZIMUTH * x, (below - UV_TOP) / (UV_BOTTOM - UV_TOP)], -1)


def _mean_jaw() -> np.ndarray:
    """Face coordinates f32[2,17] of the landmarks of the jaw on the mean face."""
    azimuth, below = np.deg2rad(_JAW_ANGLES).T
    azimuth, below = np.append(-azimuth, azimuth[-2::-1]), np.append(below, below[-2::-1])
    jaw = _direction(0.5 + 0.5 * azimuth / UV_AZIMUTH, (below - UV_TOP) / (UV_BOTTOM - UV_TOP))
    return np.stack(face_coordinates(*jaw)[:2])


@lru_cache(maxsize=1)
def mean_landmarks() -> np.ndarray:
    """Face coordinates f32[2,68] of the mean face's landmarks."""
    lips = _lips(_mean_face(), _CORNER, np.array([-_NEARER, 0.0, _NEARER]))
    return np.concatenate([_mean_jaw(), _mean_knots()[:, 17:60], lips], 1)


@lru_cache(maxsize=1)
def _mean_knots() -> np.ndarray:
    """Face coordinates f32[2,68] of the spline's knots on the mean face."""
    return np.stack(_knots_on(_mean_face()))


def _mean_face() -> SimpleNamespace:
    """The parameters of the mean face that landmarks depend on; the others are 0."""
    return SimpleNamespace(**dict.fromkeys(PARAM_NAMES, 0.0) | ADDITIONS | MEAN_FACE)


@lru_cache(maxsize=4)
def _mean_coordinates(size: int) -> np.ndarray:
    """`uv_face_coordinates`, f32[2,size²]."""
    return uv_face_coordinates(size).reshape(2, -1)


@lru_cache(maxsize=4)
def _moves(size: int) -> np.ndarray:
    """Share f32[68,size²] of each knot's move that each texel follows."""
    return _moves_at(_mean_coordinates(size))


@lru_cache(maxsize=1)
def _landmark_moves() -> np.ndarray:
    """Share f32[68,21] of each knot's move that the landmarks beside the knots follow."""
    return _moves_at(mean_landmarks()[:, _OFF_KNOTS])


def _moves_at(at: np.ndarray) -> np.ndarray:
    """Share f32[68,N] of each knot's move that points f32[2,N] of the mean face follow, by a thin-plate spline.

    Anchors along the border of the square stay where they are.
    """
    line, inner = np.linspace(0.0, 1.0, 9), np.linspace(0.0, 1.0, 9)[1:-1]
    border = [np.stack([line, k + 0 * line]) for k in (0.0, 1.0)] + [
        np.stack([k + 0 * inner, inner]) for k in (0.0, 1.0)
    ]
    anchors = np.stack(face_coordinates(*_direction(*np.concatenate(border, 1)))[:2])
    knots = np.concatenate([_mean_knots(), anchors], 1)  # [2,K]
    return spline(knots, at)[:68].astype(np.float32)


def spline(knots: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Weight of each knot's value at each point, in the thin-plate spline through the knots.

    Args:
      knots: f32[2,K], points at which values are given.
      at: f32[2,N], points at which the spline is evaluated.

    Returns:
      f64[K,N]; values [C,K] @ weights are the values [C,N] of the spline.
    """
    knots, at = knots.astype(np.float64), at.astype(np.float64)
    flat = np.concatenate([np.ones((1, knots.shape[1])), knots])  # [3,K]
    system = np.block([[_bending(knots, knots), flat.T], [flat, np.zeros((3, 3))]])
    right = np.concatenate([_bending(knots, at), np.ones((1, at.shape[1])), at])  # [K+3,N]
    return np.linalg.solve(system, right)[: knots.shape[1]]


def _bending(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The thin-plate kernel r² log r² of the distances between points [2,A] and [2,B], f64[A,B]."""
    square = ((a[:, :, None] - b[:, None]) ** 2).sum(0)
    return square * np.log(np.maximum(square, 1e-12))


EDGE: np.ndarray = _edge()  # f64[17,2], (u, v) of points along the edge of the face, on every position map
LANDMARKS: np.ndarray = _uv_of(*mean_landmarks())  # f32[68,2], (u, v) of the landmarks on every position map
