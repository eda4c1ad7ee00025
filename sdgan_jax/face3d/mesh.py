"""MediaPipe's face mesh: its landmarks, and the way from its vertices to position maps in MEGN's layout.

The mesh has 468 vertices on the face, followed by 10 points of the irises (Kartynnik et al., "Real-time Facial Surface
Geometry from Monocular Video on Mobile GPUs", 2019). A fixed linear map takes the vertices to the texels of MEGN's UV
square, so that all that is computed from a position map, attributes among them, is computed from the mesh as well.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from sdgan_jax.face3d import layout as layouts
from tfds_megn import uv

VERTICES, POINTS = 468, 478
LEFT_EYE, RIGHT_EYE = 33, 263  # outer corners of the eyes, on the left and right of the picture
# Vertices at the 51 inner landmarks of iBUG: brows, nose, eyes, outer and inner lips.
INNER = (
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301, 168, 197, 5, 4, 75, 97, 2, 326, 305, 33, 160, 158, 133, 153, 144,
    362, 385, 387, 263, 373, 380, 61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14,
    87,
)  # fmt: skip
# Vertices along the contour, from the ear on the left of the picture over the chin to the other ear.
CONTOUR = (
    234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454,
)  # fmt: skip
_SMOOTHING = 1e-3  # added to the spline's distances, in half heights of the head; vertices of both lips nearly touch


def position_maps(points: jax.Array, weights: jax.Array) -> jax.Array:
    """Converts the points of meshes to position maps in MEGN's layout.

    Args:
        points: f32[...,478,3] or f32[...,468,3]: x, y and z in pixels, z towards the camera.
        weights: f32[S,S,468] of `texel_weights`.

    Returns:
        f32[...,S,S,3].
    """
    # Positions are large beside their differences, and accelerators would round them.
    return jnp.einsum("ijk,...kc->...ijc", weights, points[..., :VERTICES, :], precision="highest")


def texel_weights(vertices: np.ndarray, size: int) -> np.ndarray:
    """Computes the weights of the vertices at each texel of MEGN's UV square.

    The weights are those of a spline in three dimensions (kernel |r| and an affine part) through the vertices on the
    mean head. Between vertices it is nearly linear. Beyond the edge of the mesh, where MEGN's square has ears, neck and
    the top of the forehead, the mean head goes on as the nearby part of the face is moved and stretched.

    Args:
        vertices: f32[468,3], the canonical mesh of `face_landmarker.task`: x to the right, y up, z towards the camera.
        size: texels along a side.

    Returns:
        f32[size,size,468]; the weights of a texel add up to 1.
    """
    head = layouts.megn(size).head.reshape(-1, 3).astype(np.float64)
    knots = _on_head(place(vertices)).astype(np.float64)

    def features(points: np.ndarray) -> np.ndarray:
        distance = np.linalg.norm(points[:, None] - knots, axis=-1)
        return np.concatenate([distance, np.ones((len(points), 1)), points], 1)  # [N,K+4]

    flat = features(knots)
    bending = flat[:, :VERTICES] - _SMOOTHING * np.eye(VERTICES)  # |r| is negative on what has no affine part
    system = np.block([[bending, flat[:, VERTICES:]], [flat[:, VERTICES:].T, np.zeros((4, 4))]])
    weights = np.linalg.solve(system.T, features(head).T)[:VERTICES]
    return weights.T.reshape(size, size, VERTICES).astype(np.float32)


def place(vertices: np.ndarray) -> np.ndarray:
    """Returns the place f32[468,2], (u, v), of each vertex on MEGN's UV square.

    The canonical mesh is moved onto the mean head by the best similarity of the inner landmarks (Umeyama 1991). A
    thin-plate spline over the directions from the head's centre then takes the inner landmarks and the contour to
    those of the mean head exactly; along the contour, points correspond that divide its length in equal parts.

    Args:
        vertices: as in `texel_weights`.
    """
    landmarks = np.asarray(layouts.megn(256).landmarks)
    ours = np.asarray(vertices, np.float64) * [1.0, -1.0, 1.0]  # y down
    theirs = _on_head(landmarks).astype(np.float64)
    mean, target = ours[list(INNER)].mean(0), theirs[17:].mean(0)
    u, size, vt = np.linalg.svd((theirs[17:] - target).T @ (ours[list(INNER)] - mean))
    scale = size.sum() / np.square(ours[list(INNER)] - mean).sum()
    ours = scale * (ours - mean) @ (u @ vt).T + target
    around = np.arctan2(ours[:, 0], ours[:, 2])
    below = np.arctan2(ours[:, 1], np.hypot(ours[:, 0], ours[:, 2]))
    seen = np.stack([0.5 + 0.5 * around / uv.UV_AZIMUTH, (below - uv.UV_TOP) / (uv.UV_BOTTOM - uv.UV_TOP)], -1)
    shares, along = _shares(ours[list(CONTOUR)]), _shares(_on_head(uv.EDGE))
    contour = np.stack([np.interp(shares, along, uv.EDGE[:, k]) for k in range(2)], -1)
    knots = seen[[*INNER, *CONTOUR]]
    weights = uv.spline(knots.T, seen.T)  # [K,468]
    return np.clip(weights.T @ np.concatenate([landmarks[17:], contour]), 0.0, 1.0).astype(np.float32)


def _shares(line: np.ndarray) -> np.ndarray:
    """Returns the share f64[N] of the length of a line f64[N,3] that lies before each of its points."""
    length = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=-1)))
    return length / length[-1]


def _on_head(at: np.ndarray) -> np.ndarray:
    """Returns the positions f32[N,3] on the mean head of places f32[N,2] on MEGN's UV square."""
    return layouts.read(layouts.megn(256).head, at)
