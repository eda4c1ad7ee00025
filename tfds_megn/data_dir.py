"""Errors for a folder of prepared data that cannot be written."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator

from tfds_megn import listing

FULL = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file grew beyond the allowed size",
}
_OPTION = "data_dir"
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


class DataDirError(OSError):
    """Prepared data cannot be written; the message is one line that names the folder and the way out.

    Attributes:
      place: path of the folder or file.
      reason: the cause, such as "no space left on the disk".
      option: name of the argument, flag or variable that sets another folder.
    """

    def __init__(self, place: str, reason: str, option: str = _OPTION):
        """Composes the message from its parts; see the class."""
        super().__init__(f"{place}: {reason}; set {option} to another folder")
        self.place, self.reason, self.option = place, reason, option


@contextlib.contextmanager
def writing(folder: str | os.PathLike, option: str = _OPTION) -> Iterator[None]:
    """Turns an error from a folder that cannot be written into a DataDirError.

    Args:
      folder: folder of the prepared data.
      option: name of the argument, flag or variable that sets another folder.

    Raises:
      DataDirError: in the block, the disk was full, or the folder could not be made or written; or the folder's name is
        not UTF-8.
    """
    folder = os.path.expanduser(os.fspath(folder))
    if listing.printable(folder) != folder:
        raise DataDirError(listing.printable(folder), "cannot be written by TFDS (its name is not UTF-8)", option)
    try:
        yield
    except DataDirError as error:
        raise DataDirError(error.place, error.reason, option if error.option == _OPTION else error.option) from None
    except Exception as error:
        code = error_number(error)
        concerned = getattr(error, "filename", None)
        place = listing.printable(concerned if isinstance(concerned, str | bytes) else folder)
        remote = listing.is_remote(folder)
        if code in FULL and remote:  # Converted photos are kept on a local disk until they are written.
            folder = place = tempfile.gettempdir()
            option = "TMPDIR"
        if code in FULL:
            free = describe_free_space(folder)
            raise DataDirError(place, f"{FULL[code]} ({free} after removing what was unfinished)", option) from error
        missing = code == errno.ENOENT and not os.path.isdir(folder) and not remote
        if code is not None and (code in _REFUSED or missing) and _is_related(place, listing.printable(folder)):
            raise DataDirError(place, f"cannot be written ({os.strerror(code)})", option) from error
        raise


def describe_free_space(folder: str | os.PathLike) -> str:
    """Returns the free space on the disk of a local folder, which need not exist, such as '12.3 MiB free'."""
    folder = os.path.abspath(os.path.expanduser(os.fspath(folder)))
    while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    free = shutil.disk_usage(folder).free
    return f"{free / 2**20:,.1f} MiB free" if free < 2**30 else f"{free / 2**30:,.1f} GiB free"


def error_number(error: BaseException) -> int | None:
    """Returns the errno of an error, also of one whose message alone names it; None where there is none."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    words = str(error)
    for code in FULL:
        if os.strerror(code) in words or "Not enough disk space" in words:
            return code
    return None


def _is_related(place: str, folder: str) -> bool:
    """Returns whether one path is, or lies below, the other."""
    place, folder = os.path.abspath(place) + os.sep, os.path.abspath(folder) + os.sep
    return place.startswith(folder) or folder.startswith(place)
