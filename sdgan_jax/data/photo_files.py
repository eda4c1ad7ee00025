"""Photos given to a command: found in a folder, and read one at a time."""

from __future__ import annotations

import dataclasses
import functools
import os
import posixpath
import sys
from collections.abc import Callable, Iterable, Iterator

import tqdm
from etils import epath

from sdgan_jax import outputs
from tfds_megn import listing, photos
from tfds_megn.listing import printable
from tfds_megn.photos import Picture

MANIFEST, SHEET, LANDMARKS = "manifest.csv", "sheet.png", "landmarks.json"  # files in a folder of results
MANIFEST_START = b"file,out,attribute,"  # start of the first line of a manifest


@dataclasses.dataclass(frozen=True)
class PhotoFile:
    """A photo given to a command.

    Attributes:
        name: path relative to the folder of the photos, with '/' as separator.
        path: path of the file.
    """

    name: str
    path: epath.Path

    @functools.cached_property
    def label(self) -> str:
        """The path as text that can be printed and stored."""
        return printable(self.path)


def find(source: epath.Path, out: epath.Path) -> list[PhotoFile]:
    """Finds the photos in a file or a folder, sorted by name; prints on stderr which files are left out.

    Files without the suffix of an image, the folder of the results, folders of earlier results, and their sheets are
    left out.

    Args:
        source: value of `--input`, an image file or a folder; sub-folders are searched too.
        out: value of `--out`, the folder of the results.

    Returns:
        The photos by their suffixes; `read` finds out which of them can be read.

    Raises:
        FileNotFoundError: `source` does not exist.
        ValueError: there is no photo, `source` is a pipe or device, or the results would lie among the photos.
    """
    if not source.exists():
        several = "; give one file, or the folder of several" if set("*?,") & set(os.fspath(source)) else ""
        raise FileNotFoundError(f"--input={printable(source)}: there is no such file or folder{several}")
    _check_out(source, out)
    if not source.is_dir():
        outputs.check_file(source, f"--input={printable(source)}", "an image file or a folder")
        return [PhotoFile(source.name, source)]
    found = listing.list_files(source, [out])
    files, notes = _without_results(found.files)
    files = {name: path for name, path in files.items() if not _is_sheet(path)}
    others = [
        name for name in files if not photos.is_image(name) and os.path.basename(name) not in (MANIFEST, LANDMARKS)
    ]
    left_out = photos.describe_left_out(others)
    for line in [*found.notes, *notes, *([left_out] if left_out else [])]:
        print(f"note: {line}" if line != left_out else line, file=sys.stderr)
    chosen = [PhotoFile(name, path) for name, path in files.items() if photos.is_image(name)]
    if not chosen:
        raise ValueError(f"--input={printable(source)}: there is no photo" + (f"; {left_out}" if left_out else ""))
    _check_above(source, out, chosen)
    return chosen


def read(
    files: Iterable[PhotoFile], on_error: Callable[[PhotoFile, str], object]
) -> Iterator[tuple[PhotoFile, Picture]]:
    """Reads photos one at a time, so that only one is in memory; prints a note on stderr for an animation.

    Args:
        files: see `find`.
        on_error: called with each photo that cannot be read, and one line that names it and says why.

    Yields:
        Each photo that can be read, with its picture.
    """
    for file in files:
        try:
            picture = photos.read_picture(file.path)
        except photos.PhotoError as error:
            on_error(file, str(error))
        else:
            if picture.animated:
                tqdm.tqdm.write(f"note: {file.label}: an animation; only its first frame is used", file=sys.stderr)
            yield file, picture


def _check_out(source: epath.Path, out: epath.Path) -> None:
    """Raises ValueError if the results would be in the folder of the photos."""
    outputs.check_folder(out)
    folders = [source] if source.is_dir() else [source.parent, epath.Path(_real(source)).parent]
    if any(_same_folder(folder, out) for folder in folders):
        other = printable(out / "results")
        raise ValueError(f"--out={printable(out)} is the folder of the photos; give another one, such as {other}")


def _check_above(source: epath.Path, out: epath.Path, chosen: list[PhotoFile]) -> None:
    """Raises ValueError if `out` is above the photos and a result would be in the photos' folder."""
    inside = os.path.relpath(_real(source), _real(out)) + "/"
    for photo in chosen:
        if photo.name.startswith(inside):
            raise ValueError(
                f"--out={printable(out)}: the result of {printable(photo.name)} would lie in the folder of the photos; "
                "give another one"
            )


def _same_folder(first: epath.Path, second: epath.Path) -> bool:
    """Returns whether two paths lead to the same folder; the second one need not exist."""
    if outputs.is_remote(first) or outputs.is_remote(second):
        return os.fspath(first).rstrip("/") == os.fspath(second).rstrip("/")
    try:
        return os.path.samefile(first, second)
    except OSError:
        return _real(first) == _real(second)


def _real(path: epath.Path) -> str:
    """Returns the path without symbolic links."""
    return os.fspath(path) if outputs.is_remote(path) else os.path.realpath(path)


def _without_results(files: dict[str, epath.Path]) -> tuple[dict[str, epath.Path], list[str]]:
    """Returns the files outside sub-folders with results of an earlier call, and a line for each such sub-folder."""
    folders = {
        posixpath.dirname(name)
        for name, path in files.items()
        if name.endswith("/" + MANIFEST) and _starts_a_manifest(path)
    }
    if not folders:
        return files, []
    kept = {name: path for name, path in files.items() if folders.isdisjoint(_folders_above(name))}
    notes = []
    for folder in sorted(folders):
        path = printable(files[f"{folder}/{MANIFEST}"].parent)
        notes.append(f"left out {path}: results of an earlier call; give it as --input to use them")
    return kept, notes


def _folders_above(name: str) -> Iterator[str]:
    """Yields the folders that a file is in, the innermost first."""
    while name := posixpath.dirname(name):
        yield name


def _is_sheet(path: epath.Path) -> bool:
    return path.name == SHEET and outputs.made_by(path) is not None


def _starts_a_manifest(path: epath.Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MANIFEST_START)) == MANIFEST_START
    except OSError:
        return False
