"""File names of results: the names of the photos, made unique for every file system."""

from __future__ import annotations

import hashlib
import itertools
import os
import posixpath
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping

from tfds_megn.listing import printable

_UNSAFE = re.compile(r"[\\\x00-\x1f\x7f-\x9f\u2028\u2029]")  # a separator on Windows; controls, ends of lines
_LONGEST = 255  # bytes; the limit of nearly every file system


def assign(
    names: Iterable[str],
    suffix: Callable[[str], str],
    count: int = 1,
    reserved: Collection[str] = (),
    kept: Mapping[str, tuple[str, ...]] | None = None,
) -> dict[str, tuple[str, ...]]:
    """Names the results of photos, in linear time.

    A result has the relative path of its photo with another suffix: "a.jpg" becomes "a.png", or "a.0.png" and "a.1.png"
    if there are several. If that name is taken, also in another case or Unicode form, the result is "a.jpg.png". Bytes
    that are not UTF-8 are replaced by text such as "_xe9", backslashes and ends of lines by "_"; spaces around a name
    are left out. Names of more than 255 bytes are cut and get a hash.

    Args:
        names: relative paths of the photos, with '/' as separator.
        suffix: function from the name of a photo to the suffix of its results, such as ".png".
        count: number of results for each photo.
        reserved: names that no result may have.
        kept: names of existing results by photo.

    Returns:
        The names of the results by photo: relative paths with '/' as separator.
    """
    names, kept = list(names), kept or {}
    barred = {_key(name) for name in reserved}
    folders = {folder: _folder(folder, barred) for folder in {posixpath.dirname(name) for name in names}}
    taken = barred | {_key(name) for results in kept.values() for name in results}
    for folder in folders.values():  # No file can have the name of a folder.
        while folder and _key(folder) not in taken:
            taken.add(_key(folder))
            folder = posixpath.dirname(folder)
    found = {}
    for name in names:
        if name not in kept:
            folder = folders[posixpath.dirname(name)]
            found[name] = _free(name, folder, _endings(suffix(name), count), taken)
            taken.update(_key(result) for result in found[name])
        else:
            found[name] = kept[name]
    return found


def _free(name: str, folder: str, endings: list[str], taken: Collection[str]) -> tuple[str, ...]:
    """Returns the first names for the results of a photo that are not taken."""
    whole = _text(posixpath.basename(name))
    hashed = (f"{whole}~{_hash(f'{name}/{k}')}" for k in itertools.count())
    for stem in itertools.chain((os.path.splitext(whole)[0], whole), hashed):
        stem = _cut(stem, _LONGEST - max(map(len, endings)), name)
        results = tuple(posixpath.join(folder, stem + ending) for ending in endings)
        if not any(_key(result) in taken for result in results):
            return results
    raise AssertionError("there is no end of hashes")


def _endings(suffix: str, count: int) -> list[str]:
    return [suffix] if count == 1 else [f".{k}{suffix}" for k in range(count)]


def _folder(folder: str, barred: Collection[str]) -> str:
    """Returns the folder of the results for a folder of photos."""
    parts = [_cut(_text(part), _LONGEST, part) if part else "" for part in folder.split("/")]
    if _key(parts[0]) in barred:
        parts[0] += "_"
    return "/".join(parts)


def _key(name: str) -> str:
    """Returns a key that is equal for names which some file system does not distinguish."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def _text(name: str) -> str:
    """Returns a name as valid UTF-8, as every file system and a line of a table can hold it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        name = printable(name)
    text = _UNSAFE.sub("_", name).strip()
    return "_" if text in ("", ".", "..") else text  # a folder " .. " shall not lead out of the results


def _cut(name: str, longest: int, source: str) -> str:
    """Cuts a name to at most `longest` bytes; a cut name ends in a hash of `source`."""
    encoded = name.encode()
    if len(encoded) <= longest:
        return name
    mark = f"~{_hash(source)}"
    return encoded[: longest - len(mark)].decode(errors="ignore") + mark


def _hash(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:8]
