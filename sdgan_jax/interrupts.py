"""Ctrl-C and SIGTERM as a question that a loop asks between two pieces of work."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def stop_asked(answer: str = "") -> Iterator[Callable[[], bool]]:
    """Keeps SIGTERM and the first Ctrl-C until the loop asks; a second one acts at once.

    Raised in the middle of the work, a KeyboardInterrupt may be lost: Python ignores what is raised in callbacks of its
    garbage collector, and JAX has one.

    Args:
        answer: a line that the user sees on stderr when the signal comes.

    Yields:
        Whether a signal came.
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
