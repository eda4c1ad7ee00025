"""Requests worked on one at a time, each within a time limit."""

from __future__ import annotations

import concurrent.futures
import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
_Request = tuple[concurrent.futures.Future, Callable[[], object]]
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
    deadline, and the next request waits for it. The end of the process does not wait for it; in the middle of work by
    JAX, a process must end by `os._exit`, as XLA aborts when it comes back to a Python that is ending.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._calls: set[object] = set()
        self.closed = False
        # Python waits at its end for the threads of an executor, but not for this one.
        threading.Thread(target=self._answer_all, name="worker", daemon=True).start()

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
        self._check_open()
        begun = threading.Event()

        def begin() -> Result:
            begun.set()
            return work(Deadline(seconds))

        future: concurrent.futures.Future[Result] = concurrent.futures.Future()
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        self._queue.put((future, begin))
        while not begun.wait(_LOOK):
            self._check_open()
        end = Deadline(seconds)
        while not concurrent.futures.wait([future], min(_LOOK, seconds)).done:
            self._check_open()
            end.check()
        return future.result()

    def close(self) -> None:
        """Gives up all requests, and ends the thread; work that is going on is not waited for."""
        self.closed = True
        self._queue.put(None)

    def _check_open(self) -> None:
        if self.closed:
            raise TimeoutError("the server is stopping")

    def _answer_all(self) -> None:
        """Answers the requests, one after the other, until the worker is closed."""
        while True:
            request = self._queue.get()
            if request is None or self.closed:
                return
            _answer(*request)
            del request  # or the photo would be kept until the next one


def _answer(future: concurrent.futures.Future, work: Callable[[], object]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)
