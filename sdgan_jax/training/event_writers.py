"""Writers of a training's numbers and pictures for programs that show them: TensorBoard, and Weights & Biases."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import secrets
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from etils import epath

from sdgan_jax import config as config_lib
from sdgan_jax import outputs
from tfds_megn import json_text, listing

if TYPE_CHECKING:
    import tensorboardX

WANDB_RUN = "wandb_run.json"


class Writer(Protocol):
    """Receives what a training writes, in the order of its steps; a resumed training may repeat some."""

    def write_numbers(self, numbers: dict[str, float]) -> None:
        """Writes numbers of the step `numbers["step"]`."""

    def write_sheet(self, step: int, name: str, sheet: np.ndarray) -> None:
        """Writes a picture u8[H,W,3]."""

    def close(self) -> None:
        """Ends the writing."""


class TensorBoard:
    """Event files in the workdir, written without TensorFlow."""

    def __init__(self, workdir: epath.Path, config: Any, done: int):
        """Starts an event file; what earlier files have of steps after `done` is hidden."""
        import tensorboardX  # not at the top: it imports torch where that is installed, which takes seconds

        self._events: tensorboardX.SummaryWriter = tensorboardX.SummaryWriter(
            str(workdir), purge_step=done + 1, max_queue=1000, flush_secs=10
        )
        text = config_lib.to_json(config).replace("\n", "\n    ")  # indented text is shown as it is
        self._events.add_text("config", f"    {text}", done)

    def write_numbers(self, numbers: dict[str, float]) -> None:
        """Writes each number as a scalar of its name."""
        for name, value in numbers.items():
            if self._is_alive():
                self._events.add_scalar(name, value, numbers["step"])

    def write_sheet(self, step: int, name: str, sheet: np.ndarray) -> None:
        """Writes a picture u8[H,W,3]."""
        if self._is_alive():
            self._events.add_image(name, sheet, step, dataformats="HWC")

    def close(self) -> None:
        """Closes the file."""
        if self._is_alive():
            with contextlib.suppress(OSError):  # a full disk, which ends the training by itself
                self._events.close()

    def _is_alive(self) -> bool:
        """Returns whether the thread that writes the file lives.

        A full disk ends it; whoever fills its queue then waits for ever.
        """
        worker = self._events.file_writer.event_writer._worker
        return worker is not None and worker.is_alive()


class WeightsAndBiases:
    """A run of Weights & Biases; a workdir has one, which every start continues.

    Its id is kept in `wandb_run.json`. W&B's steps never go back: of steps that are repeated after a crash it shows
    what it received first. Its environment variables apply, such as WANDB_MODE=offline.
    """

    def __init__(self, workdir: epath.Path, config: Any):
        """Starts or continues the run of a workdir in the project `config.wandb`.

        Raises:
            ValueError: the package is not installed.
            RuntimeError: W&B refuses the run, such as without an account.
        """
        check(config)
        import wandb

        self._wandb, local = wandb, not outputs.is_remote(workdir)
        try:
            self._run = wandb.init(
                project=config.wandb,
                id=_run_id(workdir),
                resume="allow",
                name=workdir.name,
                dir=os.fspath(workdir) if local else None,
                config=dataclasses.asdict(config),
                allow_val_change=True,  # of the fields that may change from one start to the next
                settings=wandb.Settings(console="off"),  # the progress bar stays on the terminal
            )
        except wandb.Error as error:
            reason = listing.one_line(error).rstrip(".")
            raise RuntimeError(
                f"--config.wandb={config.wandb}: {reason}; log in by `wandb login`, or set WANDB_MODE=offline and "
                "upload by `wandb sync` later"
            ) from error

    def write_numbers(self, numbers: dict[str, float]) -> None:
        """Writes the numbers in one call."""
        self._run.log(numbers, step=int(numbers["step"]))

    def write_sheet(self, step: int, name: str, sheet: np.ndarray) -> None:
        """Writes a picture u8[H,W,3]."""
        self._run.log({name: self._wandb.Image(sheet)}, step=step)

    def close(self) -> None:
        """Waits until all is on disk or sent."""
        self._run.finish()


def check(config: Any) -> None:
    """Checks that what a config writes to is installed.

    Raises:
        ValueError: W&B is not installed.
    """
    if config.wandb and importlib.util.find_spec("wandb") is None:
        raise ValueError(
            f"--config.wandb={config.wandb} needs Weights & Biases: pip install -e '.[wandb]', or leave it out"
        )


def _run_id(workdir: epath.Path) -> str:
    """Returns the id of the workdir's run, made at its first start."""
    path = workdir / WANDB_RUN
    try:
        return str(json_text.parse(path.read_text())["id"])
    except (OSError, ValueError, KeyError, TypeError):
        made = secrets.token_hex(4)
        with outputs.in_one_piece(path) as unfinished:
            unfinished.write_text(json.dumps({"id": made}) + "\n")
        return made
