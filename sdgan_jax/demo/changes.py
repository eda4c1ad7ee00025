"""Faces of opened photos, edited with a model or dressed in 3D."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sdgan_jax import pictures
from sdgan_jax.blending import Drawn
from sdgan_jax.demo.opened_photo import OpenedPhoto
from sdgan_jax.demo.worker import Deadline
from sdgan_jax.face3d.attire import styles, wear
from sdgan_jax.face3d.attire.styles import Style
from sdgan_jax.face3d.layout import Layout
from sdgan_jax.photos import dressing, editing
from sdgan_jax.photos.dressing import Draw
from sdgan_jax.photos.editing import Edit
from sdgan_jax.photos.looks import TEXTURE_PIXELS

_CSS_COLOUR = re.compile(r"rgba?\(([\d.]+), *([\d.]+), *([\d.]+)(?:, *[\d.]+)?\)")
# A program is compiled for a style with a texture and for one without. A clear texture shows nothing, so that one
# program does for both.
_CLEAR = np.zeros((TEXTURE_PIXELS, TEXTURE_PIXELS, 4), np.uint8)


class Look(NamedTuple):
    """The look of one attribute as a visitor chooses it.

    Attributes:
        kind: its form, one of `styles.KINDS`.
        colour: "#rrggbb" or "rgb(…)"; empty for the usual one.
        texture: u8[h,w,4], or None.
    """

    kind: str
    colour: str | None = None
    texture: np.ndarray | None = None


def edit(
    model: Any, photo: OpenedPhoto, faces: Sequence[int], wanted: Edit, layout: Layout, end: Deadline
) -> np.ndarray:
    """Edits faces of a photo in their places, as `experiments.edit`, one after another so that little is compiled.

    Args:
        model: see `editing.edit_photos`.
        photo: the photo; its `latents` are used, and those found are added.
        faces: indices of the faces, in ascending order.
        wanted: the edit, without pivotal tuning.
        layout: layout of the position maps.
        end: the time by which it must be done.

    Returns:
        u8[H,W,3].

    Raises:
        TimeoutError: the time is over.
        ValueError: the model cannot make this edit.
    """
    editing.check(model, wanted)
    chosen = [photo.faces[k] for k in faces]
    crops, squares = editing.cut_faces(
        photo.picture.pixels, chosen, layout, model.config.face_crop, model.config.resolution
    )
    drawn = []
    for k, square in zip(faces, squares, strict=True):
        end.check()
        face = pictures.to_float(square[None])
        known: tuple[int | str, ...] = (k, *wanted.remove)  # what is taken off is known to be worn
        if known not in photo.latents:
            photo.latents[known] = editing.find_latents(model, face, wanted)
        drawn.append(editing.draw_latents(model, photo.latents[known], face, wanted))
    joined = Drawn(*(np.concatenate(images) for images in zip(*drawn, strict=True)))
    return editing.paste_faces(photo.picture.pixels, photo.faces, faces, crops, squares, joined, layout)


def dress(
    photo: OpenedPhoto,
    faces: Sequence[int],
    looks: Mapping[str, Look],
    layout: Layout,
    end: Deadline,
    draw: Draw = wear.wear_photo,
) -> np.ndarray:
    """Draws attributes on faces of a photo in 3D, as `experiments.wear`.

    Args:
        photo: the photo.
        faces: indices of the faces.
        looks: the look of each attribute.
        layout: layout of the position maps.
        end: the time by which it must be done.
        draw: draws on one face, see `wear.wear_photo`.

    Returns:
        u8[H,W,3].

    Raises:
        TimeoutError: the time is over.
        ValueError: an attribute, a form or a colour is unknown.
    """
    chosen = {name: make_style(name, look) for name, look in looks.items()}

    def draw_in_time(*arguments: Any) -> np.ndarray:
        end.check()
        return draw(*arguments)

    worn = [chosen if k in faces else {} for k in range(len(photo.faces))]
    return dressing.dress(photo.picture.pixels, photo.faces, worn, layout, draw_in_time)


def make_style(attribute: str, look: Look) -> Style:
    """Returns the style of a look; the texture has one size, so that little is compiled.

    Raises:
        ValueError: the attribute, the form or the colour is unknown.
    """
    style = styles.default_style(attribute, look.kind)
    if look.colour:
        style = dataclasses.replace(style, colour=styles.parse_colour(_hexadecimal(look.colour)))
    texture = _CLEAR if look.texture is None else pictures.resize(look.texture, *_CLEAR.shape[:2])
    return dataclasses.replace(style, texture=texture)


def _hexadecimal(colour: str) -> str:
    """Returns a colour of a colour picker, "#rrggbb" or "rgba(r, g, b, a)", as #rrggbb."""
    found = _CSS_COLOUR.fullmatch(colour.strip())
    return "#" + "".join(f"{min(255, round(float(v))):02x}" for v in found.groups()) if found else colour
