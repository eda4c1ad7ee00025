"""Aligned copies of labelled photos: each face cut out upright, as the training images of a model are.

A data set of photos (`tfds_megn`) shows the central square of each photo. Here the photos are replaced by squares
around their faces, with the crop of `experiments.edit` (`face3d.face_crop`), so that a model trained on them fits the
photos that it edits.
"""

from __future__ import annotations

import collections
import csv
import dataclasses
import hashlib
import io
import os
from collections.abc import Iterator, Mapping

import jax
import numpy as np
from etils import epath

from sdgan_jax import outputs, pictures
from sdgan_jax.config import Config
from sdgan_jax.data.photo_files import MANIFEST, PhotoFile
from sdgan_jax.face3d import alignment, cutting
from sdgan_jax.face3d.face_crop import Crop, Kind
from sdgan_jax.photos import finders, photo_results
from sdgan_jax.photos.finders import Finder
from sdgan_jax.photos.manifest import Row
from sdgan_jax.photos.photo_results import PhotoResults
from sdgan_jax.training import sharding
from tfds_megn import label_table, names, params, photo_folder, photo_splits
from tfds_megn import photo_files as stored_files
from tfds_megn import photos as photo_reader
from tfds_megn.listing import printable
from tfds_megn.photo_folder import Photo
from tfds_megn.photos import Picture

BY = f"{outputs.MADE_BY} align"
PHOTOS = "photos"  # folder of the aligned photos in the folder of the results, with their labels.csv
SIZE = 256  # pixels of an aligned photo, for all resolutions up to it
COLUMNS = ("file", "out", "attribute", "crop", "side", "beyond", *finders.COLUMNS, "split", "group", "note")
ALIGNED, NO_FACE = "face", "central square: no face found"  # values of the column `crop`
_CELL = 256  # pixels of an image on the sheet
_GRID = 50  # points along a side at which a square is compared with its photo


def align_dataset(config: Config) -> Config:
    """Aligns the photos that a config trains on, where it asks for that, or continues where an earlier call stopped.

    Every process must call this; the first one does the work.

    Args:
        config: validated; `dataset`, `data_dir`, `manual_dir`, `align`, `align_network`, `face_crop` and `resolution`
            are used.

    Returns:
        The config, with the folder of the aligned photos as `manual_dir`; the same config for other data sets, for
        `align` "off", without `manual_dir`, and where that is aligned already.

    Raises:
        FileNotFoundError, ValueError, OSError: see `align_photos`.
    """
    named = names.parse(config.dataset)
    if config.align == "off" or not config.manual_dir or named is None or named.source != names.PHOTOS:
        return config
    source = epath.Path(config.manual_dir)
    if is_aligned(source) or is_aligned(source.parent):
        return dataclasses.replace(config, manual_dir=os.fspath(source / PHOTOS if is_aligned(source) else source))
    size = max(SIZE, config.resolution)
    out = default_folder(source, config.data_dir, config.face_crop, size)
    if not source.exists():  # the data may be prepared already
        return dataclasses.replace(config, manual_dir=os.fspath(out / PHOTOS)) if is_aligned(out) else config
    with sharding.first_process_first():
        if jax.process_index() == 0:
            print(f"Aligning the photos of {printable(source)} by their faces, into {printable(out)}")
            finder = finders.read_finder(config.align_network)
            print(align_photos(source, out, finder, config.face_crop, size))
    return dataclasses.replace(config, manual_dir=os.fspath(out / PHOTOS))


def default_folder(source: epath.Path, data_dir: str, kind: str, size: int) -> epath.Path:
    """Returns the folder beside the prepared data sets for the aligned photos of a folder."""
    # Imported here: it takes a quarter of the time of all imports, and only data sets need it.
    import tensorflow_datasets as tfds

    root = epath.Path(data_dir or tfds.core.constants.DATA_DIR).expanduser()
    place = os.fspath(source) if outputs.is_remote(source) else os.path.abspath(source)
    mark = hashlib.sha256(os.fsencode(place)).hexdigest()[:8]
    return root / "aligned" / f"{printable(source.name).replace(chr(92), '_')}_{kind}_{size}_{mark}"


