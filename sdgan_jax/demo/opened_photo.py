"""Photos of visitors, opened: read, and searched for faces."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from sdgan_jax.demo.limits import Limits
from sdgan_jax.face3d.finding import Found
from sdgan_jax.photos import wearing
from sdgan_jax.photos.finders import Finder
from tfds_megn import photos as photo_reader
from tfds_megn.photos import PhotoError, Picture


@dataclasses.dataclass(frozen=True)
class OpenedPhoto:
    """A photo and the faces in it.

    Attributes:
        name: name of its file.
        picture: its pixels and metadata.
        faces: the faces that are offered, the largest first.
        notes: lines on what the visitor may not expect.
        complete: a search for small faces would offer no more.
        latents: latents of faces by their index and what is taken off, kept from one edit to the next.
    """

    name: str
    picture: Picture
    faces: Sequence[Found] = ()
    notes: Sequence[str] = ()
    complete: bool = False
    latents: dict[tuple[int | str, ...], Any] = dataclasses.field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes that it takes in memory."""
        return measure(self.picture) + sum(face.position_map.nbytes for face in self.faces)

    def choose(self, numbers: Sequence[Any]) -> list[int]:
        """Returns the indices of faces from their numbers, which start at 1.

        Raises:
            ValueError: there is no face, none is chosen, or there is none of such a number.
        """
        if not self.faces:
            raise ValueError(f"{self.name}: {wearing.NO_FACE}")
        if not numbers:
            raise ValueError("no face is chosen; choose one or more by their numbers")
        known = {str(1 + k): k for k in range(len(self.faces))}
        for number in numbers:
            if str(number) not in known:
                raise ValueError(f"there is no face {number}; the faces are 1 to {len(known)}")
        return sorted({known[str(number)] for number in numbers})


def measure(picture: Picture) -> int:
    """Returns the bytes that a picture takes in memory."""
    return picture.pixels.nbytes + len(picture.icc_profile or b"") + len(picture.exif or b"")


def read(data: bytes, name: str, limits: Limits) -> OpenedPhoto:
    """Reads a photo; no face is looked for yet.

    Args:
        data: the bytes of its file.
        name: name of the file.
        limits: `megabytes` and `megapixels` of it.

    Raises:
        PhotoError: it cannot be used; the message is one line.
    """
    if len(data) > limits.megabytes * 2**20:
        raise PhotoError(f"{name}: enormous file (more than {limits.megabytes} MiB)")
    picture = photo_reader.read_picture(data, name, limits.megapixels * 10**6)
    notes = [f"{name}: the first picture of an animation is used"] if picture.animated else []
    return OpenedPhoto(name, picture, notes=notes)


def find_faces(photo: OpenedPhoto, finder: Finder, limits: Limits, small: bool = False) -> OpenedPhoto:
    """Finds the faces of a photo.

    Args:
        photo: the photo.
        finder: finds them.
        limits: `faces` of it.
        small: looks for small faces too; else only where there is no large one.

    Returns:
        The photo with its faces, and with a note where there is none, or where there are more than can be offered.
    """
    found = finder.find(photo.picture.pixels, enough=None if small else 1)
    notes = list(photo.notes)
    if not found:
        notes.append(f"{photo.name}: {wearing.NO_FACE}")
    elif len(found) > limits.faces:
        notes.append(f"{photo.name}: {len(found)} faces found; the {limits.faces} largest can be changed")
    faces = found[: limits.faces]
    complete = small or not found or len(found) >= limits.faces  # smaller ones would not be offered
    return dataclasses.replace(photo, faces=faces, notes=notes, complete=complete, latents={})


def from_pixels(pixels: np.ndarray, name: str) -> OpenedPhoto:
    """Opens a picture u8[H,W,3] of the page's own."""
    return OpenedPhoto(name, Picture(pixels, None, None, None))
