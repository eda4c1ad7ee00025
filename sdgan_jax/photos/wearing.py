"""Draws attributes on the faces of photos in 3D, and writes each image beside a manifest and a sheet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from sdgan_jax import outputs, pictures
from sdgan_jax.data import photo_files
from sdgan_jax.data.photo_files import PhotoFile
from sdgan_jax.face3d.attire import wear
from sdgan_jax.face3d.attire.styles import Style
from sdgan_jax.face3d.finding import Found
from sdgan_jax.face3d.layout import Layout
from sdgan_jax.photos import dressing, finders, photo_results, picture_files
from sdgan_jax.photos.dressing import Draw
from sdgan_jax.photos.finders import Finder
from sdgan_jax.photos.landmark_file import LandmarkFile
from sdgan_jax.photos.looks import Looks
from sdgan_jax.photos.manifest import Row
from sdgan_jax.photos.photo_results import PhotoResults
from tfds_megn import photos as photo_reader
from tfds_megn.listing import printable
from tfds_megn.photos import Picture

BY = f"{outputs.MADE_BY} wear"
COLUMNS = ("file", "out", "attribute", "face", "style", "colour", "texture", *finders.COLUMNS, "note")
NO_FACE = "no face found"
_CELL = 256
_CELL_IMAGES = 3  # of the images of a photo, on the sheet


def wear_photos(
    photos: Sequence[PhotoFile],
    out: epath.Path,
    looks: Looks,
    finder: Finder,
    form: str = "png",
    most: int | None = None,
    with_landmarks: bool = False,
    draw: Draw = wear.wear_photo,
) -> str:
    """Draws attributes on photos, or continues where an earlier call with the same settings stopped.

    Args:
        photos: see `photo_files.find`.
        out: folder of the results.
        looks: attributes and styles to draw. The files of its textures are never replaced.
        finder: finds the faces.
        form: "png", or "same": a photo with the suffix of a JPEG becomes a JPEG with the photo's compression.
        most: largest number of faces of each photo that are drawn on; None for all.
        with_landmarks: write the landmarks of these faces, too, see `LandmarkFile`.
        draw: draws on one photo, see `wear.wear_photo`.

    Returns:
        A line that sums up the results.

    Raises:
        OSError: the disk is full or cannot be written. Finished results stay.
        ValueError: a file is in the way of the results, see `PhotoResults`, or there is no result at all.
    """
    settings = settings_of(looks, finder, form, most, with_landmarks)
    landmarks = LandmarkFile(out) if with_landmarks else None
    labels = ["photo"] + [looks.label] * min(looks.per_image, _CELL_IMAGES)
    results = PhotoResults(
        out,
        photos,
        BY,
        COLUMNS,
        settings,
        labels,
        lambda name: picture_files.suffix(name, form),
        looks.per_image,
        {NO_FACE},
        [texture.path for texture in looks.textures],
        landmarks,
    )
    results.show(lambda photo, made: _cell([photo_reader.read_photo(path) for path in (photo.path, *made)]))
    row = {"attribute": looks.label}
    with results:
        read = photo_files.read(results.work(), lambda photo, line: results.skip(photo, row, line))
        for photo, picture, faces in results.until_stopped(finders.find_ahead(read, finder, most)):
            if landmarks is not None:
                landmarks.put(photo.label, faces, finder.layout)
            if not faces:
                results.skip(photo, row, NO_FACE)
            else:
                _wear(photo, picture, faces, results, looks, finder.layout, draw)
    return results.summary()


def settings_of(looks: Looks, finder: Finder, form: str, most: int | None, with_landmarks: bool) -> dict[str, Any]:
    """Returns all that the results depend on, beside the photos, as plain values; see `wear_photos`."""
    return looks.settings() | {"finder": finder.name, "form": form, "most": most, "landmarks": with_landmarks}


def _wear(
    photo: PhotoFile,
    picture: Picture,
    faces: Sequence[Found],
    results: PhotoResults,
    looks: Looks,
    layout: Layout,
    draw: Draw,
) -> None:
    """Draws and writes the images of one photo."""
    rows: list[photo_results.Row] = []
    images: list[np.ndarray] = []
    for made in make_images(photo.name, picture, faces, results.names[photo.name], looks, layout, draw):
        try:
            picture_files.write(results.path(made.name), made.image, picture, BY)
        except OSError as error:
            return results.skip(photo, {"attribute": looks.label}, photo_results.failure(error))
        rows += made.rows
        if len(images) < _CELL_IMAGES:  # the others would fill the memory
            images.append(made.image)
    results.add(photo, rows, _cell([picture.pixels, *images]))


class Made(NamedTuple):
    """An image made of a photo.

    Attributes:
        name: name of the result, relative to the folder of the results.
        image: u8[H,W,3].
        rows: rows of the manifest, one for each face.
    """

    name: str
    image: np.ndarray
    rows: list[Row]


def make_images(
    photo: str,
    picture: Picture,
    faces: Sequence[Found],
    names: Sequence[str],
    looks: Looks,
    layout: Layout,
    draw: Draw,
) -> Iterator[Made]:
    """Draws the images of one photo.

    Args:
        photo: name of the photo; together with the seed it decides the random styles.
        picture: the photo.
        faces: its faces, the nearest first.
        names: names of the results, one for each image.
        looks: attributes and styles to draw.
        layout: layout of the position maps.
        draw: draws on one face, see `wear.wear_photo`.
    """
    known = [{"attribute": looks.label, "face": 1 + k} | finders.describe(face, layout) for k, face in enumerate(faces)]
    for number, name in enumerate(names):
        chosen = [looks.choose_styles(photo, number, k) for k in range(len(faces))]
        image = dressing.dress(picture.pixels, faces, chosen, layout, draw)
        rows = [row | {"out": name} | _style_columns(one, looks) for row, one in zip(known, chosen, strict=True)]
        yield Made(name, image, rows)


def _cell(images: Sequence[np.ndarray]) -> np.ndarray:
    """Returns a photo and its first results, of any size, as u8[K,256,256,3] for the sheet."""
    return np.stack([pictures.square(image, _CELL) for image in images[: 1 + _CELL_IMAGES]])


def _style_columns(chosen: Mapping[str, Style], looks: Looks) -> dict[str, str]:
    """Returns the manifest's columns for the styles."""

    def hexadecimal(colour: Any) -> str:
        return "" if colour is None else "#" + "".join(f"{round(255 * float(c)):02x}" for c in colour)

    return {
        "style": "+".join(style.kind for style in chosen.values()),
        "colour": "+".join(hexadecimal(style.colour) for style in chosen.values()),
        "texture": "+".join(printable(texture.path) for texture in looks.textures),
    }
