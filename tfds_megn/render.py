"""Rendering of a face: the same face with any attribute.

Picture coordinates: x to the right, y down, in pixels; the centre of pixel [row i, column j] is (x, y) = (j,
i).
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from tfds_megn import backdrop, props, scene, skin, wear
from tfds_megn.head import Head, build
from tfds_megn.params import as_face, attribute_name
from tfds_megn.scene import Frame
from tfds_megn.surface import bell, face_coordinates, smooth, trace

SAMPLES = 2  # rays per pixel along each axis


def render(params: np.ndarray, attribute: str | int | Sequence[str | int] = "none", size: int = 256) -> np.ndarray:
    """Draws one face or several.

    The same params with another attribute give the same picture outside that attribute and its shadow, bit
    for bit.

    Args:
      params: f32[P] or f32[N,P], from `sample_params`.
      attribute: a name or id of `ATTRIBUTES`; for several faces one for all, or a sequence of N.
      size: side of the picture in pixels, 8 to 1024.

    Returns:
      uint8[size,size,3] or uint8[N,size,size,3], sRGB.

    Raises:
      ValueError: unknown attribute, wrong shape of params, or size out of range.
    """
    params = np.asarray(params, dtype=np.float32)
    if params.ndim == 2:
        single = isinstance(attribute, (str, int, np.integer))
        given: list[Any] = [attribute] * len(params) if single else list(cast(Sequence[Any], attribute))
        if len(given) != len(params):
            raise ValueError(f"{len(params)} faces but {len(given)} attributes; give one, or one for each face.")
        names = [attribute_name(name) for name in given]
        pictures = [render(p, name, size) for p, name in zip(params, names, strict=True)]
        return np.stack(pictures) if pictures else np.zeros((0, size, size, 3), np.uint8)
    frame, _ = _finish_frame(params, cast(Any, attribute), size)
    return _picture(frame.colour, size)


def attribute_region(params: np.ndarray, attribute: str | int, size: int = 256) -> np.ndarray:
    """Marks the pixels that an attribute and its shadow may change, bool[size,size]; for its arguments see `render`."""
    _, touched = _finish_frame(np.asarray(params, dtype=np.float32), attribute, size)
    return np.any(touched.reshape(size, SAMPLES, size, SAMPLES), axis=(1, 3))


def check_size(size: int) -> None:
    """Raises ValueError for a side in pixels that is out of range."""
    if not 8 <= size <= 1024:
        raise ValueError(f"size must be 8 to 1024 pixels, got {size}.")


def table_side(size: int) -> int:
    """Directions per side of the tables that are fine enough for a picture of `size` pixels."""
    return 96 if size <= 64 else 144 if size <= 128 else 256


def _picture(colour: np.ndarray, size: int) -> np.ndarray:
    """Averages the rays f32[3,N] of each pixel, and converts linear colours to sRGB, as `skin.linear` undoes."""
    c = colour.reshape(3, size, SAMPLES, size, SAMPLES)
    c = c[:, :, 0] + c[:, :, 1]
    mean = (c[..., 0] + c[..., 1]) * np.float32(0.25)
    square = 0.30 * mean * mean
    mean = mean * (1.0 + 0.18 * mean) / (1.0 + square)  # a soft shoulder for highlights
    level = np.sqrt(mean.clip(0.0, 1.0)) * np.float32(255.0) + np.float32(0.5)
    return np.ascontiguousarray(level.astype(np.uint8).transpose(1, 2, 0))


def _finish_frame(params: np.ndarray, attribute: str | int, size: int) -> tuple[Frame, np.ndarray]:
    """Draws everything; returns the frame, and bool[N], the rays that the attribute changed."""
    name = attribute_name(attribute)
    face = as_face(params)
    check_size(size)
    head = build(face, table_side(size))
    frame = Frame(face, head, size, SAMPLES)
    scene.background(frame)
    backdrop.draw(frame)
    scene.body(frame)
    scene.long_hair(frame, behind=True)
    rows, z = _draw_head(frame, head)
    scene.ears(frame)
    scene.long_hair(frame, behind=False)
    props.draw_hat(frame)
    frame.head_rows = rows[frame.z[rows] == z]
    touched = wear.put_on(frame, head, name)
    props.draw_hand(frame)
    return frame, touched


def _draw_head(frame: Frame, head: Head) -> tuple[np.ndarray, np.ndarray]:
    """Draws the head with its hair cap; returns the rays int[n] that meet it, and their depth f32[n]."""
    face: SimpleNamespace = frame.face
    rows, z = trace(head.full, frame.turn, frame.xs, frame.ys)
    near = np.flatnonzero(z > frame.z[rows])
    rows, z = rows[near], z[near]
    (px, py, pz), (nx, ny, nz, cavity, depth, reach) = scene.sample_maps(frame, head.maps, rows, z)
    s, t, q = face_coordinates(px, py, pz)
    albedo, gloss = skin.paint(face, s, t, q, frame.soft)
    cavity = np.minimum(cavity, 1.0)
    edge = (0.02 if face.hair_fringe > 0.3 else 0.05) + 0.5 * frame.soft
    blur = 0.02 + 0.6 * edge
    hair = np.flatnonzero(depth > -edge - 1.5 * blur)  # the strands' noise is less than 1.5
    if len(hair):
        hair_albedo, fine = scene.hair_colour(frame, px[hair], py[hair], pz[hair])
        depth = depth[hair]
        alpha = smooth(-edge, edge, depth + blur * fine)
        if 0 < face.hair_volume < 0.035:
            alpha *= 0.8
        root = 1.0 - 0.35 * bell(np.square(depth * (1 / 0.05))) * (depth > -0.05)
        under = albedo.take(hair, 1)
        skin.blend(under, hair_albedo, alpha)
        skin.scatter(albedo, hair, under)
        nx[hair] += 0.35 * fine * alpha
        gloss[hair] += (0.16 - gloss[hair]) * alpha
        cavity[hair] *= 1 - alpha + alpha * root
    normal = scene.unit(*frame.to_camera(nx, ny, nz))
    frame.put(rows, z, frame.shade(albedo, normal, cavity, gloss, sharp=4, bleed=0.16, reach=reach))
    return rows, z
