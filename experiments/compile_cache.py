"""Compiled programs on disk: the second start of a command reads them instead of compiling again.

JAX's persistent compilation cache names each program by what it depends on (the program, its compile options, the
versions of JAX and of the compiler, the kind of device), except for the features of the CPU. Hosts with different CPUs
can share a home folder, so the folder is named by these features.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import platform
import re
import warnings
from typing import Any

import jax
from etils import epath

from sdgan_jax import outputs

MAX_BYTES = 2 * 2**30
_UNREADABLE = "Error reading persistent compilation cache entry for '(.*?)': "  # JAX's warning, with the program's name


def enable() -> None:
    """Makes JAX keep compiled programs in `outputs.cache_folder("compiled")`, below 2 GiB; before JAX compiles.

    JAX_COMPILATION_CACHE_DIR names another folder, JAX_ENABLE_COMPILATION_CACHE=false turns it off. Where the folder
    cannot be written, nothing is kept.
    """
    given = jax.config.values
    if given["jax_compilation_cache_dir"] or not given["jax_enable_compilation_cache"]:
        return
    folder = outputs.cache_folder("compiled") / _cpu()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if not os.access(folder, os.W_OK):
        return
    prune(folder.parent, MAX_BYTES)
    jax.config.update("jax_compilation_cache_dir", os.fspath(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    _replace_unreadable(folder)


def prune(folder: epath.Path, max_bytes: int) -> None:
    """Removes the files of a folder that were read least recently until the rest has at most `max_bytes`."""
    files = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            with contextlib.suppress(FileNotFoundError):  # another process prunes too
                status = os.stat(path)
                files.append((max(status.st_atime, status.st_mtime), path, status.st_size))
    left = sum(size for _, _, size in files)
    for _, path, size in sorted(files):
        if left <= max_bytes:
            return
        with contextlib.suppress(OSError):
            os.unlink(path)
        left -= size


def _replace_unreadable(folder: epath.Path) -> None:
    """Makes JAX write programs anew that it cannot read, such as those of a process that was killed meanwhile.

    JAX compiles such a program at every start, with a warning, and never replaces a file. Here, the warning removes the
    files of programs of its name instead.
    """
    show = warnings.showwarning

    def forget(message: Warning | str, *others: Any, **options: Any) -> None:
        unreadable = re.match(_UNREADABLE, str(message))
        if unreadable is None:
            return show(message, *others, **options)
        for path in folder.glob(f"{glob.escape(unreadable[1])}-*"):
            with contextlib.suppress(OSError):
                path.unlink()

    warnings.filterwarnings("always", message=_UNREADABLE)
    warnings.showwarning = forget


def _cpu() -> str:
    """Returns a name of the CPU's features."""
    features = platform.processor()
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        features = "".join({line for line in file if line.startswith(("flags", "Features"))})
    return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:8]}"
