"""Requests worked on one at a time, each within a time limit."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
_LOOK = 0.5  # seconds between two looks at whether the server is stopping


class Deadline:
    """The time at which a request must be answered."""

    def __init__(self, seconds: float):
        """Starts the time."""
        self._seconds, self._end = seconds, time.monotonic() + seconds

    def check(self) -> None:
        """Checks the time; called between two steps of long work.

        Raises:
            TimeoutError: the time is over.
        """
        if time.monotonic() > self._end:
            raise self.error()

    def error(self) -> TimeoutError:
        """Returns the error of a request that takes too long."""
        return TimeoutError(
            f"this took longer than {self._seconds:g} seconds and was given up; choose fewer faces or a smaller photo"
        )


class Worker:
    """One thread that does all work, so that requests do not slow each other down.

    A compiled computation cannot be stopped: after a timeout it goes on to its end, or to the next check of its
    deadline, and the next request waits for it.
    """

    def __init__(self) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="worker")
        self._calls: set[object] = set()
        self.closed = False

    @property
    def busy(self) -> bool:
        """A request is being worked on, or waits."""
        return bool(self._calls)

    def run(self, work: Callable[[Deadline], Result], seconds: float) -> Result:
        """Waits for its turn, in the order of the calls, and does the work.

        Args:
            work: function of the deadline.
            seconds: time limit, from the turn on.

        Returns:
            The result of the function.

        Raises:
            TimeoutError: the work takes longer, or the worker is closed.
        """
        begun = threading.Event()

        def begin() -> Result:
            begun.set()
            return work(Deadline(seconds))

        future = self._pool.submit(begin)
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        while not begun.wait(_LOOK):
            if future.cancelled():
                raise TimeoutError("the server is stopping")
        done, _ = concurrent.futures.wait([future], seconds)
        if not done:
            raise Deadline(seconds).error()
        return future.result()

    def close(self) -> None:
        """Ends the thread; work that is going on is not waited for."""
        self.closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
