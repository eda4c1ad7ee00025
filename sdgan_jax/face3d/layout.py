"""Layouts of UV squares: the 68 landmarks, the face, its regions, and the position of each texel on a mean face.

There are two layouts: that of `tfds_megn.position_map`, at any size, and PRNet's public one, whose UV files its users
have to get themselves. Both share the face coordinates (s, t), which are x and y in a frontal picture of a mean head of
half height 1: the eyes are at (+-0.272, 0), the nose tip at (0, 0.325), the mouth at (0, 0.605), the chin at t = 0.95.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

import tfds_megn
from sdgan_jax import memo
from tfds_megn import surface, uv

REGIONS = ("eyes", "nose", "mouth", "chin", "cheeks", "forehead")
PRNET_SIZE = 256
UNDER_JAW = 0.035  # share of the square; masks and beards reach this far below the line from ear to chin
LANDMARK_WEIGHT, FEATURE_WEIGHT, FACE_WEIGHT = 16.0, 4.0, 3.0  # Feng et al. 2018, section 3.2; the neck has 0
_JAW = slice(0, 17)
_NARROWER = 0.95


@struct.dataclass
class Layout:
    """Layout of a UV square.

    Attributes:
        landmarks: f32[68,2], (u, v) in [0, 1] of the iBUG landmarks; the centre of texel [i, j] is ((j, i) + 0.5) / S.
        face: bool[S,S], True for the texels of the face, False for those of the neck.
        coordinates: f32[S,S,2], (s, t) of each texel on the mean face.
        regions: f32[S,S,6], one-hot over `REGIONS`, all 0 off the face.
        head: f32[S,S,3], position of each texel on a mean head in half heights of the head, from its centre: x to the
            right, y down, z towards the camera.
        weights: f32[S,S], weight of each texel in the squared error of a position map: 16 at the landmarks, 4 at eyes,
            nose and mouth, 3 on the rest of the face and in MEGN's layout as far as the jaw, 0 elsewhere (Feng et al.
            2018).
    """

    landmarks: np.ndarray
    face: np.ndarray
    coordinates: np.ndarray
    regions: np.ndarray
    head: np.ndarray
    weights: np.ndarray

    @property
    def landmark_texels(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns i64[68] of the texels that the landmarks lie in."""
        return _texels(np.asarray(self.landmarks), len(self.face))


@lru_cache(maxsize=8)
def megn(size: int) -> Layout:
    """Returns the layout of `tfds_megn.position_map(params, size)`.

    Args:
        size: texels along a side.
    """
    landmarks = tfds_megn.LANDMARKS
    u, v = np.meshgrid(_centres(size), _centres(size))
    face = v < np.interp(u, *uv.EDGE.T) + UNDER_JAW
    # The jaw is steep near the ears: a texel counts if the line is a little nearer to the ear, or above.
    jaw = v < np.interp(0.5 + _NARROWER * (u - 0.5), *landmarks[_JAW].T) + UNDER_JAW
    return _complete(landmarks, face, uv.uv_face_coordinates(size).transpose(1, 2, 0), face | jaw)


def prnet(landmarks: np.ndarray, face: np.ndarray) -> Layout:
    """Returns PRNet's public layout; its landmarks and face come with PRNet and are not part of this package.

    A thin-plate spline through the landmarks gives the position of each texel on the mean face.

    Args:
        landmarks: f32[68,2], (u, v) in [0, 1]: `(np.loadtxt(file).T + 0.5) / 256` with the file uv_kpt_ind.txt.
        face: bool[256,256], the texels that PRNet's face_ind.txt lists.

    Raises:
        ValueError: landmarks or face have another shape, or the landmarks are not in [0, 1].
    """
    landmarks, face = np.asarray(landmarks, np.float32), np.asarray(face)
    if landmarks.shape != (68, 2) or not (0 <= landmarks).all() or not (landmarks <= 1).all():
        raise ValueError(f"landmarks are f32[68,2] in [0,1], got {list(landmarks.shape)}; divide texels by 256")
    if face.shape != (PRNET_SIZE, PRNET_SIZE):
        raise ValueError(f"face is bool[{PRNET_SIZE},{PRNET_SIZE}], got {list(face.shape)}")
    at = np.stack(np.meshgrid(_centres(PRNET_SIZE), _centres(PRNET_SIZE))).reshape(2, -1)
    coordinates = (uv.spline(landmarks.T, at).T @ mean_landmarks()).reshape(PRNET_SIZE, PRNET_SIZE, 2)
    return _complete(landmarks, face.astype(bool), coordinates)


def mean_landmarks() -> np.ndarray:
    """Returns the face coordinates f32[68,2] of the mean face's landmarks."""
    return uv.mean_landmarks().T.astype(np.float32)


