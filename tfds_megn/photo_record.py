"""Record of the photos that a data set was prepared from, and its comparison with a folder."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import time
from collections.abc import Mapping

from etils import epath
from tqdm import auto as tqdm

from tfds_megn import json_text, photo_files
from tfds_megn.photo_folder import Collection, Photo

_FILE_NAME = "photos.json"
_THREADS = 16
# Some file systems store times in steps of 2 s: a file this young may change again without a new stamp.
_YOUNG_NS = 3 * 10**9

_Row = list  # attributes such as '10010', size, CRC-32 or None, and the two times of photo_files.File.stamp


def write(folder: epath.Path, crcs: Mapping[Photo, int | None]) -> None:
    """Writes the record of the photos into the folder of prepared data.

    Args:
      folder: folder of the prepared data.
      crcs: CRC-32 of the contents of all labelled photos, including the unusable ones.

    Raises:
      OSError: the record cannot be written; a former one stays.
    """
    rows = {photo.name: _row(photo, crc) for photo, crc in crcs.items()}
    text = ",\n".join(f"{json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    unfinished = folder / f"{_FILE_NAME}.{os.getpid()}.tmp"
    try:
        unfinished.write_text(f"{{\n{text}\n}}\n")
        unfinished.replace(folder / _FILE_NAME)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


def _flags(photo: Photo) -> str:
    """Returns the attributes of a photo as text such as '10010'."""
    return "".join(str(int(flag)) for flag in photo.attributes)


def _row(photo: Photo, crc: int | None) -> _Row:
    """Returns the entry of a photo."""
    young = max(photo.file.stamp) > time.time_ns() - _YOUNG_NS
    return [_flags(photo), photo.file.size, crc, *((0, 0) if young else photo.file.stamp)]


def find_difference(folder: epath.Path, collection: Collection) -> str | None:
    """Compares a collection with the photos that a data set was prepared from.

    Names, labels and contents (size and CRC-32) are compared. A file with the stored size and times of change counts
    as unchanged; any other is read once, and its new times are stored.

    Args:
      folder: folder of the prepared data.
      collection: the present photos.

    Returns:
      The difference, such as 'mask/1.png has other contents, and 2 more differences'; None when there is none.

    Raises:
      ValueError: the record is missing or damaged.
    """
    old = _read(folder)
    new = {photo.name: photo for photo in collection.photos}
    differences = [f"{name} is gone" for name in old if name not in new]
    differences += [f"{name} is new" for name in new if name not in old]
    both = [(photo, old[name]) for name, photo in new.items() if name in old]
    changed, doubtful = [], []
    for photo, (flags, size, crc, *stamp) in both:
        if flags != _flags(photo):
            differences.append(f"{photo.name} has another label")
        elif size != photo.file.size:
            changed.append(photo)
        elif any(stamp) and tuple(stamp) == photo.file.stamp and photo.file.crc is None:
            continue
        elif photo.file.crc is None:
            doubtful.append(photo)
        elif crc != photo.file.crc:
            changed.append(photo)
    if not differences and not changed and doubtful:
        crcs = _checksums(doubtful)
        changed = [photo for photo in doubtful if crcs[photo] != old[photo.name][2]]
        if not changed:
            with contextlib.suppress(OSError):  # Read-only data: the files are read again next time.
                write(folder, {photo: old[photo.name][2] for photo in collection.photos})
    differences += [f"{photo.name} has other contents" for photo in changed]
    if not differences:
        return None
    more = len(differences) - 1
    return differences[0] + (f", and {more} more difference{'s' * (more > 1)}" if more else "")


def _read(folder: epath.Path) -> dict[str, _Row]:
    """Returns the entries of the record by name."""
    path = folder / _FILE_NAME
    try:
        rows = json_text.parse(path.read_text())
        if all(len(row) == 5 for row in rows.values()):
            return rows
    except (OSError, ValueError, AttributeError, TypeError):
        pass
    raise ValueError(f"{path}: missing or damaged; delete {folder} to prepare the photos again")


def _checksums(photos: list[Photo]) -> dict[Photo, int | None]:
    """Returns the CRC-32 of photos; several are read at once."""
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        crcs = threads.map(lambda photo: photo_files.checksum(photo.place, photo.file), photos)
        return dict(zip(photos, tqdm.tqdm(crcs, "Comparing photos", len(photos), delay=2, unit="img"), strict=True))
