"""A collection of photos: a folder or zip with folders named by attribute, or with a labels.csv."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
import pathlib
import sys
import zlib
from collections.abc import Mapping

import numpy as np
from etils import epath

from tfds_megn import label_table, listing, near_duplicates, photo_files, photos, rendered
from tfds_megn.params import ATTRIBUTES

_NAMES = ", ".join(ATTRIBUTES)
INSTRUCTIONS = (
    f"put your photos there in folders named {_NAMES}, or as any tree with a labels.csv "
    f"(header file,{','.join(ATTRIBUTES[1:])} with 0 or 1, or file,label), or a zip of either."
)
_MAX_LINES = 50


@dataclasses.dataclass(frozen=True)
class Photo:
    """One photo of a collection, not yet read.

    Attributes:
      name: path relative to the folder with the labels, as valid text (separator '/'), a backslash doubled; the id of
        the example.
      attributes: one bool for each of ATTRIBUTES[1:].
      place: path of the folder or zip file that contains the photo.
      file: the file inside `place`.
    """

    name: str
    attributes: tuple[bool, ...]
    place: str
    file: photo_files.File

    @property
    def label(self) -> int:
        """Index in ATTRIBUTES of the first attribute of the photo; 0 (none) without attributes."""
        return self.attributes.index(True) + 1 if any(self.attributes) else 0

    @property
    def attribute(self) -> str:
        """The attributes of the photo in one text, such as "mask+eyeglasses"; "none" without attributes."""
        return "+".join(itertools.compress(ATTRIBUTES[1:], self.attributes)) or ATTRIBUTES[0]


@dataclasses.dataclass(frozen=True)
class Collection:
    """The labelled photos that a scan found.

    Attributes:
      place: path of the folder or zip file.
      photos: the labelled photos, sorted by name.
      skipped: one line for each file or folder that was left out.
      notes: lines about files that are no images and about a guessed encoding.
    """

    place: str
    photos: tuple[Photo, ...]
    skipped: tuple[str, ...]
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Converted:
    """One photo after reading.

    Attributes:
      image: PNG bytes, or one line with the reason why the photo is left out.
      crc: CRC-32 of the file's contents, None where they cannot be read.
      pixels: 64-bit hash of the pixels of the whole photo; equal for files that show the same image.
      look: perceptual hashes of the photo; None for a photo of one colour.
    """

    image: bytes | str
    crc: int | None
    pixels: int = 0
    look: near_duplicates.Look | None = None


def scan(manual_dir: str | os.PathLike) -> Collection:
    """Lists the photos of a folder (or zip file) with their labels, without reading the photos.

    A labels.csv overrides folder names. Upper and lower case are equal in folder names and labels. A single folder
    around everything, as zips often have, is descended into.

    Args:
      manual_dir: path of a local or remote folder, or of a zip file.

    Returns:
      The photos found.

    Raises:
      FileNotFoundError: the folder is missing or empty.
      ValueError: a label is unknown, or labels.csv cannot be understood.
    """
    place = epath.Path(manual_dir).expanduser()
    if not place.exists():
        raise FileNotFoundError(f"no photos: {listing.printable(place)} does not exist; make it and {INSTRUCTIONS}")
    files, skipped = photo_files.list_files(place)
    if place.is_dir() and not _find_root(files)[1]:
        zips = [path for path in files if path.lower().endswith(".zip") and "/" not in path]
        if len(zips) > 1:
            names = listing.printable(", ".join(zips))
            raise ValueError(f"{listing.printable(place)}: holds {len(zips)} zip files ({names}); keep one")
        if zips:
            place = place / zips[0]
            files, skipped = photo_files.list_files(place)
    shown = listing.printable(place)
    if not files:
        raise FileNotFoundError(f"no photos: {shown} is empty; {INSTRUCTIONS}")
    root, kind = _find_root(files)
    inside = {path.removeprefix(root): file for path, file in files.items() if path.startswith(root)}
    where = listing.printable(f"{os.fspath(place)}/{root}")
    if kind == "csv":
        labelled, left_out, notes = _from_csv(os.fspath(place), where, inside)
    elif kind == "folders":
        labelled, left_out, notes = _from_folders(where, inside)
    else:
        raise ValueError(f"{shown}: no labels.csv and no folder named after an attribute; {INSTRUCTIONS}")
    others = [path for path in inside if path not in labelled and not photos.is_image(path)]
    line = photos.describe_left_out(path for path in others if path.lower() != label_table.FILE_NAME)
    found = (
        Photo(name=_id(path), attributes=attributes, place=os.fspath(place), file=inside[path])
        for path, attributes in sorted(labelled.items())
    )
    return Collection(
        place=os.fspath(place),
        photos=tuple(found),
        skipped=(*skipped, *left_out),
        notes=(*notes, *([f"{shown}: {line}"] if line else [])),
    )


def _id(path: str) -> str:
    """Returns a path as one line of valid text, another for each path: only escapes begin with a single backslash."""
    return listing.printable(path.replace("\\", "\\\\"))


_Labelled = dict[str, tuple[bool, ...]]


def _find_root(paths: dict[str, photo_files.File]) -> tuple[str, str | None]:
    """Returns the prefix of the folder with the labels ('' or 'a/b/'), and their kind: 'csv', 'folders' or None."""
    root = ""
    while True:
        below = [path.removeprefix(root) for path in paths if path.startswith(root)]
        folders = {path.partition("/")[0] for path in below if "/" in path}
        names = {path.lower() for path in below if "/" not in path}
        if label_table.FILE_NAME in names:
            return root, "csv"
        if any(folder.lower() in ATTRIBUTES for folder in folders):
            return root, "folders"
        if len(folders) != 1 or any(name.endswith(".zip") or photos.is_image(name) for name in names):
            return root, None
        root += folders.pop() + "/"


def _from_folders(where: str, files: dict[str, photo_files.File]) -> tuple[_Labelled, list[str], list[str]]:
    """Labels photos by the names of their folders; see `_from_csv`."""
    labelled, skipped = {}, []
    for path in files:
        folder, separator, _ = path.partition("/")
        if not separator:
            if photos.is_image(path):
                skipped.append(f"{where}{listing.printable(path)}: not in a folder named after an attribute")
            continue
        attributes = label_table.attributes_of(folder)
        if attributes is None:
            folder = listing.printable(folder)
            raise ValueError(f"{where}{folder}: unknown label '{folder}'; the folders are named {_NAMES}")
        if photos.is_image(path):
            labelled[path] = attributes
    return labelled, skipped, []


def _from_csv(place: str, where: str, files: dict[str, photo_files.File]) -> tuple[_Labelled, list[str], list[str]]:
    """Labels photos by labels.csv.

    Returns:
      The attributes by path, a line for each file left out, and lines about the table.
    """
    table = next(path for path in files if path.lower() == label_table.FILE_NAME)
    rows, note = label_table.read(where + table, photo_files.read_bytes(place, files[table].member))
    names = photo_files.Names(files)
    labelled: _Labelled = {}
    skipped = []
    for row in rows:
        name = row.file.replace("\\", "/").removeprefix("./")
        shown = listing.printable(name)
        path = names.find(name)
        on_windows = path is None and pathlib.PureWindowsPath(name).is_absolute()  # elsewhere a folder may be called a:
        if name.startswith("/") or ".." in name.split("/") or on_windows:
            raise ValueError(
                f"{where}{table} line {row.line}: {shown} lies outside; give paths from where labels.csv is"
            )
        if path is None:
            skipped.append(f"{where}{shown}: not there (labels.csv line {row.line})")
        elif labelled.setdefault(path, row.attributes) != row.attributes:
            raise ValueError(f"{where}{table} line {row.line}: {shown} was listed before with other labels")
    for path in files:
        if path not in labelled and photos.is_image(path):
            skipped.append(f"{where}{listing.printable(path)}: not listed in labels.csv")
    return labelled, skipped, [note] if note else []


def convert_photo(task: tuple[Photo, int]) -> Converted:
    """Reads, crops and scales one photo.

    Args:
      task: the photo, and the width and height of the result in pixels.

    Returns:
      The image as PNG or the reason why it is left out, and the hashes of the file and of its pixels.
    """
    photo, size = task
    crc = photo.file.crc
    try:
        data = photo_files.read_bytes(photo.place, photo.file.member)
        crc = zlib.crc32(data)
        image = photos.read_photo(data, listing.printable(f"{photo.place}/{photo.file.member}"))
    except photos.PhotoError as error:
        return Converted(str(error), crc)
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=8)
    digest.update(np.ascontiguousarray(image).data)
    pixels = int.from_bytes(digest.digest(), "big")
    look = near_duplicates.describe(image)
    return Converted(rendered.encode_png(photos.crop_resize(image, size)), crc, pixels, look)


def group_by_pixels(usable: Mapping[Photo, Converted]) -> list[list[Photo]]:
    """Returns groups of photos that show the same image, sorted by a hash of the image."""
    groups: dict[int, list[Photo]] = {}
    for photo, converted in usable.items():
        groups.setdefault(converted.pixels, []).append(photo)
    return [groups[pixels] for pixels in sorted(groups)]


def report(collection: Collection, usable: Mapping[Photo, Converted]) -> None:
    """Prints to the standard error which files were left out, and warnings about the labels of the usable photos."""
    place, skipped = listing.printable(collection.place), collection.skipped
    lines = [*collection.notes, *(f"skipped {line}" for line in skipped[:_MAX_LINES])]
    if len(skipped) > _MAX_LINES:
        lines.append(f"... and {len(skipped) - _MAX_LINES} more: metadata.json of the data set lists all")
    if skipped:
        lines.append(f"skipped {len(skipped)} of {len(skipped) + len(usable)} files of {place}")
    shown = {name for photo in usable for name, present in zip(ATTRIBUTES[1:], photo.attributes) if present}
    if not all(any(photo.attributes) for photo in usable):
        shown.add("none")
    if missing := [name for name in ATTRIBUTES if name not in shown]:
        lines.append(f"warning: no usable photo of {', '.join(missing)} in {place}; this cannot be learned from it")
    groups = [group for group in group_by_pixels(usable) if len({photo.attributes for photo in group}) > 1]
    if groups:
        example: list[Photo] = min(groups, key=lambda group: group[0].name)
        first, second = sorted(example, key=lambda photo: photo.name)[:2]
        count = "1 image is" if len(groups) == 1 else f"{len(groups)} images are"
        lines.append(f"warning: {count} there with different labels, such as {first.name} and {second.name} in {place}")
    for line in lines:
        print(line, file=sys.stderr)
