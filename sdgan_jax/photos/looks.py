"""Attributes and styles to draw on the faces of photos, as a user gives them."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from sdgan_jax import outputs, pictures
from sdgan_jax.face3d.attire import styles
from tfds_megn import photos
from tfds_megn.listing import printable

TEXTURE_PIXELS = 512  # finer details are not visible on a face
MOST_PER_IMAGE = 1000  # the names of all images are in memory


class Texture(NamedTuple):
    """A picture that is laid onto an attribute.

    Attributes:
        path: the file it was read from.
        pixels: u8[h,w,4], RGBA.
    """

    path: str
    pixels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Looks:
    """Attributes to draw, and their styles.

    Attributes:
        attributes: keys of `styles.KINDS`.
        kinds: at most one style of each attribute; the other attributes get their usual or a random one.
        colours: #rrggbb, none, one, or one for each attribute.
        textures: none, one, or one for each attribute.
        seed: random seed of the styles that are drawn for each image; None for the usual styles.
        per_image: images of each photo, each with its own random styles.
    """

    attributes: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    textures: tuple[Texture, ...] = ()
    seed: int | None = None
    per_image: int = 1

    @property
    def label(self) -> str:
        """The names of the attributes in one text."""
        return "+".join(self.attributes)

    def choose_styles(self, photo: str, number: int = 0, face: int = 0) -> dict[str, styles.Style]:
        """Chooses the style of each attribute on a face in an image.

        Args:
            photo: name of the photo; together with the seed it decides the random styles.
            number: index of the image among those of the photo.
            face: index of the face among those of the photo; each gets random styles of its own.

        Raises:
            ValueError: an attribute, a kind or a colour is unknown.
        """
        chosen = {}
        for k, name in enumerate(self.attributes):
            kind = next((kind for kind in self.kinds if kind in styles.KINDS[name]), None)
            if self.seed is None:
                style = styles.default_style(name, kind)
            else:
                key = f"{self.seed}/{number}/{photo}" + (f"/{face}" if face else "")
                digest = hashlib.sha256(os.fsencode(key)).digest()
                style = styles.random_style(name, int.from_bytes(digest[:8]), kind)
            if self.colours:
                style = dataclasses.replace(style, colour=styles.parse_colour(self.colours[k % len(self.colours)]))
            if self.textures:
                style = dataclasses.replace(style, texture=self.textures[k % len(self.textures)].pixels)
            chosen[name] = style
        return chosen

    def settings(self) -> dict[str, Any]:
        """Returns all that decides the styles as plain values."""
        textures = [hashlib.sha256(texture.pixels.tobytes()).hexdigest() for texture in self.textures]
        return dataclasses.asdict(dataclasses.replace(self, textures=())) | {"textures": textures}


def read(
    attributes: Sequence[str],
    kinds: Sequence[str] = (),
    colours: Sequence[str] = (),
    textures: Sequence[str] = (),
    seed: int | None = None,
    per_image: int = 1,
) -> Looks:
    """Checks the choices of a user, and reads the textures.

    Args:
        attributes: names, see `Looks`; so are `kinds`, `colours`, `seed` and `per_image`.
        kinds: styles.
        colours: #rrggbb.
        textures: paths of image files with transparency.
        seed: random seed, or None.
        per_image: images of each photo.

    Raises:
        FileNotFoundError: a texture is missing.
        ValueError: the choices do not fit together, or a texture is no image; the message names the flag.
    """
    for name in attributes:
        if name not in styles.KINDS:
            raise ValueError(f"--attribute={name}: what can be worn is {', '.join(styles.KINDS)}")
    if len(set(attributes)) < len(attributes) or {"eyeglasses", "sunglasses"} <= set(attributes):
        raise ValueError(f"--attribute={','.join(attributes)}: each can be worn once, and one pair of glasses")
    for flag, values in (("colour", colours), ("texture", textures)):
        if len(values) not in (0, 1, len(attributes)):
            raise ValueError(f"--{flag} has {len(values)} values for {len(attributes)} attributes")
    for kind in kinds:
        if not any(kind in styles.KINDS[name] for name in attributes):
            choices = "; ".join(f"{name}: {', '.join(styles.KINDS[name])}" for name in attributes)
            raise ValueError(f"--style={kind}: no such style; {choices}")
    for name in attributes:
        if len(chosen := [kind for kind in kinds if kind in styles.KINDS[name]]) > 1:
            raise ValueError(f"--style={','.join(chosen)}: {name} takes one style")
    if per_image > 1 and seed is None:
        raise ValueError("--per_image above 1 needs --random_styles, or all images would be the same")
    if per_image > MOST_PER_IMAGE:
        raise ValueError(f"--per_image={per_image}: at most {MOST_PER_IMAGE} images are made of each photo")
    read_textures = tuple(_read_texture(os.path.expanduser(path)) for path in textures)
    looks = Looks(tuple(attributes), tuple(kinds), tuple(colours), read_textures, seed, per_image)
    looks.choose_styles("")  # refuses colours that cannot be read
    return looks


def _read_texture(path: str) -> Texture:
    """Reads an image with its transparency."""
    name = f"--texture={printable(path)}"
    outputs.check_file(path, name, "an image file")
    return Texture(path, decode_texture(epath.Path(path).read_bytes(), name))


def decode_texture(data: bytes, name: str, max_pixels: int = photos.MAX_PIXELS) -> np.ndarray:
    """Decodes the bytes of an image with its transparency, upright as photos are, for `styles.Style`.

    Args:
        data: the bytes of the file.
        name: name of the texture in errors.
        max_pixels: number of pixels of the largest image that is decoded.

    Returns:
        u8[h,w,4], RGBA, of at most 512 pixels a side.

    Raises:
        ValueError: it is not an image that can be read, or is too large.
    """
    return pictures.fit(photos.read_rgba(data, name, max_pixels), TEXTURE_PIXELS)
