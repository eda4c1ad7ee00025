"""Wall time of a training: the share that advanced it, over all starts (goodput), and what the rest went into.

The file `goodput.json` in the workdir has the time of the first start, and for each checkpoint the seconds of steps
that led to it. A start that goes on from a checkpoint continues with its seconds, so that steps which a crash or a
rollback threw away, and the time between two starts, count as lost.
"""

from __future__ import annotations

import collections
import json
import time
from collections.abc import Callable
from typing import Literal

from etils import epath

from sdgan_jax import outputs
from tfds_megn import json_text

GOODPUT = "goodput.json"
Kind = Literal["start", "steps", "input", "output"]
_WORDS: dict[Kind, str] = {
    "steps": "in steps",
    "input": "waiting for data",
    "start": "in start and compilation",
    "output": "in pictures, measurements and checkpoints",
}


class Clock:
    """Divides the time since a start into kinds.

    Attributes:
        seconds: seconds of each kind since the start of this process.
    """

    def __init__(
        self,
        workdir: epath.PathLike,
        writes: bool = True,
        stopwatch: Callable[[], float] = time.monotonic,
        calendar: Callable[[], float] = time.time,
    ):
        """Starts with the kind "start".

        Args:
            workdir: folder of the training.
            writes: whether `goodput.json` is written.
            stopwatch: clock in seconds that is never set.
            calendar: clock in seconds that goes on between two starts.
        """
        self._path, self._writes = epath.Path(workdir) / GOODPUT, writes
        self._stopwatch, self._calendar = stopwatch, calendar
        self._since = stopwatch()
        self.seconds: dict[Kind, float] = collections.defaultdict(float)
        self._interval: dict[Kind, float] = collections.defaultdict(float)
        self._first, self._saved = calendar(), {0: 0.0}  # time of the first start; seconds of steps by step
        self._elapsed = self._kept = 0.0  # until this start: seconds since the first one, seconds of steps

    def start(self, done: int) -> None:
        """Continues the count of `goodput.json` at a step, and drops that of later steps."""
        self._read()
        self._saved = {step: seconds for step, seconds in self._saved.items() if step <= done}
        self._kept = self._saved[max(self._saved)] - self.seconds["steps"]
        here = sum(self.seconds.values())
        # Where the calendar was set back, no time passed between the starts.
        self._elapsed = max(self._calendar() - self._first - here, self._elapsed, self._kept)
        self._write()

    def mark(self, kind: Kind) -> None:
        """Counts the time since the last mark as of this kind."""
        now = self._stopwatch()
        self.seconds[kind] += now - self._since
        self._interval[kind] += now - self._since
        self._since = now

    def interval(self) -> tuple[float, float]:
        """Returns the seconds of steps with their input since the last call, and the share of input in all seconds."""
        past, self._interval = self._interval, collections.defaultdict(float)
        return past["steps"] + past["input"], past["input"] / max(sum(past.values()), 1e-9)

    def goodput(self) -> float:
        """Returns the share of the time since the first start that went into steps which were kept, in [0,1]."""
        return min(1.0, self._steps / max(self.elapsed, 1e-9))

    @property
    def elapsed(self) -> float:
        """Seconds since the first start."""
        return self._elapsed + sum(self.seconds.values())

    @property
    def _steps(self) -> float:
        return self._kept + self.seconds["steps"]

    def save(self, done: int) -> None:
        """Notes that a checkpoint of step `done` is being written."""
        self._saved[done] = self._steps
        self._write()

    def describe(self) -> str:
        """Returns a line with the goodput and with what the time since this start went into."""
        whole = max(sum(self.seconds.values()), 1e-9)
        shares = ", ".join(f"{self.seconds[kind] / whole:.0%} {words}" for kind, words in _WORDS.items())
        minutes, seconds = divmod(round(self.elapsed), 60)
        since = f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
        return f"Time:        {since} since the first start, goodput {self.goodput():.0%}; of this start {shares}"

    def _read(self) -> None:
        """Reads `goodput.json`; a file that is damaged counts as missing."""
        try:
            values = json_text.parse(self._path.read_text())
            saved = {int(step): float(seconds) for step, seconds in values["seconds"].items()}
            self._first, self._saved = float(values["first_start"]), {0: 0.0} | saved
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return

    def _write(self) -> None:
        """Writes `goodput.json`."""
        if self._writes:
            values = {"first_start": self._first, "seconds": self._saved}
            with outputs.in_one_piece(self._path) as unfinished:
                unfinished.write_text(json.dumps(values, indent=2) + "\n")
