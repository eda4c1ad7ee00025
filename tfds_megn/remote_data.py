"""Prepared data in an object store (gs://…): copied to this machine to be read, and from it once prepared.

The reader of array_record opens local files only.
"""

from __future__ import annotations

import hashlib
import os
import sys

from etils import epath

from tfds_megn.listing import is_remote

_INFO = "dataset_info.json"  # the last file that is copied: data with it are complete


def local_folder(data_dir: str | os.PathLike | None) -> str | None:
    """Returns the folder on this machine that stands for `data_dir`: itself, or for a remote one a folder of a cache.

    The cache is `tfds_megn` in XDG_CACHE_HOME, or in ~/.cache. It can be deleted at any time.
    """
    if data_dir is None or not is_remote(data_dir):
        return None if data_dir is None else os.fspath(data_dir)
    name = os.fspath(data_dir).rstrip("/")
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(root, "tfds_megn", hashlib.sha256(name.encode()).hexdigest()[:16])


def fetch(data_dir: str | os.PathLike | None, prepared: epath.Path) -> bool:
    """Copies a prepared data set from `data_dir` to this machine, unless the copy here is the same.

    Args:
      data_dir: folder of prepared data; nothing is done for a local one.
      prepared: folder of the data set in `local_folder(data_dir)`.

    Returns:
      Whether files were copied.
    """
    if not is_remote(data_dir):
        return False
    source = _counterpart(data_dir, prepared)
    if not (source / _INFO).exists():
        return False
    info = prepared / _INFO
    if info.exists() and info.read_bytes() == (source / _INFO).read_bytes():
        return False
    if prepared.exists():
        prepared.rmtree()
    _copy(source, prepared)
    return True


def publish(data_dir: str | os.PathLike | None, prepared: epath.Path, anew: bool) -> None:
    """Copies a data set that was prepared on this machine to a remote `data_dir`.

    Args:
      data_dir: folder of prepared data; nothing is done for a local one.
      prepared: see `fetch`.
      anew: whether it was prepared just now; an older one is copied where an earlier copy was cut off.
    """
    if is_remote(data_dir) and (anew or not (_counterpart(data_dir, prepared) / _INFO).exists()):
        _copy(prepared, _counterpart(data_dir, prepared))


def _counterpart(data_dir: str | os.PathLike | None, prepared: epath.Path) -> epath.Path:
    """Returns the folder of a data set in a remote `data_dir`."""
    assert data_dir is not None
    return epath.Path(data_dir) / prepared.relative_to(local_folder(data_dir) or "").as_posix()


def _copy(source: epath.Path, target: epath.Path) -> None:
    """Copies the files of a folder; each appears when it is complete, and `_INFO` when all are."""
    print(f"Copying {source} to {target}", file=sys.stderr)
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir(), key=lambda path: (path.name == _INFO, path.name)):
        there = target / path.name
        if is_remote(target):
            path.copy(there, overwrite=True)
        else:
            unfinished = target / f"{path.name}.{os.getpid()}.tmp"
            path.copy(unfinished, overwrite=True)
            unfinished.replace(there)
