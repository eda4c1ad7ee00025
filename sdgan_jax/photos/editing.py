"""Edits photos with a model in batches, and writes each edited image beside a manifest and a sheet."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

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
COLUMNS = ("file", "out", "attribute", "remove", "strength", "note")


class Edit(NamedTuple):
    """An edit of faces.

    Attributes:
        attributes: names of attributes to put on each face.
        remove: names of attributes to take off.
        strength: 0 gives the face back, 1 is the edit as trained.
        steps: steps of optimisation of the latents; None for none where the model has an encoder, else as many as
            `Model.invert` makes.
    """

    attributes: Sequence[str]
    remove: Sequence[str] = ()
    strength: float = 1.0
    steps: int | None = None

    @property
    def label(self) -> str:
        """The edit in one text, such as "mask+no eyeglasses"."""
        return "+".join([*self.attributes, *(f"no {name}" for name in self.remove)])


def edit_photos(model: Any, photos: Sequence[PhotoFile], out: epath.Path, edit: Edit) -> str:
    """Edits photos, or continues where an earlier call with the same model and settings stopped.

    Args:
        model: a model, see `sdgan_jax.load`; its `config`, `params`, `encode`, `invert` and `edit_latent` are
            used.
        photos: see `photo_files.find`; each is cut to its central square and brought to the model's size.
        out: folder of the results.
        edit: the edit of each face.

    Returns:
        A line that sums up the results.

    Raises:
        OSError: the disk is full or cannot be written. Finished results stay.
        ValueError: an attribute is unknown, there is nothing to edit, a file is in the way of the results, or there is
            no result at all.
    """
    _check(model, edit)
    size = model.config.resolution
    settings = {"edit": edit._asdict(), "model": archive.fingerprint(model.params)}
    results = PhotoResults(out, photos, BY, COLUMNS, settings, ["photo", "reconstruction", edit.label])

    def earlier_cell(photo: PhotoFile, paths: list[epath.Path]) -> np.ndarray:
        """Reads the cell of an earlier result; its reconstruction was not saved and stays white."""
        before = photo_reader.crop_resize(photo_reader.read_photo(photo.path), size)
        after = photo_reader.read_photo(paths[0])
        return np.stack([before, np.full_like(before, 255), after])

    results.show(earlier_cell)
    row = {"attribute": "+".join(edit.attributes), "remove": "+".join(edit.remove), "strength": edit.strength}
    with results:
        readable = photo_files.read(results.work(), lambda photo, line: results.skip(photo, row, line))
        squares = ((photo, photo_reader.crop_resize(picture.pixels, size)) for photo, picture in readable)
        while batch := list(itertools.islice(squares, BATCH)):
            _edit(model, batch, edit, results, row)
    return results.summary()


def _check(model: Any, edit: Edit) -> None:
    """Raises `ValueError` for an edit that the model cannot make."""
    names = model.config.attributes
    if not edit.attributes and not edit.remove:
        raise ValueError(f"no attribute is given; set --attribute or --remove to some of {', '.join(names[1:])}")
    latents.attribute_weights(list(edit.attributes), names, 1, list(edit.remove))
    if edit.steps == 0 and "E" not in model.params:
        raise ValueError("--steps=0: this model has no encoder, so its latents are found by steps of optimisation")


def _edit(
    model: Any, batch: list[tuple[PhotoFile, np.ndarray]], edit: Edit, results: PhotoResults, row: dict[str, Any]
) -> None:
    """Edits a batch of squares, and writes the results."""
    before = np.stack([square for _, square in batch])
    faces = pictures.to_float(before)
    if edit.steps is None:
        latent = model.encode(faces) if "E" in model.params else model.invert(faces)
    else:
        latent = model.invert(faces, edit.steps)
    plain = model.edit_latent(latent, faces, "none", blend=False)
    drawn = [plain, model.edit_latent(latent, faces, list(edit.attributes), edit.strength, list(edit.remove))]
    plain, after = (pictures.to_uint8(np.asarray(images)) for images in drawn)
    for (photo, _), *cell in zip(batch, before, plain, after, strict=True):
        (name,) = results.names[photo.name]
        try:
            pictures.write_png(results.path(name), cell[-1], BY)
        except OSError as error:
            results.skip(photo, row, photo_results.failure(error))
        else:
            results.add(photo, [row | {"out": name}], np.stack(cell))
