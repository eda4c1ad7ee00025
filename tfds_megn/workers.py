"""Ordered map over worker processes that import nothing but the function they run.

`multiprocessing` with `spawn` or `forkserver` imports the parent's `__main__` again in every child: that breaks a
script without a `__main__` guard and loads JAX into every child of a training launcher; `fork` is unsafe once JAX has
started its threads. A worker here is a plain `python -c` process that reads pickled `(function, task)` pairs from its
standard input and writes pickled results to its standard output. It ends when its input closes, so it never outlives
its parent.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

# Fewer tasks than this are computed here: a worker needs about a second for its imports.
_MIN_TASKS = 4
_CHILD = "from tfds_megn.workers import serve; serve()"


class _WorkerGone(Exception):
    """The worker process ended before it answered."""


def available_cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_ordered(
    function: Callable[[Task], Result], tasks: Sequence[Task], num_workers: int | None = None
) -> Iterator[Result]:
    """Yields `function(task)` for each task, in order, computed in worker processes.

    Where processes cannot be started, or one is killed (out of memory), this process computes the tasks instead:
    slower, with equal results, and with one line on the standard error.

    Args:
      function: a function at the top level of a module; it and its results must be picklable.
      tasks: the arguments, one per call.
      num_workers: number of processes; by default one per core. 0 computes in this process.

    Yields:
      The results, in the order of `tasks`.

    Raises:
      Exception: the exception that `function` raises, for the first task where it does.
    """
    num_workers = min(available_cores() if num_workers is None else num_workers, len(tasks))
    processes = _start(num_workers) if num_workers > 0 and len(tasks) >= _MIN_TASKS else []
    if not processes:
        yield from map(function, tasks)
        return
    pool = _Pool(processes)
    try:
        # A window bounds the memory that finished but not yet consumed results take.
        waiting: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
        for task in tasks:
            waiting.append(pool.submit(function, task))
            if len(waiting) >= 4 * len(processes):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.close()


class _Pool:
    """Worker processes, and for each of them a thread that sends it tasks."""

    def __init__(self, processes: list[subprocess.Popen]):
        self._processes = processes
        self._idle: queue.SimpleQueue[subprocess.Popen | None] = queue.SimpleQueue()  # None replaces a dead worker.
        for process in processes:
            self._idle.put(process)
        self._threads = concurrent.futures.ThreadPoolExecutor(len(processes))
        self._closed = threading.Event()

    def submit(self, function: Callable[[Task], Result], task: Task) -> concurrent.futures.Future[Result]:
        """Starts one task as soon as a worker is idle."""
        return self._threads.submit(self._run, function, task)

    def _run(self, function: Callable[[Task], Result], task: Task) -> Result:
        """Computes one task in an idle worker, or in this process when the worker has died."""
        process = self._idle.get()
        try:
            if process is not None:
                return _ask(process, function, task)
        except _WorkerGone:
            process = None
            if self._closed.is_set():
                raise
            _say_fallback("a worker process ended early")
        finally:
            self._idle.put(process)
        return function(task)

    def close(self) -> None:
        """Ends the workers, with their tasks unfinished if need be."""
        self._closed.set()
        for process in self._processes:
            process.kill()
        self._threads.shutdown(cancel_futures=True)  # A thread that waits for an answer sees the end of its worker.
        for process in self._processes:
            with contextlib.suppress(BrokenPipeError), process:  # Closes the pipes and waits for the end.
                pass


def _start(num_workers: int) -> list[subprocess.Popen]:
    """Starts workers with the module search path of this process; returns [] where none can be started."""
    package_root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    search_path = [path or os.getcwd() for path in sys.path] + [package_root]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(search_path))
    # One core per worker: numpy's own threads would compete with the other workers.
    environment.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    # glibc would return the memory of each array to the system and ask for it again: a third of the time at 256 pixels.
    environment.update(dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(2**28)))
    processes = []
    try:
        for _ in range(num_workers):
            # -P: a file of the working directory must not shadow a module.
            command = [sys.executable, "-P", "-c", _CHILD]
            processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment))
    except (OSError, ValueError, TypeError) as error:
        if not processes:
            _say_fallback(str(error))
    return processes


def _say_fallback(reason: str) -> None:
    """Reports that tasks are computed in this process."""
    print(f"tfds_megn: no worker process ({reason}); going on in this process, slower", file=sys.stderr)


def _ask(process: subprocess.Popen, function: Callable, task: Any) -> Any:
    """Sends one task and waits for its answer."""
    assert process.stdin is not None and process.stdout is not None
    try:
        pickle.dump((function, task), process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
        process.stdin.flush()
        succeeded, answer = pickle.load(process.stdout)
    except (EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        raise _WorkerGone() from error
    if not succeeded:
        raise answer
    return answer


def serve() -> None:
    """Answers tasks until the standard input closes. Runs in a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent handles Ctrl-C.
    tasks = sys.stdin.buffer
    # Output that a library prints goes to the standard error, so that it does not mix with the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    while True:
        try:
            function, task = pickle.load(tasks)
        except EOFError:
            return
        try:
            answer = (True, function(task))
        except Exception as error:
            answer = (False, error)
        try:
            data = pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            data = pickle.dumps((False, RuntimeError(f"{answer[1]!r} cannot be sent back ({error})")))
        try:
            answers.write(data)
            answers.flush()
        except BrokenPipeError:
            return
