"""3D embeddings of faces for the fusion network: UV maps, and the share of each image cell that each region covers."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from sdgan_jax.face3d import geometry, texture
from sdgan_jax.face3d.layout import Layout
from sdgan_jax.nets.fusion import Face3D


def embed(images: jax.Array, position_maps: jax.Array, layout: Layout, side: int) -> Face3D:
    """Computes the 3D embeddings of faces.

    Args:
        images: f32[N,R,R,3] in [-1,1].
        position_maps: f32[N,S,S,3] in pixels of the images.
        layout: layout of the maps.
        side: side of the fusion network's feature map (`nets.fusion.feature_side`).

    Returns:
        maps f32[N,S,S,9] of the position in the box of the landmarks (x and y from -1 to 1, z to the same scale from
        the face's mean), the unit normal, and the colour in the image; the regions on the UV square f32[S,S,K], and in
        the image f32[N,side,side,K].
    """
    describe = jax.vmap(functools.partial(_describe, layout=layout))
    cover = jax.vmap(functools.partial(region_cover, layout=layout, side=side, size=images.shape[1]))
    return Face3D(describe(images, position_maps), jnp.asarray(layout.regions), cover(position_maps))


def _describe(image: jax.Array, position_map: jax.Array, layout: Layout) -> jax.Array:
    """Returns position, normal and colour of each texel, f32[S,S,9]."""
    box = geometry.face_box(position_map, layout)
    middle, half = (box[:2] + box[2:]) / 2, jnp.maximum((box[2:] - box[:2]) / 2, 1e-3)
    depth = jnp.sum(position_map[..., 2] * layout.face) / layout.face.sum()
    place = (position_map - jnp.append(middle, depth)) / jnp.append(half, half.mean())
    return jnp.concatenate((place, geometry.normals(position_map), texture.unwrap(image, position_map)), -1)


def region_cover(position_map: jax.Array, layout: Layout, side: int, size: int) -> jax.Array:
    """Computes the share of each cell of a grid over the image that each region covers.

    The area of each texel that faces the camera is added to the cell that the texel lies in. Texels hidden by other
    parts of the face count too; where the shares of a cell add up to more than 1, they are divided by their sum.

    Args:
        position_map: f32[S,S,3] in pixels of the image.
        layout: layout of the map.
        side: number of cells along each axis.
        size: side of the image in pixels.

    Returns:
        f32[side,side,K] in [0,1].
    """
    (x_along, x_down), (y_along, y_down) = (
        [jnp.asarray(jnp.gradient(position_map[..., k], axis=axis)) for axis in (1, 0)] for k in (0, 1)
    )
    area = jnp.maximum(x_along * y_down - y_along * x_down, 0.0)  # pixels, [S,S]
    cell = jnp.floor((position_map[..., :2] + 0.5) * (side / size)).astype(jnp.int32)
    inside = ((cell >= 0) & (cell < side)).all(-1)
    at = jnp.where(inside, cell[..., 1] * side + cell[..., 0], side * side)  # the last: outside
    shares = layout.regions * (area * (side / size) ** 2)[..., None]  # [S,S,K]
    total = jax.ops.segment_sum(shares.reshape(-1, shares.shape[-1]), at.reshape(-1), side * side + 1)[:-1]
    return (total / jnp.maximum(total.sum(-1, keepdims=True), 1.0)).reshape(side, side, -1)
