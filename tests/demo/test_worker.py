"""One request at a time, within its time."""

import subprocess
import sys
import threading
import time

import pytest

from sdgan_jax.demo.worker import Deadline, Worker


def test_requests_do_not_overlap():
    worker, working, results = Worker(), [0], []

    def work(end):
        working[0] += 1
        time.sleep(0.01)
        alone = working[0] == 1
        working[0] -= 1
        return alone

    threads = [threading.Thread(target=lambda: results.append(worker.run(work, 10))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 8


def test_a_request_that_takes_too_long_is_given_up_and_the_next_is_answered():
    worker, stopped = Worker(), threading.Event()

    def work(end):
        try:
            while True:
                time.sleep(0.005)
                end.check()
        finally:
            stopped.set()

    with pytest.raises(TimeoutError, match=r"this took longer than 0.05 seconds and was given up; choose fewer faces"):
        worker.run(work, 0.05)
    assert worker.run(lambda end: "answer", 10) == "answer"
    assert stopped.is_set()


def test_an_error_is_that_of_the_work():
    def fail(end):
        raise ValueError("no face 7")

    with pytest.raises(ValueError, match="no face 7"):
        Worker().run(fail, 10)


def test_a_deadline_is_checked():
    Deadline(10).check()
    with pytest.raises(TimeoutError):
        Deadline(-1).check()


def test_calls_are_answered_in_their_order():
    """A thread that calls again and again, as the compilation does, does not keep others waiting."""
    worker, counts = Worker(), []
    busy, stop = threading.Event(), threading.Event()

    def call_again():
        while not stop.is_set():
            worker.run(lambda end: (counts.append(1), busy.set(), time.sleep(0.02)), 10)

    thread = threading.Thread(target=call_again)
    thread.start()
    busy.wait()
    before = len(counts)
    worker.run(lambda end: None, 10)
    assert len(counts) <= before + 2
    stop.set()
    thread.join()


def test_a_request_to_a_closed_worker_is_refused_in_one_line():
    worker = Worker()
    worker.run(lambda end: None, 10)
    worker.close()
    with pytest.raises(TimeoutError, match="^the server is stopping$"):
        worker.run(lambda end: None, 10)


def test_requests_that_run_or_wait_are_given_up_when_the_worker_is_closed():
    worker, errors, begun, stop = Worker(), [], threading.Event(), threading.Event()

    def ask():
        try:
            worker.run(lambda end: (begun.set(), stop.wait(20)), 20)
        except TimeoutError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    worker.close()
    for thread in threads:
        thread.join(10)
    stop.set()
    assert errors == ["the server is stopping"] * 2


def test_the_process_does_not_wait_for_its_work_at_the_end():
    program = """
import contextlib, time
from sdgan_jax.demo.worker import Worker
worker = Worker()
with contextlib.suppress(TimeoutError):
    worker.run(lambda end: time.sleep(600), 0.1)
worker.close()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
