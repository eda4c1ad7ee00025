"""Files of a folder or zip of photos: listing, signs of a change, and contents."""

from __future__ import annotations

import dataclasses
import functools
import os
import unicodedata
import zipfile
import zlib

from etils import epath

from tfds_megn import listing, photos

_SHOWN = 200  # characters of the reason of an error: zipfile repeats what a damaged file has in the place of a name
_UTF8_NAMES = 0x800  # the flag of a zip member whose name is stored as UTF-8


@dataclasses.dataclass(frozen=True)
class File:
    """One file, not yet read.

    Attributes:
      member: path as stored in the folder or zip.
      size: size in bytes; -1 where it is unknown.
      stamp: times of the last change of the contents and of the directory entry, in ns. A remote file has the first
        alone, a file in a zip none: (0, 0).
      crc: CRC-32 of the contents from the directory of a zip; None in folders.
    """

    member: str
    size: int
    stamp: tuple[int, int] = (0, 0)
    crc: int | None = None


def list_files(place: epath.Path) -> tuple[dict[str, File], tuple[str, ...]]:
    """Lists the files of a folder or zip file.

    Args:
      place: path of a local or remote folder, or of a zip file.

    Returns:
      The files by path (separator '/'), and a line for each folder that was not read.

    Raises:
      ValueError: the zip file cannot be read.
    """
    if place.is_file():
        return _list_zip(place), ()
    found = listing.list_files(place)
    describe = _remote_file if listing.is_remote(place) else _local_file
    folder = os.fspath(place)
    return {path: describe(folder, path) for path in found.files}, found.notes


def _local_file(folder: str, member: str) -> File:
    try:
        entry = os.stat(f"{folder}/{member}")
    except OSError:  # Reading the file will report it.
        return File(member, -1)
    return File(member, entry.st_size, (entry.st_mtime_ns, entry.st_ctime_ns))


def _remote_file(folder: str, member: str) -> File:
    try:
        status = (epath.Path(folder) / member).stat()
    except OSError:
        return File(member, -1)
    return File(member, status.length, (int(status.mtime * 1e9), 0))


def _list_zip(path: epath.Path) -> dict[str, File]:
    """Lists the members of a zip, without unpacking anything."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except Exception as error:  # zipfile raises nearly anything on bad files.
        reason = listing.one_line(error)[:_SHOWN]
        raise ValueError(f"{listing.printable(path)}: not a readable zip file ({reason})") from None
    files = {}
    for member in members:
        name = _member_name(member)
        if not name.endswith("/") and not any(map(listing.is_hidden, name.split("/"))):
            files[name] = File(member.filename, member.file_size, crc=member.CRC)
    return files


def _member_name(member: zipfile.ZipInfo) -> str:
    """Returns the path of a zip's member (separator '/'), decoded as the program that wrote it encoded it."""
    name = member.filename
    if not member.flag_bits & _UTF8_NAMES and not name.isascii():
        try:  # Many programs store UTF-8 without the flag; zipfile decodes it as code page 437.
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    return name.replace("\\", "/")  # The separator of Windows.


def read_bytes(place: str, member: str) -> bytes:
    """Returns the bytes of a file in a folder or zip. A zip stays open for the next call.

    Args:
      place: path of the folder or zip file.
      member: path of the file inside; see `File`.

    Raises:
      PhotoError: the file cannot be read, or has more than 512 MiB.
    """
    name = listing.printable(f"{place}/{member}")
    path = epath.Path(place)
    try:
        if path.is_dir():
            photos.check_length((path / member).stat().length, name)
            return (path / member).read_bytes()
        status = path.stat()
        archive = _open_zip(place, status.length, status.mtime)
        photos.check_length(archive.getinfo(member).file_size, name)
        return archive.read(member)
    except photos.PhotoError:
        raise
    except Exception as error:  # zipfile raises zlib, runtime, key and struct errors on bad members.
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise photos.PhotoError(f"{name}: cannot be read ({' '.join(str(reason).split())[:_SHOWN]})") from None


@functools.lru_cache(maxsize=1)  # Cached: reading the directory of a zip of 100,000 members takes a second.
def _open_zip(place: str, size: int, mtime: float) -> zipfile.ZipFile:
    del size, mtime  # Parts of the cache's key: a zip that changed is opened anew.
    return zipfile.ZipFile(epath.Path(place).open("rb"))


def close_zips() -> None:
    """Closes the zip that `read_bytes` keeps open in this process."""
    _open_zip.cache_clear()


def checksum(place: str, file: File) -> int | None:
    """Returns the CRC-32 of a file's contents, None when it cannot be read."""
    if file.crc is not None:
        return file.crc
    try:
        return zlib.crc32(read_bytes(place, file.member))
    except photos.PhotoError:
        return None


class Names:
    """Index of files by name, also for names in another Unicode form or encoding."""

    def __init__(self, files: dict[str, File]):
        """Builds the index of `files`, a dict by path."""
        self._files = files
        self._spellings: dict[str, str] = {}
        for path in files:
            if not path.isascii():
                raw = os.fsencode(path)
                for spelling in (path, raw.decode("cp1252", "replace"), listing.printable(path).replace("\\", "/")):
                    self._spellings.setdefault(unicodedata.normalize("NFC", spelling), path)

    def find(self, name: str) -> str | None:
        """Returns the path that equals a name, else one that differs in form or encoding, else None."""
        if name in self._files:
            return name
        return self._spellings.get(unicodedata.normalize("NFC", name))