def bearings(coordinates: Any) -> tuple[Any, Any]:
    """Converts face coordinates to directions seen from the centre of the mean head.

    Towards the ears s hardly changes along the surface; the azimuth does.

    Args:
        coordinates: f32[...,2], (s, t), of numpy or jax.

    Returns:
        Sine of the azimuth (to the right), and sine of the angle below the horizon, f32[...] each.
    """
    # With numpy alone inside a trace: arrays of the trace must not end up in the cache of `megn`.
    xp = jnp if isinstance(coordinates, jax.Array) else np
    s, t = coordinates[..., 0], coordinates[..., 1]
    a, b, c = surface.MEAN_AXES  # of the ellipsoid on which (s, t) are x and y
    q = c * xp.sqrt(xp.maximum(1.0 - (s / a) ** 2 - (t / b) ** 2, 1e-4))
    return s / xp.sqrt(s * s + q * q), t / xp.sqrt(s * s + t * t + q * q)


def _complete(
    landmarks: np.ndarray, face: np.ndarray, coordinates: np.ndarray, weighed: np.ndarray | None = None
) -> Layout:
    """Computes the fields that follow from the coordinates; only the texels that are `weighed` count in the error."""
    regions = _regions(coordinates) * face[..., None]
    features = regions[..., :3].sum(-1)
    weights = np.where(features > 0, FEATURE_WEIGHT, FACE_WEIGHT) * (face if weighed is None else weighed)
    weights[_texels(landmarks, len(face))] = LANDMARK_WEIGHT
    coordinates = np.ascontiguousarray(coordinates, np.float32)
    around, down = bearings(coordinates)
    u = 0.5 + 0.5 * np.arcsin(around) / uv.UV_AZIMUTH
    v = (np.arcsin(down) - uv.UV_TOP) / (uv.UV_BOTTOM - uv.UV_TOP)
    head = read(_mean_head(), np.stack([u, v], -1))
    return Layout(landmarks, face, coordinates, regions.astype(np.float32), head, weights.astype(np.float32))


def mean_params() -> np.ndarray:
    """Returns the parameters f32[P] of a mean rendered face, seen from the front and as high as the picture."""
    mean = np.mean([tfds_megn.sample_params(k) for k in range(128)], 0)
    for name, value in {"yaw": 0, "pitch": 0, "roll": 0, "scale": 1, "shift_x": 0, "shift_y": 0}.items():
        mean[tfds_megn.PARAM_NAMES.index(name)] = value
    return mean


@lru_cache(maxsize=1)
def _mean_head() -> np.ndarray:
    """Returns the position map f32[256,256,3] of the mean face in the frame of its head."""
    size = 256

    def compute() -> bytes:
        x, y, z = np.moveaxis(tfds_megn.position_map(mean_params(), size), -1, 0)
        half = 0.5 * size
        return np.stack([(x + 0.5) / half - 1.0, (y + 0.5) / half - 1.0, z / half], -1).tobytes()

    return np.frombuffer(memo.recall("mean_head", "", compute), np.float32).reshape(size, size, 3)


def read(table: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Interpolates a UV square bilinearly, as `geometry.sample` does, by numpy; the outermost texels repeat.

    Args:
        table: f32[S,S,C].
        at: f32[...,2], (u, v) in [0, 1].

    Returns:
        f32[...,C].
    """
    size = len(table)
    x = np.clip(at * size - 0.5, 0, size - 1)
    j, i = (np.minimum(x[..., k].astype(int), size - 2) for k in (0, 1))
    a, b = (x[..., 0] - j)[..., None], (x[..., 1] - i)[..., None]
    above = table[i, j] * (1 - a) + table[i, j + 1] * a
    below = table[i + 1, j] * (1 - a) + table[i + 1, j + 1] * a
    return (above * (1 - b) + below * b).astype(np.float32)


def _regions(coordinates: np.ndarray) -> np.ndarray:
    """Returns the one-hot region of each (s, t), f32[S,S,6]; the brows belong to the eyes."""
    s, t = np.abs(coordinates[..., 0]), coordinates[..., 1]
    eyes = np.hypot((s - 0.275) / 0.225, (t + 0.055) / 0.175) < 1
    nose = (s < np.interp(t, [-0.08, 0.22, 0.30], [0.07, 0.11, 0.155])) & (t > -0.08) & (t < 0.435)
    mouth = np.hypot(s / 0.30, (t - 0.61) / 0.15) < 1
    chin = (t > 0.74) & (s < 0.32) & ~mouth
    forehead = t < -0.16
    parts = [eyes & ~nose, nose, mouth, chin, ~(eyes | nose | mouth | chin | forehead), forehead & ~eyes]
    return np.stack(parts, -1).astype(np.float32)


def _texels(landmarks: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows and columns i64[N] of the texels that landmarks f32[N,2], (u, v), lie in."""
    j, i = np.clip(np.floor(landmarks * size).astype(int), 0, size - 1).T
    return i, j


def _centres(size: int) -> np.ndarray:
    """Returns u or v f32[size] of the centres of the texels."""
    return ((np.arange(size) + 0.5) / size).astype(np.float32)
