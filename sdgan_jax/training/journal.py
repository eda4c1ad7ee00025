"""Output of a training: a progress bar and lines on the terminal, `metrics.jsonl`, TensorBoard, PNG sheets."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import tqdm
from etils import epath

from sdgan_jax import pictures
from sdgan_jax.outputs import MADE_BY

if TYPE_CHECKING:
    import tensorboardX

METRICS = "metrics.jsonl"


class Journal:
    """Writes the output of a training: progress bar, lines, `metrics.jsonl`, TensorBoard events and PNG sheets.

    With several processes, only the first one writes.
    """

    def __init__(self, workdir: epath.Path, config: Any, headline: Sequence[str]):
        """Takes the folder of the training, its config, and the names of the metrics to print (`headline`)."""
        self._workdir, self._config, self._headline = workdir, config, headline
        self._writes = jax.process_index() == 0
        self._bar: tqdm.tqdm | None = None
        self._events: tensorboardX.SummaryWriter | None = None
        self._since, self._steps = time.monotonic(), 0

    def __enter__(self) -> Journal:
        """Returns itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Closes the bar and the files."""
        if self._bar is not None:
            self._bar.close()
        if self._events is not None:
            self._events.close()

    def say(self, line: str) -> None:
        """Prints a line above the progress bar."""
        if self._writes:
            tqdm.tqdm.write(line)

    def start(self, done: int) -> None:
        """Starts the progress bar and the clock, and drops records of steps after `done` that a killed process left."""
        if self._writes:
            import tensorboardX  # not at the top: it imports torch where that is installed, which takes seconds

            _drop_after(self._workdir / METRICS, done)
            self._events = tensorboardX.SummaryWriter(str(self._workdir), purge_step=done + 1, flush_secs=10)
            self._bar = tqdm.tqdm(
                total=self._config.total_steps,
                initial=done,
                desc="compiling",  # until the first step is done
                unit="step",
                dynamic_ncols=True,
                mininterval=0.5,
            )
        self._since, self._steps = time.monotonic(), 0

    def advance(self) -> None:
        """Counts one step."""
        self._steps += 1
        if self._bar is not None:
            if self._bar.desc.startswith("compiling"):
                self._bar.set_description("training", refresh=False)
            self._bar.update()

    def write(self, done: int, means: dict[str, float]) -> None:
        """Writes the mean metrics since the last call, with kimg and images per second."""
        now = time.monotonic()
        kimg = done * self._config.batch_size / 1000
        rate = self._steps * self._config.batch_size / (now - self._since)
        self._since, self._steps = now, 0
        if self._bar is None or self._events is None:
            return
        self._bar.set_postfix_str(f"kimg {kimg:.1f}, {rate:.0f} images/s")
        self.say(f"step {done}  " + "  ".join(f"{name} {means[name]:.3f}" for name in self._headline if name in means))
        self._record({"step": done, "kimg": kimg, "images_per_second": rate} | means)

    def write_values(self, done: int, values: dict[str, float]) -> None:
        """Prints and writes numbers that were measured at a step, and starts the clock again."""
        self._since, self._steps = time.monotonic(), 0
        if self._events is not None:
            self.say(f"step {done}  " + "  ".join(f"{name} {value:.4g}" for name, value in values.items()))
            self._record({"step": done} | values)

    def _record(self, record: dict[str, float]) -> None:
        """Appends numbers of a step to `metrics.jsonl` and to TensorBoard's events."""
        assert self._events is not None
        with (self._workdir / METRICS).open("a") as file:
            file.write(json.dumps(record) + "\n")
        for name, value in record.items():
            self._events.add_scalar(name, value, record["step"])

    def write_sheets(self, done: int, drawn: dict[str, np.ndarray]) -> None:
        """Writes the sheets as `samples/<name>_<step>.png` and to TensorBoard."""
        if self._events is None:
            return
        for name, sheet in drawn.items():
            try:
                pictures.write_png(self._workdir / "samples" / f"{name}_{done:06d}.png", sheet, f"{MADE_BY} train")
            except FileExistsError as error:  # a file of the user is in the way; training goes on
                self.say(str(error))
            self._events.add_image(name, sheet, done, dataformats="HWC")


def _drop_after(path: epath.Path, step: int) -> None:
    """Drops the records of steps after `step`, as a run that was killed leaves them, and a line that was cut off."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    unfinished = path.parent / f"{path.name}.tmp"
    unfinished.write_text("".join(kept))
    unfinished.replace(path)
