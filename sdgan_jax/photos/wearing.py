"""Draws attributes on the faces of photos in 3D, and writes each image beside a manifest and a sheet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from etils import epath

from sdgan_jax import outputs, pictures
from sdgan_jax.data import photo_files
from sdgan_jax.data.photo_files import PhotoFile
from sdgan_jax.face3d import finding, geometry
from sdgan_jax.face3d.attire import wear
from sdgan_jax.face3d.attire.styles import Style
from sdgan_jax.face3d.layout import Layout
from sdgan_jax.photos import photo_results, picture_files
from sdgan_jax.photos.finders import Finder
from sdgan_jax.photos.looks import Looks
from sdgan_jax.photos.photo_results import PhotoResults
from tfds_megn import photos as photo_reader
from tfds_megn.listing import printable
from tfds_megn.photos import Picture

BY = f"{outputs.MADE_BY} wear"
COLUMNS = ("file", "out", "attribute", "style", "colour", "texture", "score", "left", "top", "right", "bottom",
           "yaw", "pitch", "roll", "note")  # fmt: skip
NO_FACE = "no face found"
_CELL = 256
_CELL_IMAGES = 3  # of the images of a photo, on the sheet

Draw = Callable[[np.ndarray, np.ndarray, Mapping[str, Style], Layout], np.ndarray]


def wear_photos(
    photos: Sequence[PhotoFile],
    out: epath.Path,
    looks: Looks,
    finder: Finder,
    form: str = "png",
    draw: Draw = wear.wear_photo,
) -> str:
    """Draws attributes on photos, or continues where an earlier call with the same settings stopped.

    Args:
        photos: see `photo_files.find`.
        out: folder of the results.
        looks: attributes and styles to draw. The files of its textures are never replaced.
        finder: finds the faces.
        form: "png", or "same": a photo with the suffix of a JPEG becomes a JPEG with the photo's compression.
        draw: draws on one photo, see `wear.wear_photo`.

    Returns:
        A line that sums up the results.

    Raises:
        OSError: the disk is full or cannot be written. Finished results stay.
        ValueError: a file is in the way of the results, see `PhotoResults`, or there is no result at all.
    """
    settings = looks.settings() | {"finder": finder.name, "form": form}
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
    )
    results.show(lambda photo, made: _cell([photo_reader.read_photo(path) for path in (photo.path, *made)]))
    row = {"attribute": looks.label}
    with results:
        for photo, picture in photo_files.read(results.work(), lambda photo, line: results.skip(photo, row, line)):
            found = next(iter(finder.find(picture.pixels, most=1)), None)
            if found is None:
                results.skip(photo, row, NO_FACE)
            else:
                _wear(photo, picture, found, results, looks, finder.layout, draw)
    return results.summary()


def _wear(
    photo: PhotoFile,
    picture: Picture,
    found: finding.Found,
    results: PhotoResults,
    looks: Looks,
    layout: Layout,
    draw: Draw,
) -> None:
    """Draws and writes the images of one photo."""
    row = {"attribute": looks.label} | _face_columns(found, layout)
    rows, images = [], []
    for number, name in enumerate(results.names[photo.name]):
        chosen = looks.choose_styles(photo.name, number)
        image = draw(picture.pixels, found.position_map, chosen, layout)
        try:
            picture_files.write(results.path(name), image, picture, BY)
        except OSError as error:
            return results.skip(photo, row, photo_results.failure(error))
        rows.append(row | {"out": name} | _style_columns(chosen, looks))
        images.append(image)
    results.add(photo, rows, _cell([picture.pixels, *images]))


def _cell(images: Sequence[np.ndarray]) -> np.ndarray:
    """Returns a photo and its first results, of any size, as u8[K,256,256,3] for the sheet."""
    return np.stack([pictures.square(image, _CELL) for image in images[: 1 + _CELL_IMAGES]])


def _face_columns(found: finding.Found, layout: Layout) -> dict[str, Any]:
    """Returns the manifest's columns for the face: score, box in pixels, angles in degrees."""
    pose = geometry.pose(jnp.asarray(found.position_map), layout)
    angles = {name: round(float(np.rad2deg(getattr(pose, name))), 2) for name in ("yaw", "pitch", "roll")}
    box = zip(("left", "top", "right", "bottom"), (round(float(x), 1) for x in found.box))
    return {"score": round(found.score, 4)} | dict(box) | angles


def _style_columns(chosen: Mapping[str, Style], looks: Looks) -> dict[str, str]:
    """Returns the manifest's columns for the styles."""

    def hexadecimal(colour: Any) -> str:
        return "" if colour is None else "#" + "".join(f"{round(255 * float(c)):02x}" for c in colour)

    return {
        "style": "+".join(style.kind for style in chosen.values()),
        "colour": "+".join(hexadecimal(style.colour) for style in chosen.values()),
        "texture": "+".join(printable(texture.path) for texture in looks.textures),
    }
