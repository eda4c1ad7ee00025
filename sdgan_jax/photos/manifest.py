"""manifest.csv in a folder of results: a row for each face, or for a photo the reason why it has no result."""

from __future__ import annotations

import collections
import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from etils import epath

from sdgan_jax import outputs
from sdgan_jax.data.photo_files import PhotoFile
from tfds_megn.listing import printable

SOURCE = ("source_bytes", "source_mtime_ns", "settings")  # columns that must be the same for a result to be kept

Row = dict[str, Any]  # a row by column


def columns_of(columns: Sequence[str]) -> tuple[str, ...]:
    """Returns the columns of a manifest: those of a command, and those of the state of its photos."""
    return (*columns, *SOURCE)


def describe_settings(settings: Mapping[str, Any]) -> str:
    """Returns a short text that differs where settings, plain values by name, differ."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def state_columns(path: epath.Path, settings: str) -> Row:
    """Returns the columns of a photo's state: size, time of change, and the settings of `describe_settings`."""
    return dict(zip(SOURCE, (*_state(path), settings), strict=True))


def describe_states(photos: Iterable[PhotoFile], settings: Mapping[str, Any]) -> dict[str, Row]:
    """Returns the columns of the state of photos by their names; see `state_columns`."""
    described = describe_settings(settings)
    return {photo.name: state_columns(photo.path, described) for photo in photos}


def encode(rows: Sequence[Row], columns: Sequence[str]) -> bytes:
    """Returns rows as lines of UTF-8."""
    table = io.StringIO(newline="")
    csv.DictWriter(table, columns, lineterminator="\n").writerows(rows)
    return table.getvalue().encode("utf-8", "backslashreplace")


def load(path: epath.Path) -> bytes | None:
    """Returns the bytes of a manifest; None where there is no file.

    Raises:
        ValueError: the path is a folder.
    """
    try:
        return path.read_bytes() if outputs.exists(path) else None
    except IsADirectoryError as error:
        raise _unreadable(path) from error


def check_own(content: bytes, path: epath.Path, columns: Sequence[str], by: str) -> None:
    """Raises `FileExistsError` for the bytes of a file that is no manifest with these columns, of the command `by`."""
    if content.partition(b"\n")[0] != ",".join(columns).encode():
        raise outputs.foreign(path, by)


def parse(content: bytes | None, path: epath.Path, columns: Sequence[str], by: str) -> dict[str, list[Row]]:
    """Parses the bytes of a manifest.

    Args:
        content: see `load`.
        path: path of the file, for errors.
        columns: columns of the command, see `columns_of`.
        by: name of the command.

    Returns:
        The rows by the label of their photo.

    Raises:
        FileExistsError: the file is not one of this command.
        ValueError: it cannot be read.
    """
    rows: dict[str, list[Row]] = collections.defaultdict(list)
    if content is None:
        return rows
    check_own(content, path, columns, by)
    try:
        for row in csv.DictReader(io.StringIO(content.decode(), newline="")):
            if None in row or None in row.values():  # more or fewer cells than columns
                raise csv.Error
            rows[row["file"]].append(row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path) from error
    return rows


def _unreadable(path: epath.Path) -> ValueError:
    return ValueError(f"{printable(path)} is no manifest that can be read; move it away")


def _state(path: epath.Path) -> tuple[str, str]:
    """Returns size and modification time of a photo as in the manifest; empty if they are unknown."""
    try:
        if outputs.is_remote(path):
            status = path.stat()
            return str(status.length), str(status.mtime)
        local = os.stat(path)
    except OSError:
        return "", ""
    return str(local.st_size), str(local.st_mtime_ns)
