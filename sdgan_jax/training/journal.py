"""Output of a training: a progress bar and lines on the terminal, `metrics.jsonl`, event writers, PNG sheets."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import tqdm
from etils import epath

from sdgan_jax import outputs, pictures
from sdgan_jax.outputs import MADE_BY
from sdgan_jax.training import event_writers
from sdgan_jax.training.clock import Clock
from sdgan_jax.training.tracing import Tracer
from tfds_megn import json_text

METRICS = "metrics.jsonl"


class Journal:
    """Writes the output of a training: progress bar, lines, `metrics.jsonl`, PNG sheets, TensorBoard's and W&B's.

    With several processes, only the first one writes; each of the others prints a line with its name at every log.
    """

    def __init__(self, workdir: epath.Path, config: Any, headline: Sequence[str]):
        """Takes the folder of the training, its config, and the names of the metrics to print (`headline`)."""
        self._workdir, self._config, self._headline = workdir, config, headline
        self._writes = jax.process_index() == 0
        self._bar: tqdm.tqdm | None = None
        self._writers: list[event_writers.Writer] = []
        self._clock, self._steps = Clock(workdir, self._writes), 0
        self._compiled = self._advanced = False
        self._tracer = Tracer(workdir, config.profile_steps, self.say)

    def __enter__(self) -> Journal:
        """Returns itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Closes the bar and the files, and prints what the time went into."""
        self._close()
        self._tracer.close()
        if self._advanced:
            memory = peak_memory()
            peak = "" if memory is None else f"; at most {memory:.2f} GiB on a device"
            self.say(self._clock.describe() + peak)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        for writer in self._writers:
            writer.close()

    def say(self, line: str) -> None:
        """Prints a line above the progress bar."""
        if self._writes:
            tqdm.tqdm.write(line)

    def start(self, done: int) -> None:
        """Starts the progress bar and the clock, and drops records of steps after `done` that a killed process left."""
        self._close()  # the training may have gone back to an earlier step
        if self._writes:
            _drop_after(self._workdir / METRICS, done)
            self._writers = [event_writers.TensorBoard(self._workdir, self._config, done)]
            if self._config.wandb:
                self._writers.append(event_writers.WeightsAndBiases(self._workdir, self._config))
            self._bar = tqdm.tqdm(
                total=self._config.total_steps,
                initial=done,
                desc="compiling",  # until the first step is done
                unit="step",
                dynamic_ncols=True,
                mininterval=0.5,
            )
        self._clock.mark("start")
        self._clock.start(done)
        self._steps, self._compiled = 0, False

    def receive(self) -> None:
        """Counts the time since the last call of this object as spent on waiting for a batch."""
        self._clock.mark("input")

    def step(self, number: int) -> contextlib.AbstractContextManager[None]:
        """Marks the block as the step of this number in a profile."""
        return self._tracer.step(number)

    def advance(self, state: Any = None) -> None:
        """Counts one step; `state` is what it returned."""
        self._clock.mark("steps" if self._compiled else "start")
        self._compiled = self._advanced = True
        self._steps += 1
        if self._tracer.end(state):
            self._clock.mark("output")
        if self._bar is not None:
            if self._bar.desc.startswith("compiling"):
                self._bar.set_description("training", refresh=False)
            self._bar.update()

    def write(self, done: int, means: dict[str, float]) -> None:
        """Writes the mean metrics since the last call, with kimg, speed, and what the machine was busy with.

        The metrics have been fetched, so all steps are done.
        """
        self._clock.mark("steps")
        seconds, input_wait = self._clock.interval()
        kimg = done * self._config.batch_size / 1000
        rate = self._steps * self._config.batch_size / max(seconds, 1e-9)
        self._steps, memory = 0, peak_memory()
        if self._bar is None:
            name = f"process {jax.process_index()} of {jax.process_count()} on {socket.gethostname()}"
            peak = "" if memory is None else f", {memory:.2f} GiB on a device"
            print(f"{name}: step {done}, {rate:.0f} images/s, {input_wait:.0%} waiting for data{peak}", flush=True)
            return
        self._bar.set_postfix_str(f"kimg {kimg:.1f}, {rate:.0f} images/s")
        self.say(f"step {done}  " + "  ".join(f"{name} {means[name]:.3f}" for name in self._headline if name in means))
        usage = {"images_per_second": rate, "input_wait": input_wait, "goodput": self._clock.goodput()}
        if memory is not None:
            usage["device_memory_gib"] = memory
        self._record({"step": done, "kimg": kimg} | usage | means)
        self._clock.mark("output")

    def write_values(self, done: int, values: dict[str, float]) -> None:
        """Prints and writes numbers that were measured at a step."""
        if self._writes:
            self.say(f"step {done}  " + "  ".join(f"{name} {value:.4g}" for name, value in values.items()))
            self._record({"step": done} | values)
        self._clock.mark("output")

    def _record(self, record: dict[str, float]) -> None:
        """Appends numbers of a step to `metrics.jsonl`, and gives them to the writers."""
        outputs.append(self._workdir / METRICS, json.dumps(record) + "\n")
        for writer in self._writers:
            writer.write_numbers(record)

    def write_sheets(self, done: int, drawn: dict[str, np.ndarray]) -> None:
        """Writes the sheets as `samples/<name>_<step>.png`, and gives them to the writers."""
        for name, sheet in drawn.items() if self._writes else ():
            try:
                pictures.write_png(self._workdir / "samples" / f"{name}_{done:06d}.png", sheet, f"{MADE_BY} train")
            except FileExistsError as error:  # a file of the user is in the way; training goes on
                self.say(str(error))
            for writer in self._writers:
                writer.write_sheet(done, name, sheet)
        self._clock.mark("output")

    def note_checkpoint(self, done: int) -> None:
        """Counts the time since the last call as spent on a checkpoint of step `done`, and the steps before as kept."""
        self._clock.mark("output")
        self._clock.save(done)


def peak_memory() -> float | None:
    """Returns the most GiB that were in use on a device of this process; None where the backend does not say (CPU)."""
    known = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [stats["peak_bytes_in_use"] for stats in known if "peak_bytes_in_use" in stats]
    return max(peaks) / 2**30 if peaks else None


def _drop_after(path: epath.Path, step: int) -> None:
    """Drops the records of steps after `step`, as a run that was killed leaves them, and a line that was cut off."""
    if not path.exists():
        return
    kept = []
    for line in path.read_bytes().decode(errors="replace").splitlines():
        try:
            if json_text.parse(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    unfinished = path.parent / f"{path.name}.tmp"
    unfinished.write_text("".join(kept))
    unfinished.replace(path)
