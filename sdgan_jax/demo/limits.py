"""Limits of a visitor's requests: sizes of an upload, seconds, and faces."""

from __future__ import annotations

from typing import NamedTuple

LEFTOVERS = 600  # seconds after which an upload that nobody took is deleted: others may wait in the queue before it


class Limits(NamedTuple):
    """Limits of a request.

    Attributes:
        megabytes: size of an uploaded file, in units of 2**20 bytes.
        megapixels: size of an uploaded picture; a larger one is not decoded.
        seconds: time for an answer.
        faces: number of faces of a photo that are offered, the largest.
    """

    megabytes: int = 20
    megapixels: int = 50
    seconds: float = 120.0
    faces: int = 12