def is_aligned(folder: epath.Path) -> bool:
    """Returns whether a folder has the results of `align_photos`."""
    try:
        with (folder / MANIFEST).open("rb") as file:
            return file.readline().startswith(",".join(COLUMNS).encode())
    except OSError:
        return False


def align_photos(source: epath.Path, out: epath.Path, finder: Finder, kind: Kind, size: int = SIZE) -> str:
    """Aligns labelled photos by their largest faces, or continues where an earlier call with the same settings stopped.

    Writes into `out`: `photos/`, the aligned photos as PNG files with a `labels.csv`, a `manual_dir` of
    `megn/photos_<R>`; `manifest.csv`, a row for each photo with the crop, the share of it beyond the photo's edges, the
    face, the split, and the number of its group of near-duplicates; and `sheet.png`. A photo without a face becomes its
    central square.

    Args:
        source: folder or zip of photos, see `photo_folder.scan`.
        out: folder of the results.
        finder: finds the faces.
        kind: kind of the crops.
        size: width and height of the aligned photos in pixels.

    Returns:
        Lines that sum up the results.

    Raises:
        FileNotFoundError: there are no photos.
        OSError: the disk is full or cannot be written. Finished results stay.
        ValueError: the labels cannot be understood, a file is in the way of the results, or fewer than 3 different
            photos can be used.
    """
    if source.is_dir() and f"{os.path.realpath(out)}/".startswith(f"{os.path.realpath(source)}/"):
        raise ValueError(f"--out={printable(out)} lies in the folder of the photos; give another one")
    found = photo_folder.scan(source)
    _check_labels(out)
    photos = {f"{PHOTOS}/{photo.name}": photo for photo in found.photos}
    files = [PhotoFile(name, epath.Path(photo.place) / photo.file.member) for name, photo in photos.items()]
    settings = {"finder": finder.name, "crop": kind, "size": size, "zip": _state_of_zip(found.place)}
    results = PhotoResults(out, files, BY, COLUMNS, settings, ["photo", "aligned"])
    results.show(lambda file, made: _cell(_read(photos[file.name], file).pixels, photo_reader.read_photo(made[0])))
    try:
        with results:
            read = _read_all(results, photos)
            for file, picture, faces in results.until_stopped(finders.find_ahead(read, finder, most=1)):
                crop = finders.crop(faces[0], finder.layout, kind) if faces else None
                row = {"attribute": photos[file.name].attribute}
                row |= finders.describe(faces[0], finder.layout) if faces else {}
                _align(file, picture.pixels, crop, row, results, size)
            made = {name: row["out"] for name, (row,) in results.rows().items() if row["out"]}
            _write_labels(out, {place: photos[name] for name, place in made.items()})
            results.complete(_place(out, made, photos))
    finally:
        stored_files.close_zips()
    return "\n".join([results.summary(), *_describe(results, found)])


def _check_labels(out: epath.Path) -> None:
    """Refuses to replace a table of labels that `align_photos` did not write."""
    table = out / PHOTOS / label_table.FILE_NAME
    if outputs.exists(table) and not is_aligned(out):
        raise FileExistsError(
            f"{printable(table)} exists and was not written by {BY}; it is left as it is. Give another --out"
        )


def _state_of_zip(place: str) -> list[int | float]:
    """Returns size and modification time of a zip, whose members have none of their own; nothing for a folder."""
    path = epath.Path(place)
    if path.is_dir():
        return []
    status = path.stat()
    return [status.length, status.mtime]


def _read(photo: Photo, file: PhotoFile) -> Picture:
    """Reads a photo; raises `photos.PhotoError` where it cannot be read."""
    return photo_reader.read_picture(stored_files.read_bytes(photo.place, photo.file.member), file.label)


