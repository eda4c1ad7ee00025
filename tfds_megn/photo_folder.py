"""A collection of photos: a folder or zip with folders named by attribute, or with a labels.csv."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import os
import pathlib
import sys
import zipfile

from etils import epath

from tfds_megn import photos, rendered
from tfds_megn.params import ATTRIBUTES

_NAMES = ", ".join(ATTRIBUTES)
INSTRUCTIONS = (
    f"put your photos there in folders named {_NAMES}, or as any tree with a labels.csv "
    f"(header file,{','.join(ATTRIBUTES[1:])} with 0 or 1, or file,label), or a zip of either."
)
_LABELS = "labels.csv"
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
_NOT_PHOTOS = ("thumbs.db", "desktop.ini")
_MIN_PHOTOS = len(rendered.SPLITS)
_MAX_LINES = 50


@dataclasses.dataclass(frozen=True)
class Photo:
    """One photo of a collection, not yet read.

    Attributes:
      name: its path from where the labels are, with '/' between: the example's id.
      attributes: what is worn, in the order of ATTRIBUTES[1:].
      place: the folder or zip file that holds it.
      member: its path inside `place`.
    """

    name: str
    attributes: tuple[bool, ...]
    place: str
    member: str

    @property
    def label(self) -> int:
        """The single label: the first of mask, eyeglasses, sunglasses, beard, mustache worn; 0 is none."""
        return self.attributes.index(True) + 1 if any(self.attributes) else 0

    @property
    def hash(self) -> int:
        """64 bits from the name."""
        return int.from_bytes(hashlib.blake2b(self.name.encode(), digest_size=8).digest(), "big")


@dataclasses.dataclass(frozen=True)
class Collection:
    """What a scan found.

    Attributes:
      place: the folder or zip file.
      photos: the labelled photos, ordered by name.
      skipped: one line per file that was left out.
      fingerprint: changes when a photo is added, removed, relabelled or changes its size in bytes.
    """

    place: str
    photos: tuple[Photo, ...]
    skipped: tuple[str, ...]
    fingerprint: str


def scan(manual_dir: str | os.PathLike) -> Collection:
    """Lists the photos of a folder (or zip file) with their labels; reads none of them.

    Where a labels.csv and folder names disagree, labels.csv is right. Folder names and labels may be in any
    case. A single folder around everything, as zips often have, is looked through.

    Args:
      manual_dir: the folder, local or remote, or a zip file.

    Returns:
      The photos found.

    Raises:
      FileNotFoundError: the folder is missing or empty.
      ValueError: a label is unknown, or labels.csv cannot be understood.
    """
    place = epath.Path(manual_dir).expanduser()
    if not place.exists():
        raise FileNotFoundError(f"no photos: {place} does not exist; make it and {INSTRUCTIONS}")
    sizes = _list_zip(place) if place.is_file() else _list_folder(place)
    if place.is_dir() and not _find_root(sizes)[1]:
        zips = [path for path in sizes if path.lower().endswith(".zip") and "/" not in path]
        if len(zips) > 1:
            raise ValueError(f"{place}: holds {len(zips)} zip files ({', '.join(zips)}); keep one, or unpack them")
        if zips:
            place = place / zips[0]
            sizes = _list_zip(place)
    if not sizes:
        raise FileNotFoundError(f"no photos: {place} is empty; {INSTRUCTIONS}")
    root, kind = _find_root(sizes)
    inside = {path.removeprefix(root): size for path, size in sizes.items() if path.startswith(root)}
    if kind == "csv":
        labelled, skipped = _from_csv(place, root, inside)
    elif kind == "folders":
        labelled, skipped = _from_folders(place, inside)
    else:
        raise ValueError(f"{place}: no labels.csv and no folder named after an attribute; {INSTRUCTIONS}")
    found = tuple(
        Photo(name=name, attributes=worn, place=os.fspath(place), member=root + name)
        for name, worn in sorted(labelled.items())
    )
    content = repr([(photo.name, photo.attributes, inside[photo.name]) for photo in found])
    return Collection(
        place=os.fspath(place),
        photos=found,
        skipped=tuple(skipped),
        fingerprint=hashlib.blake2b(content.encode(), digest_size=16).hexdigest(),
    )


def _list_folder(folder: epath.Path, prefix: str = "") -> dict[str, int]:
    """Returns the size in bytes of every file below a folder, by its relative path with '/' between."""
    sizes = {}
    for path in sorted(folder.iterdir()):
        if _is_hidden(path.name):
            continue
        if path.is_dir():
            sizes.update(_list_folder(path, f"{prefix}{path.name}/"))
        elif path.exists():  # A dangling link does not.
            sizes[prefix + path.name] = path.stat().length
    return sizes


def _list_zip(path: epath.Path) -> dict[str, int]:
    """Returns the unpacked size of every file in a zip. Nothing is ever unpacked to disk."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise ValueError(f"{path}: not a readable zip file ({error})") from None
    return {
        member.filename: member.file_size
        for member in members
        if not member.is_dir() and not any(map(_is_hidden, member.filename.split("/")))
    }


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX")) or name.lower() in _NOT_PHOTOS


