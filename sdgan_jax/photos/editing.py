"""Edits the faces of photos with a model, and writes each edited photo beside a manifest and a sheet.

Each face is found, cut out as the model's training images were (`face3d.face_crop`), edited there, and pasted back into
the photo (`pasting`). Photos that are such crops already can be edited as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from sdgan_jax import blending, latents, outputs, pictures
from sdgan_jax.blending import Drawn
from sdgan_jax.data import photo_files
from sdgan_jax.data.photo_files import PhotoFile
from sdgan_jax.face3d import cutting, finding
from sdgan_jax.face3d.face_crop import Crop, Kind
from sdgan_jax.face3d.layout import Layout
from sdgan_jax.model import BATCH
from sdgan_jax.photos import dressing, finders, pasting, photo_results, picture_files
from sdgan_jax.photos.finders import Finder
from sdgan_jax.photos.photo_results import PhotoResults
from sdgan_jax.pretrained import archive
from tfds_megn import names as dataset_names
from tfds_megn import photos as photo_reader
from tfds_megn.photos import Picture

BY = f"{outputs.MADE_BY} edit"
COLUMNS = ("file", "out", "attribute", "remove", "strength", "face", *finders.COLUMNS, "note")
NO_FACE = "no face found; --align=off edits the central square"
NOT_A_NUMBER = "the picture by the model contains NaN; give fewer --steps or --pivotal, or an earlier checkpoint"
_CELL = 256  # pixels of an image on the sheet
_MOST_PIXELS = 1 << 26  # of the photos that are edited together


class Edit(NamedTuple):
    """An edit of faces.

    Attributes:
        attributes: names of attributes to put on each face.
        remove: names of attributes to take off.
        strength: 0 gives the face back, 1 is the edit as trained.
        steps: steps of optimisation of the latents; None for none where the model has an encoder, else as many as
            `Model.invert` makes.
        pivotal: steps of pivotal tuning of G, for each face on its own; 0 for none.
        lpips: directory of the LPIPS that the model was loaded with; results by another distance are other results.
    """

    attributes: Sequence[str]
    remove: Sequence[str] = ()
    strength: float = 1.0
    steps: int | None = None
    pivotal: int = 0
    lpips: str = ""

    @property
    def label(self) -> str:
        """The edit in one text, such as "mask+no eyeglasses"."""
        return "+".join([*self.attributes, *(f"no {name}" for name in self.remove)])


class Task(NamedTuple):
    """A photo to edit.

    Attributes:
        photo: its file.
        picture: its pixels and metadata.
        faces: the faces found, the largest first; none for a photo that is edited as it is.
        crops: the crop of each face.
        squares: u8[K,R,R,3], the faces for the model; the central square of a photo that is edited as it is.
    """

    photo: PhotoFile
    picture: Picture
    faces: Sequence[finding.Found]
    crops: Sequence[Crop]
    squares: np.ndarray


def edit_photos(
    model: Any,
    photos: Sequence[PhotoFile],
    out: epath.Path,
    edit: Edit,
    finder: Finder | None = None,
    form: str = "png",
    most: int | None = None,
) -> str:
    """Edits photos, or continues where an earlier call with the same model and settings stopped.

    Args:
        model: a model, see `sdgan_jax.load`; its `config`, `params`, `encode`, `invert`, `tune` and `draw_edit` are
            used.
        photos: see `photo_files.find`.
        out: folder of the results.
        edit: the edit of each face.
        finder: finds the faces, which are edited in their place. None edits the central square of each photo at the
            model's size instead.
        form: "png", or "same": a photo with the suffix of a JPEG becomes a JPEG with the photo's compression.
        most: largest number of faces of each photo that are edited, the largest ones; None for all.

    Returns:
        A line that sums up the results.

    Raises:
        OSError: the disk is full or cannot be written. Finished results stay.
        ValueError: an attribute is unknown, there is nothing to edit, a file is in the way of the results, or there is
            no result at all.
    """
    check(model, edit)
    settings: dict[str, Any] = {"edit": edit._asdict(), "model": archive.fingerprint(model.params), "form": form}
    settings |= {"finder": finder.name, "crop": model.config.face_crop, "most": most} if finder else {}
    labels = ["photo", "face", "reconstruction", edit.label, "result"]
    results = PhotoResults(
        out,
        photos,
        BY,
        COLUMNS,
        settings,
        labels if finder else [labels[0], *labels[2:4]],
        lambda name: picture_files.suffix(name, form),
        settled={NO_FACE},
    )
    results.show(lambda photo, made: _earlier_cell(photo, made[0], None if finder else model.config.resolution))
    row = {"attribute": "+".join(edit.attributes), "remove": "+".join(edit.remove), "strength": edit.strength}
    with results:
        for batch in _batches(_tasks(model, results, row, finder, most), 1 if edit.pivotal else BATCH):
            drawn = draw(model, np.concatenate([task.squares for task in batch]), edit, finder is None)
            ends = np.cumsum([len(task.squares) for task in batch])[:-1]
            for task, *pictures_of_g in zip(batch, *(np.split(images, ends) for images in drawn), strict=True):
                _finish(task, Drawn(*pictures_of_g), results, row, finder.layout if finder else None)
    return results.summary()


def describe_domain(model: Any) -> str | None:
    """Returns a line for models of rendered faces on what they make of photos; None for other models."""
    config = model.config
    named = dataset_names.parse(config.dataset)
    if config.face_crop != "megn" or named is None or named.source != dataset_names.RENDERED:
        return None
    return (
        "note: this model knows rendered faces, so that what it changes in a photo looks rendered. experiments.wear "
        "draws attributes on real photos; --config.dataset=megn/photos_64 trains a model on them"
    )


def draw(model: Any, squares: np.ndarray, edit: Edit, blend: bool) -> Drawn[np.ndarray]:
    """Finds the latents of faces and draws them without and with the edit.

    Args:
        model: see `edit_photos`.
        squares: u8[N,R,R,3], the faces.
        edit: the edit.
        blend: blends the edit into the faces, see `blending.lay_over`.

    Returns:
        The pictures.
    """
    count = len(squares)
    if edit.pivotal and count > 1:  # each face has a G of its own
        parts = [draw(model, squares[k : k + 1], edit, blend) for k in range(count)]
        return Drawn(*(np.concatenate(images) for images in zip(*parts, strict=True)))
    faces = pictures.to_float(squares[np.minimum(np.arange(1 << (count - 1).bit_length()), count - 1)])  # few shapes
    latent = find_latents(model, faces, edit)
    if edit.pivotal:
        model = model.tune(latent, faces, edit.pivotal)
    return Drawn(*(images[:count] for images in draw_latents(model, latent, faces, edit, blend)))


def draw_latents(model: Any, latent: Any, faces: np.ndarray, edit: Edit, blend: bool = False) -> Drawn[np.ndarray]:
    """Draws faces f32[N,R,R,3] in [-1,1] from their latents, without and with an edit; see `draw`."""
    drawn = model.draw_edit(latent, faces, list(edit.attributes), edit.strength, list(edit.remove))
    if blend:
        drawn = drawn._replace(edited=blending.lay_over(faces, *drawn))
    return Drawn(*map(np.asarray, drawn))


def find_latents(model: Any, faces: np.ndarray, edit: Edit) -> Any:
    """Finds the latents of faces f32[N,R,R,3] in [-1,1], of which the edit tells what they wear; see `edit_photos`."""
    if edit.steps is not None:
        return model.invert(faces, edit.steps, edit.remove)
    return (model.encode if "E" in model.params else model.invert)(faces, worn=edit.remove)


def cut_faces(
    image: np.ndarray, faces: Sequence[finding.Found], layout: Layout, kind: Kind, size: int
) -> tuple[list[Crop], np.ndarray]:
    """Cuts faces out of a photo as the images of a model are cut.

    Args:
        image: u8[H,W,3], the photo.
        faces: the faces found in it, one or more.
        layout: layout of their position maps.
        kind: the model's crop, `config.face_crop`.
        size: R, the model's resolution.

    Returns:
        The crop of each face, and the faces u8[K,R,R,3].
    """
    crops = [finders.crop(face, layout, kind) for face in faces]
    levels = cutting.halvings(image)
    return crops, np.stack([crop.cut(levels, size) for crop in crops])


def paste_faces(
    image: np.ndarray,
    faces: Sequence[finding.Found],
    edited: Sequence[int],
    crops: Sequence[Crop],
    squares: np.ndarray,
    drawn: Drawn[np.ndarray],
    layout: Layout,
) -> np.ndarray:
    """Pastes edited faces into their photo, the largest last; see `pasting`. Larger faces stay in front of an edit.

    Args:
        image: u8[H,W,3], the photo.
        faces: all faces of the photo, the largest first.
        edited: indices of the K edited ones, in ascending order.
        crops: the crop of each edited face.
        squares: u8[K,R,R,3], the edited faces before.
        drawn: pictures of them by `draw`, not blended.
        layout: layout of the position maps.

    Returns:
        u8[H,W,3].
    """
    for number, crop, before, *one in reversed(list(zip(edited, crops, squares, *drawn, strict=True))):
        pasted = pasting.paste(image, crop, pictures.to_float(before), *one)
        for near in faces[:number]:
            dressing.put_in_front(pasted, image, near, layout)
        image = pasted
    return image


def explain_missing(model: Any) -> str | None:
    """Returns a line on why a model edits no attributes; None for a model that does."""
    if len(model.config.attributes) > 1:
        return None
    return (
        "this model is a plain StyleGAN2 without attributes: it draws faces and edits none. Wear (experiments.wear) "
        "draws on photos without it; --config.init starts an SD-GAN from it"
    )


def check(model: Any, edit: Edit) -> None:
    """Raises `ValueError` for an edit that the model cannot make."""
    names = model.config.attributes
    if line := explain_missing(model):
        raise ValueError(line)
    if set(edit.attributes) <= {names[0]} and not edit.remove:
        raise ValueError(f"no attribute is given; set --attribute or --remove to some of {', '.join(names[1:])}")
    latents.attribute_weights(list(edit.attributes), names, 1, list(edit.remove))
    if edit.steps == 0 and "E" not in model.params:
        raise ValueError("--steps=0: this model has no encoder, so its latents are found by steps of optimisation")


def _tasks(
    model: Any, results: PhotoResults, row: dict[str, Any], finder: Finder | None, most: int | None
) -> Iterator[Task]:
    """Reads photos and yields their faces; records the photos that have none."""
    size = model.config.resolution
    read = photo_files.read(results.work(), lambda photo, line: results.skip(photo, row, line))
    if finder is None:
        for photo, picture in read:
            yield Task(photo, picture, [], [], photo_reader.crop_resize(picture.pixels, size)[None])
        return
    for photo, picture, faces in results.until_stopped(finders.find_ahead(read, finder, most)):
        if not faces:
            results.skip(photo, row, NO_FACE)
        else:
            crops, squares = cut_faces(picture.pixels, faces, finder.layout, model.config.face_crop, size)
            yield Task(photo, picture, faces, crops, squares)


def _batches(tasks: Iterable[Task], most: int) -> Iterator[list[Task]]:
    """Yields tasks of `most` faces or more at once, fewer of large photos."""
    batch: list[Task] = []
    for task in tasks:
        batch.append(task)
        pixels = sum(one.picture.pixels.size // 3 for one in batch)
        if sum(len(one.squares) for one in batch) >= most or pixels > _MOST_PIXELS:
            yield batch
            batch = []
    if batch:
        yield batch


def _finish(
    task: Task, drawn: Drawn[np.ndarray], results: PhotoResults, row: dict[str, Any], layout: Layout | None
) -> None:
    """Puts the edited faces into their photo, and writes the result."""
    photo, picture, faces, crops, squares = task
    if np.isnan(drawn.plain).any() or np.isnan(drawn.edited).any():
        return results.skip(photo, row, NOT_A_NUMBER)
    (name,) = results.names[photo.name]
    rows = [row]
    if layout is not None:
        image = paste_faces(picture.pixels, faces, range(len(faces)), crops, squares, drawn, layout)
        rows = [row | {"face": 1 + k} | finders.describe(face, layout) for k, face in enumerate(faces)]
    else:
        image = pictures.to_uint8(drawn.edited[0])
    try:
        picture_files.write(results.path(name), image, picture, BY)
    except OSError as error:
        results.skip(photo, row, photo_results.failure(error))
    else:
        results.add(photo, [one | {"out": name} for one in rows], _cell(task, drawn, image))


def _cell(task: Task, drawn: Drawn[np.ndarray], image: np.ndarray) -> np.ndarray:
    """Returns the images of a photo for the sheet, u8[K,S,S,3]; of several faces the largest is shown."""
    reconstruction, before = pictures.to_uint8(drawn.plain[0]), task.picture.pixels
    if not task.crops:
        return np.stack([task.squares[0], reconstruction, image])
    closer = [task.crops[0].cut(cutting.halvings(one), _CELL) for one in (before, image)]
    parts = [before, closer[0], pictures.resize(reconstruction, _CELL, _CELL), closer[1], image]
    return np.stack([pictures.square(one, _CELL) for one in parts])


def _earlier_cell(photo: PhotoFile, path: epath.Path, size: int | None) -> np.ndarray:
    """Reads the cell of an earlier result; what was not saved stays white. A size is that of a central square."""
    before, after = photo_reader.read_photo(photo.path), photo_reader.read_photo(path)
    if size is None:
        before, after = (pictures.square(image, _CELL) for image in (before, after))
        return np.stack([before, *[np.full_like(before, 255)] * 3, after])
    before = photo_reader.crop_resize(before, size)
    return np.stack([before, np.full_like(before, 255), after])
