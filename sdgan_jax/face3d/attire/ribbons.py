"""Straps and temples: round bars along paths from the face to the ears, drawn as ribbons that face the camera."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sdgan_jax.face3d import geometry
from sdgan_jax.face3d.attire.wearer import Layer, Paint, Wearer
from tfds_megn.surface import smooth

_POINTS = 24


def bars(wearer: Wearer, begin: jax.Array, end: jax.Array, width: float | jax.Array, albedo: jax.Array) -> Layer:
    """Makes bars that go straight, and around the skin where it is in their way.

    Args:
        wearer: the face.
        begin: f32[N,3], and
        end: f32[N,3], points in the head's frame.
        width: width of the bars, in the head's frame.
        albedo: f32[3], linear colour.
    """
    along = jnp.linspace(0.0, 1.0, _POINTS)[:, None]
    path = begin[:, None] * (1 - along) + end[:, None] * along  # [N,K,3]
    path = _outside(wearer, path, 0.5 * width)
    points = geometry.to_picture(path, wearer.pose)
    ahead = jnp.concatenate([points[:, 1:], points[:, -1:]], 1) - jnp.concatenate([points[:, :1], points[:, :-1]], 1)
    aside = jnp.stack([-ahead[..., 1], ahead[..., 0], jnp.zeros_like(ahead[..., 0])], -1)
    aside = aside / jnp.sqrt((aside * aside).sum(-1, keepdims=True) + 1e-6)
    half = (0.5 * width + wearer.soft) * wearer.pose.scale
    rows = [points - half * aside, points + half * aside, jnp.full_like(points, jnp.nan)]  # no cells across the gap
    surface = jnp.stack(rows, 1).reshape(-1, _POINTS, 3)  # [3N,K,3]
    # No map shows the ear: a bar fades out where the head's side turns away.
    out = (path / jnp.sqrt((path * path).sum(-1, keepdims=True))) @ wearer.pose.rotation.T
    fade = smooth(-0.40, -0.15, out[..., 2]) * smooth(1.0, 0.9, along[:, 0])
    side = jnp.broadcast_to(jnp.array([-1.0, 1.0, 0.0])[:, None], (3, _POINTS))
    normal = jnp.broadcast_to(aside[:, None] @ wearer.pose.rotation, (len(begin), 3, _POINTS, 3))
    fields = jnp.stack([jnp.tile(side, (len(begin), 1)), jnp.repeat(fade, 3, 0)], -1)
    fields = jnp.concatenate([fields, normal.reshape(-1, _POINTS, 3)], -1)

    def paint(field: jax.Array) -> Paint:
        off = jnp.abs(field[..., 0]) * (0.5 * width + wearer.soft)
        opacity = smooth(0.5 * width + 0.5 * wearer.soft, 0.5 * width - 0.5 * wearer.soft, off) * field[..., 1]
        tilt = field[..., 2:] * field[..., :1] * 0.9
        return Paint(jnp.broadcast_to(albedo, (*opacity.shape, 3)), opacity, tilt, 0.05)

    return Layer(surface, fields, paint, 0.05)


def _outside(wearer: Wearer, path: jax.Array, gap: float | jax.Array) -> jax.Array:
    """Moves points sideways out of the skin at their height and depth."""
    skin = wearer.head[::4, ::4].reshape(-1, 3)
    side = jnp.sign(path[..., :1])
    near = (jnp.abs(path[..., None, 1] - skin[:, 1]) < 0.04) & (jnp.abs(path[..., None, 2] - skin[:, 2]) < 0.06)
    reach = jnp.where(near, side * skin[:, 0], -1.0).max(-1) + gap
    need = jnp.maximum(reach - jnp.abs(path[..., 0]), 0.0)
    apart = jnp.abs(jnp.arange(_POINTS)[:, None] - jnp.arange(_POINTS)) / (_POINTS / 2)
    push = (need[:, None] * jnp.clip(1.0 - apart * apart, 0.0, 1.0)).max(-1)  # neighbours move too: bars have no kinks
    return jnp.stack([path[..., 0] + side[..., 0] * push, path[..., 1], path[..., 2]], -1)
