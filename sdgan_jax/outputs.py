"""Result files of commands: written atomically, marked with the command, and never over a file of another origin.

The mark is such as "sdgan-jax wear". It stands in the text `Software` of a PNG, in a comment of a JPEG, in the first
key `made_by` of a JSON file, and in the first line of a text.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

import fsspec
from etils import epath

from tfds_megn import data_dir
from tfds_megn.listing import is_remote, printable

_EXTRAS = {"gs": "gcs", "s3": "s3"}  # by the kind of remote path, the extra with the packages that read it
MADE_BY = "sdgan-jax"  # followed by the command
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
_TEXT = re.compile(rf'(?:\s*{{\s*"made_by":\s*"|# made by )({MADE_BY}[ \w-]*)')
_PNG_SIGNATURE, _JPEG_SIGNATURE = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_SOFTWARE = b"Software\x00"


def made_by(path: epath.PathLike) -> str | None:
    """Returns the mark of a file, such as "sdgan-jax wear"; None for an unmarked file or anything but a file."""
    try:
        if not is_remote(path) and not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with epath.Path(path).open("rb") as file:
            start = file.read(8)
            if start == _PNG_SIGNATURE:
                return _mark_of_png(file)
            if start.startswith(_JPEG_SIGNATURE):
                file.seek(2)
                return _mark_of_jpeg(file)
            found = _TEXT.match((start + file.read(200)).decode("utf-8", "replace"))
            return found[1] if found else None
    except (OSError, struct.error):
        return None


def cache_folder(name: str) -> epath.Path:
    """Returns the folder of what commands keep for later ones: `sdgan_jax/<name>` in XDG_CACHE_HOME or ~/.cache."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return epath.Path(root) / "sdgan_jax" / name


def check_own(paths: Iterable[epath.PathLike], by: str) -> None:
    """Checks that files can be written without loss: each is new, or was written by the same command.

    Args:
        paths: paths of the files.
        by: mark of the command.

    Raises:
        FileExistsError: another file, link or folder exists at a path; the message names the first and the way out.
    """
    for path in paths:
        if exists(path) and made_by(path) != by:
            raise foreign(path, by)


def foreign(path: epath.PathLike, by: str) -> FileExistsError:
    """Returns the error for a file in the way that the command `by` did not write; it names the way out."""
    return FileExistsError(
        f"{printable(path)} exists and was not written by {by}; it is left as it is. Move it away, or give another "
        "--out"
    )


def check_folder(out: epath.PathLike) -> None:
    """Raises `ValueError` when the path of the results' folder, or of a folder that it is to be in, is a file."""
    path = epath.Path(out)
    for part in (path,) if is_remote(out) else (path, *path.parents):
        if exists(part):
            if not part.is_dir():
                inside = "" if part == path else f": {printable(part)}"
                raise ValueError(f"--out={printable(out)}{inside} is not a folder; give a folder")
            return


def exists(path: epath.PathLike) -> bool:
    """Returns whether a path exists; a link to nothing counts."""
    return epath.Path(path).exists() if is_remote(path) else os.path.lexists(path)


def file_key(path: epath.PathLike) -> tuple[int, int] | None:
    """Returns device and number of a file or folder, which all paths to it share; None if there is no local one."""
    try:
        status = os.stat(path)
    except OSError:  # remote, or not there
        return None
    return status.st_dev, status.st_ino


def check_scheme(path: epath.PathLike) -> None:
    """Raises `ValueError` for a kind of remote path that is unknown, or whose package is missing."""
    if not is_remote(path):
        return
    scheme = os.fspath(path).partition("://")[0]
    if scheme not in _EXTRAS:
        raise ValueError(f"{printable(path)}: {scheme}:// is unknown; gs:// and s3:// are read")
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        extra = f"pip install -e '.[{_EXTRAS[scheme]}]'"
        raise ValueError(f"{printable(path)}: a package that reads {scheme}:// is missing; {extra}") from error


def check_file(path: epath.PathLike, name: str, wanted: str = "a file") -> None:
    """Checks that a file can be read: opening a pipe may wait for ever.

    Args:
        path: path of a local or remote file.
        name: name of the file in messages.
        wanted: what to give in the place of something else.

    Raises:
        FileNotFoundError: there is nothing at the path.
        ValueError: it is a folder, a pipe or a device, or of an unknown kind of remote path.
    """
    check_scheme(path)
    file = epath.Path(path)
    if not file.exists():
        raise FileNotFoundError(f"{name}: there is no such file")
    if file.is_dir():
        raise ValueError(f"{name} is a folder; give {wanted}")
    if not is_remote(path) and not os.path.isfile(path):
        raise ValueError(f"{name} is a pipe or device; give {wanted}")


def write(path: epath.PathLike, content: bytes, by: str) -> None:
    """Writes a file atomically, and its folder when it does not exist.

    Args:
        path: path of the file.
        content: bytes with the mark `by`.
        by: mark of the command.

    Raises:
        FileExistsError: a file without this mark exists at the path.
        OSError: the file cannot be written; the message names it and, on a full disk, the free space.
    """
    check_own([path], by)
    with in_one_piece(path) as unfinished:
        unfinished.write_bytes(content)


def write_text(path: epath.PathLike, text: str, by: str) -> None:
    """Writes a text with the line "# made by" in front; see `write`."""
    write(path, f"# made by {by}\n{text}".encode(), by)