def _read_all(results: PhotoResults, photos: Mapping[str, Photo]) -> Iterator[tuple[PhotoFile, Picture]]:
    """Reads the photos to do, given by name; records those that cannot be read."""
    for file in results.work():
        photo = photos[file.name]
        try:
            yield file, _read(photo, file)
        except photo_reader.PhotoError as error:
            results.skip(file, {"attribute": photo.attribute}, str(error))


def _align(file: PhotoFile, pixels: np.ndarray, crop: Crop | None, row: Row, results: PhotoResults, size: int) -> None:
    """Aligns one photo u8[H,W,3] by the crop of its face, and records what was done to it."""
    if crop:
        image = crop.cut(cutting.halvings(pixels), size)
        row |= {"crop": ALIGNED, "side": round(float(crop.square[2]), 1), "beyond": _share_beyond(crop, pixels)}
    else:
        image = photo_reader.crop_resize(pixels, size)
        row |= {"crop": NO_FACE, "side": min(pixels.shape[:2]), "beyond": 0.0}
    (name,) = results.names[file.name]
    try:
        pictures.write_png(results.path(name), image, BY)
    except OSError as error:
        results.skip(file, row, photo_results.failure(error))
    else:
        results.add(file, [row | {"out": name}], _cell(pixels, image))


def _share_beyond(crop: Crop, photo: np.ndarray) -> float:
    """Returns the share of a crop that lies beyond the edges of a photo u8[H,W,3]."""
    y, x = np.indices((_GRID, _GRID))
    places = alignment.from_square(np.stack([x, y, 0 * x], -1), crop.square, _GRID, crop.degrees)[..., :2]
    inside = ((places > -0.5) & (places < np.array(photo.shape[1::-1]) - 0.5)).all(-1)
    return round(float(1.0 - inside.mean()), 2)


def _cell(photo: np.ndarray, aligned: np.ndarray) -> np.ndarray:
    """Returns the images of a photo for the sheet, u8[2,S,S,3]."""
    return np.stack([pictures.square(image, _CELL) for image in (photo, aligned)])


def _write_labels(out: epath.Path, photos: Mapping[str, Photo]) -> None:
    """Writes `labels.csv` of the aligned photos, given by their places in `out`."""
    table = io.StringIO(newline="")
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("file", *params.ATTRIBUTES[1:]))
    rows.writerows((place.removeprefix(f"{PHOTOS}/"), *map(int, photo.attributes)) for place, photo in photos.items())
    with outputs.in_one_piece(out / PHOTOS / label_table.FILE_NAME) as unfinished:
        unfinished.write_text(table.getvalue())


def _place(out: epath.Path, made: Mapping[str, str], photos: Mapping[str, Photo]) -> dict[str, Row]:
    """Returns label, split and group of the aligned photos as the data set will have them, by the photo's name."""
    splits = photo_splits.read_splits(out / PHOTOS)
    places = {
        f"{PHOTOS}/{photo.name}": {"split": split, "group": number or ""}
        for split, photo, number in photo_splits.number_groups(splits)
    }
    return {name: {"attribute": photos[name].attribute} | places.get(place, {}) for name, place in made.items()}


def _describe(results: PhotoResults, found: photo_folder.Collection) -> Iterator[str]:
    """Yields lines on photos without a face, on near-duplicates, and on files that the data set will leave out."""
    rows = [row for rows in results.rows().values() for row in rows]
    faces, central = (sum(row["crop"] == kind for row in rows) for kind in (ALIGNED, NO_FACE))
    yield f"{faces} photos are squares around their faces"
    if central:
        yield f"{central} are central squares, as no face was found; a face mesh finds more than PRNet"
    groups = collections.Counter(row["group"] for row in rows if row["group"])
    if groups:
        yield f"{groups.total()} photos are near-duplicates, in {len(groups)} groups that each stay in one split"
    if found.skipped:
        yield f"{len(found.skipped)} files left out, such as {found.skipped[0]}"
