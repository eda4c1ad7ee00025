"""Limits that every case of a fuzz test must keep, and the number of cases.

FUZZ_CASES=100000 pytest -n 0 -s tests/fuzz runs about so many cases in all and prints the counts; without it, a few
hundred run, always the same.
"""

import collections
import contextlib
import os
import pathlib
import resource
import signal
import time

import hypothesis

from experiments import launch

SECONDS = 10  # of a processor in a case; the slowest takes two or three
MOST_SECONDS = 120  # of a case by the clock, on a busy machine
MEBIBYTES = 512  # by which the resident memory may grow in a case; a test of photos states its own
CASES = int(os.environ.get("FUZZ_CASES", "0"))
_SHARES = 1000  # of all tests together, see `cases`


class TooLong(BaseException):
    """A case took longer than `MOST_SECONDS`; no `except Exception` hides it."""


def cases(share, few):
    """Returns the settings of a test that runs `share` of a thousand parts of `FUZZ_CASES`, or a `few` cases."""
    return hypothesis.settings(
        max_examples=max(1, int(CASES * share / _SHARES)) if CASES else few,
        deadline=None,
        database=None,
        derandomize=not CASES,
        phases=[hypothesis.Phase.generate],  # shrinking a file takes minutes
        print_blob=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )


class Refused(Exception):
    """Carries a line that a launcher printed before it ended the process."""


class Tally:
    """Counts the cases of a test; as a context manager it prints them at the end."""

    def __init__(self, name, mebibytes=MEBIBYTES):
        self.name, self.mebibytes, self.counts = name, mebibytes, collections.Counter()
        self.seconds = self.slowest = self.most = 0.0

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        counts = ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items()))
        print(
            f"\n{self.name}: {sum(self.counts.values())} cases ({counts}), {self.seconds:.1f} s, "
            f"slowest {self.slowest:.2f} s, most memory {self.most:.0f} MiB"
        )

    def run(self, call, kinds, names=(), most=2000):
        """Runs a case within the limits.

        Args:
            call: reads a damaged file or another input.
            kinds: types of errors that it may raise. Each must be a mistake of the user for `launch.run`, in one line.
            names: words of which the message must contain one, such as the name of the file.
            most: length of the longest message; a message may repeat what was typed.
        """
        _reset_peak()
        before, began = _memory("VmRSS"), time.process_time()
        try:
            with _time_limit():
                call()
            self.counts["read"] += 1
        except kinds as error:
            self.counts["refused"] += 1
            _check_message(error, names, most)
        took, grown = time.process_time() - began, (_memory("VmHWM") - before) / 1024
        self.seconds += took
        self.slowest, self.most = max(self.slowest, took), max(self.most, grown)
        assert took < SECONDS, f"a case took {took:.1f} s"
        assert grown < self.mebibytes, f"a case took {grown:.0f} MiB"


def _check_message(error, names, most):
    message = launch._describe(error)
    mistake = isinstance(error, Refused) or launch._is_mistake(error)
    assert mistake, f"{type(error).__name__} would be printed with a traceback"
    assert message and len(message) < most, f"a message of {len(message)} characters"
    assert not names or any(name in message for name in names), f"nothing is named: {message}"


@contextlib.contextmanager
def _time_limit():
    def stop(*_):
        raise TooLong(f"more than {MOST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
    # Memory that is asked for and not used shows in no resident size: a request of gigabytes fails.
    limit = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1024 * _memory("VmSize") + (2 << 30), limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limit)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _memory(field):
    """Returns a field of the process's status in KiB."""
    text = pathlib.Path("/proc/self/status").read_text()
    return int(text.partition(f"{field}:")[2].split()[0])


def _reset_peak():
    """Lets VmHWM, the peak of the resident memory, start anew."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")