def write_json(path: epath.PathLike, results: Mapping[str, Any], by: str) -> None:
    """Writes an object with the key `made_by` in front; see `write`."""
    write(path, (json.dumps({"made_by": by, **results}, indent=2) + "\n").encode(), by)


def append(path: epath.PathLike, text: str) -> None:
    """Appends to a text file, which is made where there is none.

    An object cannot grow: a remote file is read and written anew (fsspec's mode "a" would replace a short one).
    """
    file = epath.Path(path)
    if is_remote(path):
        file.write_text((file.read_text() if file.exists() else "") + text)
        return
    with file.open("a") as opened:
        opened.write(text)


def move_folder(source: epath.Path, target: epath.Path) -> None:
    """Moves a folder to a path that does not exist, in a folder that does.

    Of a remote folder the files are copied one by one, then deleted: an object store has no empty folders, which etils
    wants as a target, and s3fs moves no folders.
    """
    if not is_remote(source):
        source.rename(target)
        return
    folders = [source]
    for folder in folders:
        for path in folder.iterdir():
            if path.is_dir():
                folders.append(path)
            else:
                path.copy(target / path.relative_to(source), overwrite=True)
    source.rmtree()


@contextlib.contextmanager
def in_one_piece(path: epath.PathLike) -> Iterator[epath.Path]:
    """Makes a file or a folder appear only once it is complete; an error leaves nothing behind.

    Args:
        path: path of the file, or of a folder that does not exist or is empty. Remote files are written directly: an
            object store shows complete files only.

    Yields:
        The path to write to; it is renamed to `path` at the end.

    Raises:
        OSError: the error of the block, with the name `path`; on a full disk the message has the free space.
    """
    target = epath.Path(path)
    if is_remote(path):
        yield target
        return
    # A fixed name: the remains of a killed process are overwritten.
    unfinished = target.parent / f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}.unfinished"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        os.replace(unfinished, target)
    except OSError as error:
        _remove(unfinished)  # before the free space is measured
        raise _explained(error, target, unfinished) from error
    finally:
        _remove(unfinished)


@contextlib.contextmanager
def alone_in(folder: epath.PathLike, waiting: str = "") -> Iterator[None]:
    """Locks a folder of results against other calls on this machine; the folder is created when it does not exist.

    The lock ends with the process. Remote folders, and file systems without locks, are not protected.

    Args:
        folder: local or remote.
        waiting: line that is printed before the end of another call is waited for; without one, nothing is waited for.

    Raises:
        RuntimeError: another call is writing to the folder, and `waiting` is empty.
    """
    epath.Path(folder).mkdir(parents=True, exist_ok=True)
    if is_remote(folder):
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, printable(folder), waiting)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, name: str, waiting: str) -> None:
    """Locks an open folder, see `alone_in`."""
    with contextlib.suppress(OSError):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not waiting:
                raise RuntimeError(
                    f"another call is writing into {name}; wait for its end, or give another --out"
                ) from None
            print(waiting, file=sys.stderr)
            fcntl.flock(handle, fcntl.LOCK_EX)


def stops_all(error: OSError) -> bool:
    """Returns whether an error concerns the whole disk (full, read-only), so that no other file can be written."""
    return error.errno in _OF_THE_DISK


def _remove(path: epath.Path) -> None:
    """Removes a file or a folder, if it exists."""
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            os.unlink(path)


def _explained(error: OSError, target: epath.Path, unfinished: epath.Path) -> OSError:
    """Returns the error with the name that the user gave, and with the free space on a full disk."""
    name = printable(target)
    if error.errno in data_dir.FULL:
        reason, free = data_dir.FULL[error.errno], data_dir.describe_free_space(target.parent)
        return OSError(error.errno, f"cannot be written, {reason}; {free}", name)
    named = os.fspath(error.filename or unfinished) if not isinstance(error.filename, int) else ""
    if error.errno and (named.startswith(os.fspath(unfinished)) or named == os.fspath(target.parent)):
        return OSError(error.errno, error.strerror, name)
    return error


def _mark_of_png(file: IO[bytes]) -> str | None:
    """Returns the mark of a PNG, read from the end of its signature."""
    while True:
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind in (b"IDAT", b"IEND"):
            return None
        if kind == b"tEXt" and length < 200:
            text = file.read(length)
            file.seek(4, os.SEEK_CUR)
            if text.startswith(_SOFTWARE):
                return _mark(text.removeprefix(_SOFTWARE))
        else:
            file.seek(length + 4, os.SEEK_CUR)


def _mark_of_jpeg(file: IO[bytes]) -> str | None:
    """Returns the mark of a JPEG, read from the end of its signature."""
    while True:
        marker, length = struct.unpack(">HH", file.read(4))
        if marker == 0xFFDA or marker < 0xFF00 or length < 2:  # pixels begin, or damaged
            return None
        if marker == 0xFFFE and length < 200:
            if mark := _mark(file.read(length - 2)):
                return mark
        else:
            file.seek(length - 2, os.SEEK_CUR)


def _mark(text: bytes) -> str | None:
    """Returns a text that is a mark, None for another text."""
    found = text.decode("latin-1")
    return found if found.split(" ")[0] == MADE_BY else None
