"""Edits photos with a model in batches, and writes each edited image beside a manifest and a sheet."""

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
    """Edits photos, or continues where an earlier call with the same model and settings stopped.

    Args:
        model: a model, see `sdgan_jax.load`; its `config`, `params`, `invert` and `edit_latent` are used.
        photos: see `photo_files.find`; each is cut to its central square and brought to the model's size.
        out: folder of the results.
        attributes: names of the model's attributes, all applied to each face.
        strength: strength of the edit; 0 is the reconstruction, 1 the edit as trained.

    Returns:
        A line that sums up the results.

    Raises:
        OSError: the disk is full or cannot be written. Finished results stay.
        ValueError: an attribute is unknown, a file is in the way of the results, or there is no result at all.
    """
    if not attributes:
        raise ValueError(f"no attribute is given; the known ones are {', '.join(model.config.attributes)}")
    latents.attribute_weights(list(attributes), model.config.attributes, 1)
    size, label = model.config.resolution, "+".join(attributes)
    settings = {"attributes": list(attributes), "strength": strength, "model": archive.fingerprint(model.params)}
    results = PhotoResults(out, photos, BY, COLUMNS, settings, ["photo", "reconstruction", label])

    def earlier_cell(photo: PhotoFile, paths: list[epath.Path]) -> np.ndarray:
        """Reads the cell of an earlier result; its reconstruction was not saved and stays white."""
        before = photo_reader.crop_resize(photo_reader.read_photo(photo.path), size)
        after = photo_reader.read_photo(paths[0])
        return np.stack([before, np.full_like(before, 255), after])

    results.show(earlier_cell)
    row = {"attribute": label, "strength": strength}
    with results:
        readable = photo_files.read(results.work(), lambda photo, line: results.skip(photo, row, line))
        squares = ((photo, photo_reader.crop_resize(picture.pixels, size)) for photo, picture in readable)
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
