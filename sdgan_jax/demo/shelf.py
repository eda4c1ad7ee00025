"""A shelf holds the photos and results of visitors in memory: each for a while, and as many as fit."""

from __future__ import annotations

import collections
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

MAX_BYTES, SECONDS = 2**30, 1800.0  # of a shelf, by default
GONE = "the photo is no longer kept here; upload it again"


class _Kept(NamedTuple):
    value: Any
    size: int
    until: float


class Shelf:
    """Values by tokens that cannot be guessed. Safe for several threads."""

    def __init__(self, max_bytes: int = MAX_BYTES, seconds: float = SECONDS, now: Callable[[], float] = time.monotonic):
        """Opens an empty shelf.

        Args:
            max_bytes: largest sum of the sizes; the values that were used least recently make room.
            seconds: time after its last use from which on a value is not kept.
            now: the clock, in seconds.
        """
        self._max_bytes, self._seconds, self._now = max_bytes, seconds, now
        self._kept: collections.OrderedDict[str, _Kept] = collections.OrderedDict()
        self._lock = threading.Lock()

    def put(self, value: Any, size: int) -> str:
        """Keeps a value of `size` bytes, and returns its token."""
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._kept[token] = _Kept(value, size, self._now() + self._seconds)
            self._clear()
        return token

    def get(self, token: str | None) -> Any:
        """Returns the value of a token.

        Raises:
            ValueError: it is not kept (any more).
        """
        with self._lock:
            self._clear()
            if token is None or token not in self._kept:
                raise ValueError(GONE)
            kept = self._kept[token] = self._kept.pop(token)._replace(until=self._now() + self._seconds)
            return kept.value

    def drop(self, token: str | None) -> None:
        """Forgets the value of a token, if it is kept."""
        with self._lock:
            self._kept.pop(token or "", None)

    def sweep(self) -> None:
        """Forgets what was kept long enough."""
        with self._lock:
            self._clear()

    def __len__(self) -> int:
        return len(self._kept)

    def _clear(self) -> None:
        """Forgets values that are too old, and the least recently used ones that do not fit, but never the last."""
        now, newest = self._now(), next(reversed(self._kept), None)
        total = sum(kept.size for kept in self._kept.values())
        for token, kept in list(self._kept.items()):
            if kept.until < now or (total > self._max_bytes and token != newest):
                total -= self._kept.pop(token).size
