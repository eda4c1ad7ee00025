"""Ctrl-C and SIGTERM as a flag that a loop checks between two steps."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def stop_asked(answer: str = "") -> Iterator[Callable[[], bool]]:
    """Records the first SIGTERM or Ctrl-C for the loop to check; a second one acts at once.

    A KeyboardInterrupt raised in the middle of a step may be lost: Python ignores exceptions in callbacks of its
    garbage collector, and JAX has such a callback.

    Args:
        answer: line that is printed to stderr when the signal arrives.

    Yields:
        A function that returns whether a signal has arrived.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # Signals reach the main thread only.
        yield lambda: False
        return

    def ask(number: int, frame: object) -> None:
        del frame
        asked.append(number)
        signal.signal(number, former[number])
        if answer:
            os.write(2, f"\n{answer}\n".encode())  # print() is not safe here

    numbers = (int(signal.SIGTERM), int(signal.SIGINT))
    former = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
