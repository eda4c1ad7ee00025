"""Ctrl-C and SIGTERM as a flag that a loop checks between two steps."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
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


@contextlib.contextmanager
def ending_at_once(last_words: str) -> Iterator[Callable[[], None]]:
    """Ends the process at the first SIGTERM or Ctrl-C, also during a compilation, when no handler of Python runs.

    It is for the time in which there is nothing to save. It does nothing in a notebook or a Python shell, whose process
    is the user's, nor outside of the main thread. Python must have handlers for the signals, such as `stop_asked`.

    Args:
        last_words: line that is printed to stderr.

    Yields:
        A function that ends the time; so does the end of the block.
    """
    interactive = sys.flags.interactive or hasattr(sys, "ps1") or "IPython" in sys.modules
    if interactive or threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    numbers = int(signal.SIGTERM), int(signal.SIGINT)

    def watch() -> None:
        while received := os.read(reading, 1):
            if received[0] in numbers:
                os.write(2, f"\n{last_words}\n".encode())
                for worker in multiprocessing.active_children():
                    worker.terminate()
                os._exit(130)

    watcher = threading.Thread(target=watch, daemon=True)
    former = signal.set_wakeup_fd(writing)

    def end() -> None:
        if watcher.is_alive():
            signal.set_wakeup_fd(former)
            os.close(writing)
            watcher.join()
            os.close(reading)

    watcher.start()
    try:
        yield end
    finally:
        end()
