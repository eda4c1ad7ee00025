"""Sketches of position maps over their images, for inspection by eye."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from sdgan_jax import pictures
from sdgan_jax.face3d.layout import Layout

_LINE = (0, 120, 255)
_DOT = (255, 40, 40)
_SIDE = 256  # pixels; smaller images are enlarged to at least this side
_COLUMNS = 6  # sketches in a row of a sheet
_LINES = 16  # lines of the mesh along each axis of the map


def sketch(image: np.ndarray, position_map: np.ndarray, layout: Layout) -> np.ndarray:
    """Draws the mesh of a position map on the face, and the 68 landmarks.

    Args:
        image: u8[H,W,3].
        position_map: f32[S,S,3] in pixels of the image.
        layout: layout of the map.

    Returns:
        u8[k H,k W,3], enlarged by an integer factor k to at least 256 pixels.
    """
    zoom = max(1, -(-_SIDE // min(image.shape[:2])))
    picture = Image.fromarray(pictures.resize(image, image.shape[0] * zoom, image.shape[1] * zoom))
    pencil = ImageDraw.Draw(picture)
    points = pictures.scale_positions(position_map[..., :2], zoom)
    every = max(1, len(points) // _LINES)
    for net, face in ((points, layout.face), (points.transpose(1, 0, 2), layout.face.T)):
        for line, on in zip(net[::every], face[::every], strict=True):
            for first, second in zip(line[:-1][on[:-1] & on[1:]], line[1:][on[:-1] & on[1:]], strict=True):
                pencil.line([tuple(first), tuple(second)], fill=_LINE)
    for x, y in points[layout.landmark_texels]:
        pencil.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=_DOT)
    return np.asarray(picture)


def sheet(images: np.ndarray, position_maps: np.ndarray, layout: Layout) -> np.ndarray:
    """Arranges the sketches of N images on one sheet.

    Args:
        images: u8[N,H,W,3].
        position_maps: f32[N,S,S,3] in pixels of the images.
        layout: layout of the maps.

    Returns:
        u8[H',W',3].
    """
    sketches = [sketch(image, p, layout) for image, p in zip(images, position_maps, strict=True)]
    return pictures.grid(np.stack(sketches), _COLUMNS)
