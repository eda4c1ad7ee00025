"""Prepared data in an object store (gs://…): copied to this machine to be read, and from it once prepared.

The reader of array_record opens local files only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator

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

    Of several processes that call this at once, one copies and the others wait. `prepared` is complete whenever it
    exists; files of an older copy that are open stay readable.

    Args:
      data_dir: folder of prepared data; nothing is done for a local one.
      prepared: folder of the data set in `local_folder(data_dir)`.

    Returns:
      Whether this call copied files.
    """
    if not is_remote(data_dir):
        return False
    source = _counterpart(data_dir, prepared)
    if not (source / _INFO).exists() or _is_copy(prepared, source):
        return False
    prepared.parent.mkdir(parents=True, exist_ok=True)
    with _alone(prepared):
        if _is_copy(prepared, source):
            return False
        with tempfile.TemporaryDirectory(prefix=f"{prepared.name}.incomplete", dir=prepared.parent) as own:
            _copy(source, epath.Path(own) / "new")
            if prepared.exists():
                os.rename(prepared, os.path.join(own, "old"))
            os.rename(os.path.join(own, "new"), prepared)
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


def _is_copy(prepared: epath.Path, source: epath.Path) -> bool:
    """Returns whether a folder on this machine is a copy of the remote one."""
    info = prepared / _INFO
    return info.exists() and info.read_bytes() == (source / _INFO).read_bytes()


@contextlib.contextmanager
def _alone(prepared: epath.Path) -> Iterator[None]:
    """Waits until no other process is in this context for the same folder."""
    with open(f"{prepared}.lock", "w") as file:
        # Windows and some network disks have no such locks; there the last copy stays.
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _copy(source: epath.Path, target: epath.Path) -> None:
    """Copies the files of a folder, `_INFO` after all others."""
    print(f"Copying {source} to {target}", file=sys.stderr)
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir(), key=lambda path: (path.name == _INFO, path.name)):
        path.copy(target / path.name, overwrite=True)
