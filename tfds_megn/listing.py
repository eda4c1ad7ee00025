"""Files below a folder, each folder read once however many links lead to it."""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Collection, Iterable, Iterator

from etils import epath

_NOT_PHOTOS = ("thumbs.db", "desktop.ini")


@dataclasses.dataclass(frozen=True)
class Listing:
    """The files below a folder.

    Attributes:
      files: the files by relative path (separator '/'), sorted by path.
      notes: one line with the reason for each folder, link or device that was not read.
    """

    files: dict[str, epath.Path]
    notes: tuple[str, ...]


def is_remote(path: str | os.PathLike | None) -> bool:
    """Returns whether a path lies in an object store, such as gs://bucket/folder."""
    return path is not None and "://" in os.fspath(path)


def list_files(folder: epath.Path, leave_out: Collection[epath.Path] = ()) -> Listing:
    """Lists the files below a folder, without hidden files and those of file managers.

    Each folder is read once, under its own path, or under the first link to it when it lies elsewhere. Links to a
    folder above are not followed: they lead out of the folder that was asked for.

    Args:
      folder: path of a local or remote folder.
      leave_out: folders that are not read, such as the one that results are written to.

    Returns:
      The files, and a line for each link that was not followed or leads nowhere, each pipe or device, and each
      folder that cannot be read.

    Raises:
      OSError: `folder` itself cannot be read.
    """
    files: dict[str, epath.Path] = {}
    notes: list[str] = []
    seen = {_identity(path) for path in leave_out if path.exists()}
    own = _identity(folder)
    folders, links = collections.deque([("", folder)]), collections.deque[tuple[str, epath.Path]]()
    while folders or links:
        # Links come last, so that a folder inside is listed under its own path.
        followed = not folders
        prefix, path = links.popleft() if followed else folders.popleft()
        identity = _identity(path)
        if identity in seen:
            if followed:
                notes.append(f"{printable(path)}: a link to a folder that is read already")
            continue
        if followed and _is_above(path):
            notes.append(f"{printable(path)}: a link to a folder above it")
            continue
        seen.add(identity)
        try:
            entries = sorted(_entries(path))
        except OSError as error:
            if identity == own:
                raise
            notes.append(f"{printable(path)}: cannot be read ({error.strerror or error})")
            continue
        for name, kind in entries:
            if is_hidden(name):
                continue
            if kind == "file":
                files[prefix + name] = path / name
            elif kind in ("folder", "link"):
                (links if kind == "link" else folders).append((f"{prefix}{name}/", path / name))
            else:
                notes.append(f"{printable(path / name)}: {kind}")
    return Listing(dict(sorted(files.items())), tuple(notes))


def is_hidden(name: str) -> bool:
    """Returns whether a name is that of a hidden file or folder, or of a file that a file manager writes."""
    return name.startswith((".", "__MACOSX")) or name.lower() in _NOT_PHOTOS


def printable(path: str | bytes | os.PathLike) -> str:
    r"""Returns a path as one line of valid text: a byte that is not UTF-8 is written as an escape such as \xe9."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return text.replace("\n", "\\n").replace("\r", "\\r")


def one_line(error: object) -> str:
    """Returns the message of an error on one line, the name of its type when it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def count_by_suffix(names: Iterable[str]) -> str:
    """Returns the number of files of each suffix, such as '.cr2 (3), .txt (1)'."""
    counts = collections.Counter(os.path.splitext(name)[1].lower() or "no suffix" for name in names)
    return ", ".join(f"{printable(suffix)} ({count})" for suffix, count in sorted(counts.items()))


def _identity(path: epath.Path) -> object:
    """Returns a value that is equal for two paths to the same folder."""
    try:
        status = os.stat(path)
    except OSError:  # Remote or unreadable.
        return os.fspath(path)
    return status.st_dev, status.st_ino


def _is_above(link: epath.Path) -> bool:
    """Returns whether a link leads to a folder that it lies in."""
    target = os.path.realpath(link)
    return os.path.commonpath((target, os.path.realpath(link.parent))) == target


def _entries(folder: epath.Path) -> Iterator[tuple[str, str]]:
    """Yields name and kind of each entry: 'file', 'folder', 'link' (to a folder), or a description of anything else."""
    if is_remote(folder):
        yield from ((entry.name, "folder" if entry.is_dir() else "file") for entry in folder.iterdir())
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                if entry.is_dir():
                    yield entry.name, "link" if entry.is_symlink() else "folder"
                elif entry.is_file():
                    yield entry.name, "file"
                else:
                    yield entry.name, "a link to nothing" if entry.is_symlink() else "a pipe or device"
            except PermissionError:  # Opening the file will report it.
                yield entry.name, "file"
            except OSError:
                yield entry.name, "a link to itself"
