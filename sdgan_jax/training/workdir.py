"""Workdirs: the `config.json` of a run, and the lock that keeps a second run out."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from typing import Any, TextIO

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from sdgan_jax import config as config_lib
from sdgan_jax import outputs
from sdgan_jax.config import Kind
from sdgan_jax.pretrained import directories
from tfds_megn import data_dir, json_text
from tfds_megn.listing import printable

LOCK = "lock"

# Fields that may differ when a run is resumed: they set its length, what is written, where data are read and what ends
# it, and where the state lies, but do not change what a step computes. The exception is a learning rate that falls to 0
# at the last step: with another one it falls along another curve (`describe_new_length`).
RESUMABLE = frozenset(
    {
        "total_steps",
        "staged.encoder_steps",
        "staged.fusion_steps",
        "log_every",
        "sample_every",
        "checkpoint_every",
        "keep_checkpoints",
        "profile_steps",
        "wandb",
        "data_dir",
        "manual_dir",
        "data_workers",
        "max_skipped",
        "rollbacks",
        "align",
        "align_network",
        "face_crop",
        "fsdp",
    }
)


def check_config(workdir: epath.PathLike, config: Any) -> None:
    """Checks that a run with this config may start or resume in a workdir.

    Raises:
        ValueError: the workdir has a `config.json` of another kind, or one that differs in more than `RESUMABLE`; the
            fields are named. Or it has checkpoints without a `config.json`. Or it is a file, or in S3, which Orbax does
            not write to.
    """
    if epath.Path(workdir).is_file():
        raise ValueError(f"--workdir={printable(workdir)} is not a folder; give a folder")
    if os.fspath(workdir).startswith("s3://"):
        raise ValueError(f"{workdir}: checkpoints are saved to local folders and gs:// only; give another --workdir")
    if not (epath.Path(workdir) / directories.CONFIG).exists():
        if directories.has_checkpoints(epath.Path(workdir)):
            raise ValueError(
                f"{workdir} has checkpoints, but no {directories.CONFIG}, which says what they are of; put it back to "
                "resume, or give another --workdir to start a new run"
            )
    else:
        fields = [
            f"{name} was {old!r} and is {new!r}"
            for name, old, new in _differences(load_config(workdir, type(config)), config)
            if name not in RESUMABLE
        ]
        if fields:
            raise ValueError(
                f"{workdir} holds a run with another config: {'; '.join(fields)}. "
                "Give the old values to resume it, or another --workdir to start a new run"
            )


def describe_new_length(workdir: epath.PathLike, config: Any) -> str:
    """Returns a note where a run whose learning rate falls to 0 is resumed with another `total_steps`, "" elsewhere.

    Raises:
        ValueError: as `load_config`.
    """
    folder = epath.Path(workdir)
    if not directories.has_checkpoints(folder) or not (folder / directories.CONFIG).exists():
        return ""
    before = load_config(folder, type(config)).total_steps
    if before == config.total_steps:
        return ""
    return (
        f"note: this run was to end at step {before}, and now at step {config.total_steps}; its learning rate falls to "
        "0 at the last step, so it jumps here"
    )


def save_config(workdir: epath.PathLike, config: Any) -> None:
    """Writes `config.json` into a workdir or a model directory.

    Raises:
        ValueError: see `check_config`.
    """
    check_config(workdir, config)
    path = epath.Path(workdir) / directories.CONFIG
    if jax.process_index() == 0:
        with outputs.in_one_piece(path) as unfinished:
            unfinished.write_text(config_lib.to_json(config))


def load_config(workdir: epath.PathLike, kind: type[Kind]) -> Kind:
    """Reads `config.json` of a workdir or a model directory as a config of this kind.

    Raises:
        FileNotFoundError: there is none; the message says what to do.
        ValueError: the file is not a config of this program, or is of another kind.
    """
    path = epath.Path(workdir) / directories.CONFIG
    if not path.exists():
        raise FileNotFoundError(directories.missing_model(path.parent))
    try:
        values = directories.read_object(path)
        if not directories.is_config(values):
            raise ValueError("it is no config of this program; give another --workdir")
        if directories.run_kind(values, kind) is kind:
            return config_lib.from_values(values, kind)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    wanted = directories.RUNS[kind][0]
    raise ValueError(f"{workdir} holds {directories.describe_run(values)}, not of {wanted}; give another --workdir")


class Lock:
    """Locks a local workdir until the run ends; the first process of a run holds the lock.

    The operating system releases the lock of a process that dies. Remote workdirs are not locked. An error that ends
    the block is explained where its cause is the workdir: a full disk, or a folder that is gone.
    """

    def __init__(self, workdir: epath.PathLike):
        """Takes the lock; the workdir is created if missing.

        Raises:
            ValueError: another run has the lock; the message names its process.
            OSError: the workdir cannot be written.
        """
        self._folder = epath.Path(workdir)
        self._file: TextIO | None = None
        self._place: tuple[int, int] | None = None
        owner = None
        if jax.process_index() == 0 and not outputs.is_remote(workdir):
            owner = self._take(epath.Path(workdir))
        free = owner is None
        if jax.process_count() > 1:  # so that all end, and none waits for the first
            free = bool(multihost_utils.broadcast_one_to_all(np.int32(free)))
        if not free:
            raise ValueError(
                f"{workdir} is in use by another run ({_describe_owner(owner or '')}); wait for it, stop it, or give "
                "another --workdir"
            )

    def _take(self, folder: epath.Path) -> str | None:
        """Takes the lock and returns None, or returns the text of the lock file about the process that has it."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = open(folder / LOCK, "a+")
        except OSError as error:
            reason = f"cannot be written ({error.strerror}); give another --workdir"
            raise OSError(error.errno, reason, os.fspath(folder)) from error
        self._place = outputs.file_key(folder)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                file.seek(0)
                return file.read()
        except OSError:  # a file system without locks
            file.close()
            return None
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        with contextlib.suppress(OSError):  # on a full disk it is locked all the same
            file.truncate(0)
            os.write(file.fileno(), (json.dumps(owner) + "\n").encode())
        self._file = file
        return None

    def check(self) -> None:
        """Raises `OSError` when the folder that was locked is no longer at its path: it was removed or unmounted."""
        if self._place is not None and outputs.file_key(self._folder) != self._place:
            raise OSError(
                errno.ENOENT,
                "the folder of this run is gone (removed, moved or unmounted); bring it back and run the same command "
                "again, which resumes from the last checkpoint",
                os.fspath(self._folder),
            )

    def __enter__(self) -> Lock:
        """Returns itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *rest: object) -> None:
        """Releases the lock; the file stays, so that no two processes lock different ones."""
        if self._file is not None:
            self._file.close()
        if isinstance(error, Exception):
            self.check()
        if isinstance(error, OSError) and error.errno in data_dir.FULL:
            free = data_dir.describe_free_space(self._folder)
            reason = f"{data_dir.FULL[error.errno]} ({free}); make room and run the same command again, which resumes"
            raise OSError(error.errno, reason, os.fspath(error.filename or self._folder)) from error


def _describe_owner(text: str) -> str:
    """Returns the process that holds a lock, in words."""
    try:
        owner = json_text.parse(text)
        return f"process {owner['pid']} on {owner['host']} since {owner['since']}"
    except (ValueError, KeyError, TypeError):  # about to be written
        return "a process that has just started"


def _differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yields the name and the two values of every field that differs."""
    for field in dataclasses.fields(old):
        a, b = getattr(old, field.name), getattr(new, field.name)
        if dataclasses.is_dataclass(a):
            yield from _differences(a, b, f"{path}{field.name}.")
        elif a != b:
            yield f"{path}{field.name}", a, b
