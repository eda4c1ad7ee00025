"""Draws attributes on several faces of one photo: what is near covers what is behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from sdgan_jax.face3d.attire.styles import Style
from sdgan_jax.face3d.finding import Found
from sdgan_jax.face3d.layout import Layout

Draw = Callable[[np.ndarray, np.ndarray, Mapping[str, Style], Layout], np.ndarray]
_CELLS = 32  # quadrilaterals along a side of a position map that a silhouette is drawn of
_SAMPLES = 4  # along each axis of a pixel of a silhouette


def dress(
    image: np.ndarray, faces: Sequence[Found], styles: Sequence[Mapping[str, Style]], layout: Layout, draw: Draw
) -> np.ndarray:
    """Draws attributes on faces, the far ones first; the faces in front of a face hide what it wears.

    Args:
        image: u8[H,W,3].
        faces: the faces, the nearest first.
        styles: for each face the style of each attribute; none for a face that is only in front of others.
        layout: layout of the position maps.
        draw: draws on one face, see `wear.wear_photo`.

    Returns:
        u8[H,W,3]; the image itself where no face wears anything.
    """
    for k in reversed([k for k, worn in enumerate(styles) if worn]):
        drawn = draw(image, faces[k].position_map, styles[k], layout)
        for near in faces[:k]:
            put_in_front(drawn, image, near, layout)
        image = drawn
    return image


def put_in_front(drawn: np.ndarray, before: np.ndarray, face: Found, layout: Layout) -> None:
    """Gives back to a picture, in place, the pixels of a face that it had before something was drawn behind the face.

    Args:
        drawn: u8[H,W,3], the picture.
        before: u8[H,W,3], the same one before.
        face: the face.
        layout: layout of its position map.
    """
    height, width = before.shape[:2]
    places = face.position_map[layout.face][:, :2]
    left, top = (int(v) for v in np.clip(np.floor(places.min(0)) - 1, 0, [width, height]))
    right, bottom = (int(v) for v in np.clip(np.ceil(places.max(0)) + 2, 0, [width, height]))
    changed = (drawn[top:bottom, left:right] != before[top:bottom, left:right]).any(-1)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    if not len(rows):
        return
    # Only what was drawn on: a silhouette of a large face takes sixteen bytes for each of its pixels.
    top, bottom, left, right = top + rows[0], top + rows[-1] + 1, left + columns[0], left + columns[-1] + 1
    here = np.s_[top:bottom, left:right]
    share = silhouette(face.position_map - np.array([left, top, 0]), layout, bottom - top, right - left)[..., None]
    drawn[here] = np.round(share * before[here] + (1 - share) * drawn[here])


def silhouette(position_map: np.ndarray, layout: Layout, height: int, width: int) -> np.ndarray:
    """Returns the share f32[height,width] of each pixel that a face covers.

    Args:
        position_map: f32[S,S,3], in pixels of the picture.
        layout: its layout; the texels of its face are drawn.
        height: height of the picture.
        width: width of the picture.
    """
    lines = np.unique(np.linspace(0, len(position_map) - 1, _CELLS + 1).astype(int))
    places = _SAMPLES * (position_map[np.ix_(lines, lines)][..., :2] + 0.5)
    there = np.asarray(layout.face)[np.ix_(lines, lines)]
    canvas = Image.new("L", (_SAMPLES * width, _SAMPLES * height))
    pen = ImageDraw.Draw(canvas)
    for i, j in np.argwhere(there[:-1, :-1] & there[1:, :-1] & there[:-1, 1:] & there[1:, 1:]):
        corners = places[[i, i, i + 1, i + 1], [j, j + 1, j + 1, j]]
        pen.polygon([(float(x), float(y)) for x, y in corners], fill=255)
    return np.asarray(canvas.reduce(_SAMPLES), np.float32) / 255
