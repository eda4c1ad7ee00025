"""Geometry of a face from its position map: landmarks, box, normals, pose.

A position map f32[S,S,3] contains, for each texel of a UV square, the position of that point of the face in the image:
x to the right and y down in pixels (the centre of pixel [i, j] is (j, i)), z towards the camera to the same scale.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from sdgan_jax.face3d.layout import Layout


@struct.dataclass
class Pose:
    """Similarity that takes the mean head onto a face: picture = scale * rotation @ head + translation.

    Angles are those of the parameters of `tfds_megn`.

    Attributes:
        rotation: f32[3,3], with determinant 1.
        scale: f32[], pixels per half height of the head.
        translation: f32[3], position of the head's centre in pixels.
        yaw: f32[], radians, positive to the right of the image.
        pitch: f32[], radians, positive down.
        roll: f32[], radians, positive clockwise.
    """

    rotation: jax.Array
    scale: jax.Array
    translation: jax.Array
    yaw: jax.Array
    pitch: jax.Array
    roll: jax.Array


def sample(table: jax.Array, uv: jax.Array) -> jax.Array:
    """Interpolates a UV square bilinearly; the outermost texels repeat.

    Args:
        table: f32[S1,S2,C].
        uv: f32[...,2] in [0, 1]; the centre of texel [i, j] is ((j + 0.5) / S2, (i + 0.5) / S1).

    Returns:
        f32[...,C].
    """
    height, width = table.shape[:2]
    return sample_pixels(table, uv * jnp.array([width, height], jnp.float32) - 0.5)


def sample_pixels(image: jax.Array, xy: jax.Array) -> jax.Array:
    """Interpolates an image bilinearly at pixel coordinates; the outermost pixels repeat. Differentiable in both.

    Args:
        image: f32[H,W,C].
        xy: f32[...,2], (x, y); the centre of pixel [i, j] is (j, i).

    Returns:
        f32[...,C].
    """
    image = jnp.asarray(image)
    height, width, channels = image.shape
    x, y = jnp.clip(xy[..., 0], 0.0, width - 1.0), jnp.clip(xy[..., 1], 0.0, height - 1.0)
    j, i = (jnp.floor(jax.lax.stop_gradient(p)) for p in (x, y))
    a, b = (x - j)[..., None], (y - i)[..., None]
    j, i = j.astype(jnp.int32), i.astype(jnp.int32)
    right, below = jnp.minimum(j + 1, width - 1), jnp.minimum(i + 1, height - 1)
    flat = image.reshape(-1, channels)
    above = flat[i * width + j] * (1 - a) + flat[i * width + right] * a
    under = flat[below * width + j] * (1 - a) + flat[below * width + right] * a
    return above * (1 - b) + under * b


def landmarks(position_map: jax.Array, layout: Layout) -> jax.Array:
    """Returns the 68 landmarks f32[68,3] of a position map f32[S,S,3], interpolated bilinearly."""
    return sample(position_map, jnp.asarray(layout.landmarks))


def face_box(position_map: jax.Array, layout: Layout) -> jax.Array:
    """Returns left, top, right, bottom f32[4] of the landmarks in pixels."""
    points = landmarks(position_map, layout)[:, :2]
    return jnp.concatenate([points.min(0), points.max(0)])


def mirror(position_maps: jax.Array, width: int) -> jax.Array:
    """Converts position maps to those of the mirrored images.

    Args:
        position_maps: f32[...,S,S,3], in a layout that is its own mirror image, as that of `tfds_megn` is.
        width: width of the images in pixels.

    Returns:
        f32[...,S,S,3].
    """
    return position_maps[..., ::-1, :] * jnp.array([-1.0, 1.0, 1.0]) + jnp.array([width - 1.0, 0.0, 0.0])


def normals(position_map: jax.Array) -> jax.Array:
    """Computes the outward unit normals f32[S1,S2,3] of a surface f32[S1,S2,3] by central differences.

    Their z is positive where the camera sees the outside.
    """
    along, down = _slope(position_map, 1), _slope(position_map, 0)
    n = jnp.cross(along, down)
    return n * jax.lax.rsqrt(jnp.sum(n * n, -1, keepdims=True) + 1e-12)


def _slope(table: jax.Array, axis: int) -> jax.Array:
    """Computes central differences along an axis, one-sided at both ends."""
    ahead = jnp.concatenate([_slice(table, 1, None, axis), _slice(table, -1, None, axis)], axis)
    behind = jnp.concatenate([_slice(table, 0, 1, axis), _slice(table, 0, -1, axis)], axis)
    return ahead - behind


def _slice(table: jax.Array, first: int, last: int | None, axis: int) -> jax.Array:
    return table[first:last] if axis == 0 else table[:, first:last]


def pose(position_map: jax.Array, layout: Layout) -> Pose:
    """Fits the similarity that takes the mean head onto a face by least squares (Umeyama 1991).

    The mouth moves independently of the head and has weight 0.

    Args:
        position_map: f32[S,S,3].
        layout: layout of the map.
    """
    weights = jnp.asarray(layout.face * (1.0 - layout.regions[..., 2])).reshape(-1, 1)
    weights = weights / weights.sum()
    head, face = jnp.asarray(layout.head).reshape(-1, 3), jnp.asarray(position_map).reshape(-1, 3)
    head_centre, face_centre = (weights * head).sum(0), (weights * face).sum(0)
    head, face = head - head_centre, face - face_centre
    u, size, vt = jnp.linalg.svd((weights * face).T @ head)
    flip = jnp.array([1.0, 1.0, 0.0]) + jnp.array([0.0, 0.0, 1.0]) * jnp.sign(jnp.linalg.det(u) * jnp.linalg.det(vt))
    m = (u * flip) @ vt
    scale = (size * flip).sum() / (weights * head * head).sum()
    yaw, pitch = jnp.arctan2(-m[2, 0], m[2, 2]), jnp.arcsin(jnp.clip(-m[2, 1], -1.0, 1.0))
    roll = jnp.arctan2(-m[0, 1], m[1, 1])
    return Pose(m, scale, face_centre - scale * m @ head_centre, yaw, pitch, roll)


def times(vectors: jax.Array, matrix: jax.Array) -> jax.Array:
    """Returns the product f32[...,C] of vectors f32[...,3] and a matrix f32[3,C], by sums in float32.

    A matrix product takes several times as long for so short vectors on a CPU, and TPUs round its factors to bfloat16.
    """
    x, y, z = (vectors[..., k, None] * matrix[k] for k in range(3))
    return x + y + z


def to_head(points: jax.Array, pose: Pose) -> jax.Array:
    """Converts points f32[...,3] in the image to the frame of the mean head."""
    return times(points - pose.translation, pose.rotation) / pose.scale


def to_picture(points: jax.Array, pose: Pose) -> jax.Array:
    """Converts points f32[...,3] in the frame of the mean head to the image."""
    return times(points, pose.rotation.T) * pose.scale + pose.translation