def _find_root(paths: dict[str, int]) -> tuple[str, str | None]:
    """Returns the folder that holds the labels ('' or 'a/b/') and their kind: 'csv', 'folders' or None."""
    root = ""
    while True:
        below = [path.removeprefix(root) for path in paths if path.startswith(root)]
        folders = {path.partition("/")[0] for path in below if "/" in path}
        files = {path.lower() for path in below if "/" not in path}
        if _LABELS in files:
            return root, "csv"
        if any(folder.lower() in ATTRIBUTES for folder in folders):
            return root, "folders"
        if len(folders) != 1 or any(file.endswith((".zip", *_IMAGE_SUFFIXES)) for file in files):
            return root, None
        root += folders.pop() + "/"


def _worn(label: str) -> tuple[bool, ...] | None:
    """Returns the five attributes of a single label, None for an unknown one."""
    label = label.strip().lower()
    return tuple(label == name for name in ATTRIBUTES[1:]) if label in ATTRIBUTES else None


def _from_folders(place: epath.Path, sizes: dict[str, int]) -> tuple[dict[str, tuple[bool, ...]], list[str]]:
    labelled, skipped = {}, []
    for path in sizes:
        folder, separator, _ = path.partition("/")
        if not separator:
            if path.lower().endswith((".zip", *_IMAGE_SUFFIXES)):
                skipped.append(f"{place}/{path}: not in a folder named after an attribute")
            continue
        worn = _worn(folder)
        if worn is None:
            raise ValueError(f"{place}/{folder}: unknown label '{folder}'; the folders are named {_NAMES}")
        labelled[path] = worn
    return labelled, skipped


def _from_csv(place: epath.Path, root: str, sizes: dict[str, int]) -> tuple[dict[str, tuple[bool, ...]], list[str]]:
    table = next(path for path in sizes if path.lower() == _LABELS)
    where = f"{place}/{root}{table}"
    rows = _read_rows(where, read_bytes(os.fspath(place), root + table))
    if not rows:
        raise ValueError(f"{where}: empty; its first line is file,{','.join(ATTRIBUTES[1:])} or file,label")
    header = [cell.strip().lower() for cell in rows[0][1]]
    _check_header(where, header)
    labelled: dict[str, tuple[bool, ...]] = {}
    skipped = []
    for line, cells in rows[1:]:
        if len(cells) != len(header):
            raise ValueError(f"{where} line {line}: {len(cells)} cells under {len(header)} columns")
        row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
        name = row["file"].replace("\\", "/").removeprefix("./")
        worn = _row_attributes(f"{where} line {line}", row)
        if name.startswith("/") or ".." in name.split("/") or pathlib.PureWindowsPath(name).drive:
            raise ValueError(f"{where} line {line}: {name} lies outside; give paths from where labels.csv is")
        if labelled.get(name, worn) != worn:
            raise ValueError(f"{where} line {line}: {name} was listed before with other labels")
        if name in sizes:
            labelled[name] = worn
        else:
            skipped.append(f"{place}/{root}{name}: not there (labels.csv line {line})")
    for path in sizes:
        if path not in labelled and path.lower().endswith(_IMAGE_SUFFIXES):
            skipped.append(f"{place}/{root}{path}: not listed in labels.csv")
    return labelled, skipped


