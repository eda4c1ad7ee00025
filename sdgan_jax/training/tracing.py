"""Profiles of a training: a trace of a few steps, for Perfetto and XProf."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import jax
from etils import epath

from sdgan_jax import outputs

PROFILE = "profile"  # folder in the workdir
STEP = "train"  # name of a step in the trace
_WARM_UP = 3  # steps before the trace: the first ones wait for compilation


class Tracer:
    """Traces a few steps of the first process after compilation, once in a start, into `profile/` of a workdir."""

    def __init__(self, workdir: epath.Path, count: int, say: Callable[[str], None]):
        """Takes the folder of the training, the number of steps to trace (0: none), and what prints a line."""
        self._folder, self._say = workdir / PROFILE, say
        self._left = count if jax.process_index() == 0 else 0
        self._before = _WARM_UP
        self._traced: list[int] = []
        self._local = ""  # folder that the profiler writes to, while it does

    @contextlib.contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Marks the block as a step of this number, and starts the trace before the first one to be traced."""
        if self._left and not self._before and not self._local:
            self._start()
        with jax.profiler.StepTraceAnnotation(STEP, step_num=number):
            yield
        self._before = max(0, self._before - 1)
        if self._local:
            self._traced.append(number)

    def end(self, state: Any) -> bool:
        """Ends the trace when enough steps have been traced, and returns whether; `state` is that of the last one."""
        enough = bool(self._local) and len(self._traced) == self._left
        if enough:
            jax.block_until_ready(state)
            self._stop()
        return enough

    def close(self) -> None:
        """Ends a trace that is cut short by the end of the training, and says so where there is none."""
        if self._local:
            self._stop()
        elif self._left:
            self._say(f"Profile:     none: a start traces steps after its first {_WARM_UP}, and made no more")

    def _start(self) -> None:
        """Starts the profiler, without a line for every call of Python."""
        remote = outputs.is_remote(self._folder)
        self._local = tempfile.mkdtemp() if remote else os.fspath(self._folder)  # it writes local files only
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0
        jax.profiler.start_trace(self._local, create_perfetto_trace=True, profiler_options=options)

    def _stop(self) -> None:
        """Ends the profiler and says where its files are."""
        written, self._left, self._local = pathlib.Path(self._local), 0, ""
        jax.profiler.stop_trace()
        newest = max(written.glob("**/perfetto_trace.json.gz")).relative_to(written)  # its folder is named by the time
        if outputs.is_remote(self._folder):
            for path in written.glob("**/*"):
                if path.is_file():
                    target = self._folder / path.relative_to(written)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(path.read_bytes())
            shutil.rmtree(written)
        steps = f"steps {self._traced[0]} to {self._traced[-1]}" if self._traced else "no whole step"
        self._say(
            f"Profile:     {steps}; open {self._folder / newest} at https://ui.perfetto.dev, or: pip install xprof && "
            f"xprof --logdir={self._folder}"
        )
