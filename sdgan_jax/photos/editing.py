"""Edits photos with a model: crops and inverts them in batches, and writes each edit beside a manifest and a sheet."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from sdgan_jax import latents, outputs, pictures
from sdgan_jax.data import photo_files
from sdgan_jax.data.photo_files import PhotoFile
from sdgan_jax.model import BATCH
from sdgan_jax.photos import photo_results
from sdgan_jax.photos.photo_results import PhotoResults
from sdgan_jax.pretrained import archive
from tfds_megn import photos as photo_reader

BY = f"{outputs.MADE_BY} edit"
COLUMNS = ("file", "out", "attribute", "strength", "note")


def edit_photos(
    model: Any, photos: Sequence[PhotoFile], out: epath.Path, attributes: Sequence[str], strength: float = 1.0
) -> str:
    """Edits photos, or goes on where an earlier call with the same model and settings stopped.

    Args:
        model: as `sdgan_jax.load` returns it; `config`, `params`, `invert` and `wear` are used.
        photos: see `photo_files.find`; each is cut to its central square and brought to the model's size.
        out: folder of the results.
        attributes: of the model, worn at once.
        strength: 0 is the reconstruction, 1 the edit as trained.

    Returns:
        A line that says what there is now.

    Raises:
        OSError: the disk is full or cannot be written. What was done stays.
        ValueError: an attribute is unknown, something is in the way of the results, or no photo could be edited.
    """
    if not attributes:
        raise ValueError(f"no attribute is given; the known ones are {', '.join(model.config.attributes)}")
    latents.attribute_weights(list(attributes), model.config.attributes, 1)
    size, worn = model.config.resolution, "+".join(attributes)
    settings = {"attributes": list(attributes), "strength": strength, "model": archive.digest(model.params)}
    results = PhotoResults(out, photos, BY, COLUMNS, settings, ["photo", "reconstruction", worn])

    def seen(photo: PhotoFile, paths: list[epath.Path]) -> np.ndarray:
        """The cell of an earlier result, whose reconstruction was not kept."""
        before = photo_reader.crop_resize(photo_reader.read_photo(photo.path), size)
        after = photo_reader.read_photo(paths[0])
        return np.stack([before, np.full_like(before, 255), after])

    results.show(seen)
    row = {"attribute": worn, "strength": strength}
    with results:
        pictures_read = photo_files.read(results.work(), lambda photo, line: results.skip(photo, row, line))
        squares = ((photo, photo_reader.crop_resize(picture.pixels, size)) for photo, picture in pictures_read)
        while batch := list(itertools.islice(squares, BATCH)):
            _edit(model, batch, attributes, strength, results, row)
    return results.summary()


def _edit(
    model: Any,
    batch: list[tuple[PhotoFile, np.ndarray]],
    attributes: Sequence[str],
    strength: float,
    results: PhotoResults,
    row: dict[str, Any],
) -> None:
    """Edits a batch of squares, and writes the results."""
    before = np.stack([square for _, square in batch])
    faces = pictures.to_float(before)
    latent = model.invert(faces)
    drawn = [model.edit_latent(latent, faces, "none"), model.edit_latent(latent, faces, list(attributes), strength)]
    plain, after = (pictures.to_uint8(np.asarray(images)) for images in drawn)
    for (photo, _), *cell in zip(batch, before, plain, after, strict=True):
        (name,) = results.names[photo.name]
        try:
            pictures.write_png(results.path(name), cell[-1], BY)
        except OSError as error:
            results.skip(photo, row, photo_results.failure(error))
        else:
            results.add(photo, [row | {"out": name}], np.stack(cell))
