"""Dresses photos: finds the face of each, draws what is worn, and writes it beside a manifest and a sheet."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from etils import epath

from sdgan_jax import outputs, pictures
from sdgan_jax.data.photo_files import PhotoFile
from sdgan_jax.face3d import finding, geometry
from sdgan_jax.face3d.attire import styles, wear
from sdgan_jax.face3d.layout import Layout
from sdgan_jax.photos import photo_results
from sdgan_jax.photos.photo_results import PhotoResults
from tfds_megn import photos as photo_reader
from tfds_megn.photos import Picture

BY = f"{outputs.MADE_BY} wear"
COLUMNS = ("file", "out", "attribute", "style", "colour", "texture", "score", "left", "top", "right", "bottom",
           "yaw", "pitch", "roll", "note")  # fmt: skip
NO_FACE = "no face found"
FORMATS = ("png", "same")
_JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
_CELL = 256


class Finder(NamedTuple):
    """What finds faces.

    Attributes:
        predict: position maps of frames, see `finding.find`.
        layout: of the maps.
        framing: of the faces in its training.
        name: differs for finders that find differently.
    """

    predict: finding.Predict
    layout: Layout
    framing: finding.Framing
    name: str


@dataclasses.dataclass(frozen=True)
class Looks:
    """What is worn, and how.

    Attributes:
        attributes: keys of `styles.KINDS`.
        kinds: forms, at most one of each attribute; the others by default, or drawn.
        colours: #rrggbb, none, one, or one for each attribute.
        textures: u8[h,w,4] by their names, none, one, or one for each attribute.
        seed: of looks that are drawn at random for each image; None for the usual ones.
    """

    attributes: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    textures: tuple[tuple[str, np.ndarray], ...] = ()
    seed: int | None = None

    def of(self, photo: str, number: int = 0) -> dict[str, styles.Style]:
        """The style of each attribute in an image.

        Args:
            photo: name of the photo, which together with the seed decides what is drawn.
            number: of the image, where there are several of the photo.

        Raises:
            ValueError: an attribute, a kind or a colour is unknown.
        """
        looks = {}
        for k, name in enumerate(self.attributes):
            kind = next((kind for kind in self.kinds if kind in styles.KINDS[name]), None)
            if self.seed is None:
                style = styles.default_style(name, kind)
            else:
                drawn = hashlib.sha256(os.fsencode(f"{self.seed}/{number}/{photo}")).digest()
                style = styles.random_style(name, int.from_bytes(drawn[:8]), kind)
            if self.colours:
                style = dataclasses.replace(style, colour=styles.parse_colour(self.colours[k % len(self.colours)]))
            if self.textures:
                style = dataclasses.replace(style, texture=self.textures[k % len(self.textures)][1])
            looks[name] = style
        return looks

    def settings(self) -> dict[str, Any]:
        """All of it as plain values."""
        textures = [hashlib.sha256(array.tobytes()).hexdigest() for _, array in self.textures]
        return {"attributes": self.attributes, "kinds": self.kinds, "colours": self.colours, "textures": textures,
                "seed": self.seed}  # fmt: skip


def wear_photos(
    photos: Sequence[PhotoFile],
    out: epath.Path,
    looks: Looks,
    finder: Finder,
    per_image: int = 1,
    form: str = "png",
    inputs: Sequence[epath.PathLike] = (),
) -> str:
    """Dresses photos, or goes on where an earlier call with the same settings stopped.

    Args:
        photos: see `photo_files.find`.
        out: folder of the results.
        looks: what is worn.
        finder: of the faces.
        per_image: images of each photo, each with its own random looks.
        form: "png", or "same" for a JPEG, compressed as the photo was, of each photo with the suffix of a JPEG.
        inputs: other files that are read, such as textures; they are never replaced.

    Returns:
        A line that says what there is now.

    Raises:
        OSError: the disk is full or cannot be written. What was done stays.
        ValueError: something is in the way of the results, see `PhotoResults`, or no photo could be dressed.
    """
    worn = "+".join(looks.attributes)
    settings = looks.settings() | {"finder": finder.name, "per_image": per_image, "form": form}
    labels = ["photo"] + [worn] * min(per_image, 3)
    results = PhotoResults(
        out, photos, BY, COLUMNS, settings, labels, _suffix if form == "same" else _png, per_image, {NO_FACE}, inputs
    )
    results.show(lambda photo, made: _cell([photo_reader.read_photo(path) for path in (photo.path, *made[:3])]))
    with results:
        for photo in results.work():
            _wear(photo, results, looks, finder)
    return results.summary()


def _wear(photo: PhotoFile, results: PhotoResults, looks: Looks, finder: Finder) -> None:
    """Dresses one photo."""
    row: dict[str, Any] = {"attribute": "+".join(looks.attributes)}
    try:
        picture = photo_reader.read_picture(photo.path)
    except ValueError as error:
        return results.skip(photo, row, str(error))
    found = finding.find(picture.pixels, finder.predict, finder.layout, finder.framing)
    if found is None:
        return results.skip(photo, row, NO_FACE)
    row |= _where(found, finder.layout)
    rows, made = [], []
    for number, name in enumerate(results.names[photo.name]):
        chosen = looks.of(photo.name, number)
        image = wear.wear_photo(picture.pixels, found.position_map, chosen, finder.layout)
        try:
            _write(results.path(name), image, picture)
        except OSError as error:
            return results.skip(photo, row, photo_results.failure(error))
        rows.append(row | {"out": name} | _described(chosen, looks))
        made.append(image)
    results.add(photo, rows, _cell([picture.pixels, *made[:3]]))


def _write(path: epath.Path, image: np.ndarray, picture: Picture) -> None:
    """Writes a result with the profile and the EXIF block of its photo, in the format of its suffix."""
    if path.suffix.lower() in _JPEG_SUFFIXES:
        pictures.write_jpeg(path, image, BY, picture.jpeg, picture.icc_profile, picture.exif)
    else:
        pictures.write_png(path, image, BY, picture.icc_profile, picture.exif)


def _suffix(name: str) -> str:
    """Of the results of a photo, in its own format where that is JPEG."""
    ending = os.path.splitext(name)[1]
    return ending if ending.lower() in _JPEG_SUFFIXES else ".png"


def _png(name: str) -> str:
    del name
    return ".png"


def _cell(images: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of any size as u8[K,256,256,3] for the sheet."""
    return np.stack([pictures.square(image, _CELL) for image in images])


def _where(found: finding.Found, layout: Layout) -> dict[str, Any]:
    """Columns of the manifest: score, box, angles in degrees."""
    pose = geometry.pose(jnp.asarray(found.position_map), layout)
    angles = {name: round(float(np.rad2deg(getattr(pose, name))), 2) for name in ("yaw", "pitch", "roll")}
    box = zip(("left", "top", "right", "bottom"), (round(float(x), 1) for x in found.box))
    return {"score": round(found.score, 4)} | dict(box) | angles


def _described(chosen: Mapping[str, styles.Style], looks: Looks) -> dict[str, str]:
    """Columns of the manifest: how it is worn."""

    def hexadecimal(colour: Any) -> str:
        return "" if colour is None else "#" + "".join(f"{round(255 * float(c)):02x}" for c in colour)

    return {
        "style": "+".join(style.kind for style in chosen.values()),
        "colour": "+".join(hexadecimal(style.colour) for style in chosen.values()),
        "texture": "+".join(name for name, _ in looks.textures),
    }