def _read_rows(where: str, data: bytes) -> list[tuple[int, list[str]]]:
    """Returns the rows of a table that are not blank, each with its line number."""
    try:
        reader = csv.reader(io.StringIO(data.decode("utf-8-sig")), strict=True)
        return [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{where}: not a table in UTF-8 with commas ({error})") from None


def _check_header(where: str, header: list[str]) -> None:
    known = ("file", "label", *ATTRIBUTES[1:])
    for column in header:
        if column not in known:
            raise ValueError(f"{where}: unknown label '{column}' in its first line; known are {', '.join(known)}")
    single = "label" in header
    if "file" not in header or len(set(header)) != len(header) or len(header) < 2 or (single and len(header) > 2):
        raise ValueError(f"{where}: its first line must be file,label or file,{','.join(ATTRIBUTES[1:])}")


def _row_attributes(where: str, row: dict[str, str]) -> tuple[bool, ...]:
    """Returns the five attributes of one row; a column that the table lacks counts as 0."""
    if "label" in row:
        worn = _worn(row["label"])
        if worn is None:
            raise ValueError(f"{where}: unknown label '{row['label']}'; known are {_NAMES}")
        return worn
    for name in ATTRIBUTES[1:]:
        if row.get(name, "0") not in ("0", "1"):
            raise ValueError(f"{where}: {name} is '{row[name]}'; it must be 0 or 1")
    return tuple(row.get(name) == "1" for name in ATTRIBUTES[1:])


def read_bytes(place: str, member: str) -> bytes:
    """Returns the bytes of a file in a folder or zip.

    Raises:
      PhotoError: it cannot be read, or has more than 512 MiB.
    """
    name = f"{place}/{member}"
    path = epath.Path(place)
    try:
        if path.is_dir():
            if (path / member).stat().length > photos.MAX_BYTES:
                raise photos.PhotoError(f"{name}: enormous file (more than {photos.MAX_BYTES // 2**20} MiB)")
            return (path / member).read_bytes()
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            if archive.getinfo(member).file_size > photos.MAX_BYTES:
                raise photos.PhotoError(f"{name}: enormous file (more than {photos.MAX_BYTES // 2**20} MiB)")
            return archive.read(member)
    except photos.PhotoError:
        raise
    except Exception as error:  # zipfile raises zlib, runtime, key and struct errors on bad members.
        raise photos.PhotoError(f"{name}: cannot be read ({' '.join(str(error).split())})") from None


def convert_photo(task: tuple[Photo, int]) -> bytes | str:
    """Reads, crops and scales one photo.

    Args:
      task: the photo, and the width and height of the result in pixels.

    Returns:
      PNG bytes, or the line that says why the photo is left out.
    """
    photo, size = task
    try:
        image = photos.read_photo(read_bytes(photo.place, photo.member), f"{photo.place}/{photo.member}")
    except photos.PhotoError as error:
        return str(error)
    return rendered.encode_png(photos.crop_resize(image, size))


def report(place: str, usable: list[Photo], skipped: list[str]) -> None:
    """Says on the standard error which files were left out, and which attributes no photo shows."""
    lines = [f"skipped {line}" for line in skipped[:_MAX_LINES]]
    if len(skipped) > _MAX_LINES:
        lines.append(f"... and {len(skipped) - _MAX_LINES} more: metadata.json of the data set lists all")
    if skipped:
        lines.append(f"skipped {len(skipped)} of {len(skipped) + len(usable)} files of {place}")
    shown = {name for photo in usable for name, worn in zip(ATTRIBUTES[1:], photo.attributes) if worn}
    if not all(any(photo.attributes) for photo in usable):
        shown.add("none")
    if missing := [name for name in ATTRIBUTES if name not in shown]:
        lines.append(f"warning: no usable photo of {', '.join(missing)} in {place}; this cannot be learned from it")
    for line in lines:
        print(line, file=sys.stderr)


def split_photos(collection: list[Photo]) -> dict[str, list[Photo]]:
    """Divides photos into train, validation and test, 80/10/10, by a hash of the name.

    Adding a photo moves no other one, except in collections so small that a split would be empty: that takes
    a photo from the largest split.

    Args:
      collection: at least 3 photos.

    Returns:
      Split name to photos, ordered by the hash; no split is empty.

    Raises:
      ValueError: there are fewer than 3 photos.
    """
    if len(collection) < _MIN_PHOTOS:
        raise ValueError(
            f"{len(collection)} usable photos cannot fill train, validation and test; at least 3 are needed"
        )
    splits: dict[str, list[Photo]] = {split: [] for split in rendered.SPLITS}
    for photo in sorted(collection, key=lambda photo: (photo.hash, photo.name)):
        tenth = photo.hash * 10 >> 64
        splits[{8: "validation", 9: "test"}.get(tenth, "train")].append(photo)
    for members in splits.values():
        if not members:
            members.append(max(splits.values(), key=len).pop())
    return splits
