"""The training loop: batches in, checkpoints, pictures and logs out. It reads top to bottom in `train`."""

from __future__ import annotations

import contextlib
import json
import math
import signal
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np
import tensorboardX
import tqdm
from etils import epath

from sdgan_jax import data, pictures
from sdgan_jax.config import Config
from sdgan_jax.training import accumulation, checkpoint, joint_step, sharding, sheets, weights
from sdgan_jax.training.state import State, init_state, make_networks

LOSSES = (
    "l_adv_g",
    "l_adv_d",
    "l_att_g",
    "l_att_d",
    "l_id_g",
    "l_rec_f",
)  # the six of the SD-GAN pseudo-code
IN_FLIGHT = 3  # steps that may wait on the device before the host waits for the oldest

Score = Callable[[State], float]  # higher is better


def train(config: Config, workdir: epath.PathLike, score: Score | None = None) -> State:
    """Trains, or resumes where the workdir's newest checkpoint left off.

    Writes into the workdir: `config.json`, `checkpoints/`, `samples/x_hat_*.png` and `x_rec_*.png`, `metrics.jsonl`,
    and TensorBoard event files.

    Args:
        config: validated.
        workdir: local or remote directory; made when it is not there.
        score: judges the state at every checkpoint; decides which one is kept as the best.

    Returns:
        The state after `config.total_steps`.

    Raises:
        FloatingPointError: a loss is NaN or infinite; the last good checkpoint stays.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, once the state is saved.
        ValueError, FileNotFoundError: the workdir, the data or the devices do not fit the config.
    """
    workdir = epath.Path(workdir)
    mesh = sharding.make_mesh(config.batch_size)
    _check(config, mesh.size)
    batches = data.train_iterator(config, jax.process_index(), jax.process_count())
    nets = make_networks(config)
    reals = data.first_images(config, sheets.PAIRS * config.num_attributes) if config.source == "data" else None
    draw = sheets.make_sheets(config, nets, reals)
    step = sharding.map_step(joint_step.make_step(config), mesh)
    with (
        checkpoint.Checkpoints(workdir, config) as checkpoints,
        _Log(workdir, config) as log,
        _stop_asked() as stop,
    ):
        state = _first_state(config, mesh, checkpoints, batches, log)
        done = int(state.step)
        log.start(done)
        pending: list[joint_step.Metrics] = []
        while done < config.total_steps:
            state, metrics = step(state, sharding.put_batch(next(batches), mesh, config.discriminator.mbstd_group))
            done += 1
            pending.append(metrics)
            if len(pending) >= IN_FLIGHT:
                jax.block_until_ready(pending[-IN_FLIGHT])
            log.advance()

            stopped = stop() or checkpoints.reached_preemption(done)
            final = done == config.total_steps
            save = stopped or final or done % config.checkpoint_every == 0
            if save or done % config.log_every == 0:  # never save what was not checked
                log.write(done, _means(pending, done, checkpoints))
                pending = []
            if final or done % config.sample_every == 0:
                log.write_sheets(done, draw(state))
            if save:
                # Told to stop, there may be seconds left: save first of all, unscored.
                checkpoints.save(done, state, batches, score(state) if score and not stopped else None)
            if stopped:
                checkpoints.wait()
                raise KeyboardInterrupt(f"stopped and saved at step {done}; the same command resumes there")
        batches.close()
    return state


def _check(config: Config, devices: int) -> None:
    """Refuses what a config may describe, but a run on so many devices cannot do."""
    if config.generator.label_dim or config.discriminator.label_dim:
        raise ValueError(
            "config.generator.label_dim and config.discriminator.label_dim must be 0: conditional networks are read "
            "and drawn with, but SD-GAN trains by its attributes; --config.init takes what fits of their weights"
        )
    accumulation.check(config, devices)


def _first_state(
    config: Config,
    mesh: jax.sharding.Mesh,
    checkpoints: checkpoint.Checkpoints,
    batches: data.BatchIterator,
    log: _Log,
) -> State:
    """The newest checkpoint, or a fresh state, from `config.init` where that is given."""
    state = jax.jit(lambda: init_state(config), out_shardings=sharding.replicated(mesh))()
    if checkpoints.latest_step is not None:
        state = checkpoints.restore(state, batches)
        log.say(f"Resuming at step {int(state.step)} of {checkpoints.directory.parent}")
    elif config.init:
        state, taken = weights.start_from(state, config, config.init)
        state = jax.device_put(state, sharding.replicated(mesh))
        log.say(taken)
    return state


def _means(pending: list[joint_step.Metrics], done: int, checkpoints: checkpoint.Checkpoints) -> dict[str, float]:
    """Fetches the metrics of the last steps, checks every one, and averages over the steps that measured them."""
    fetched = jax.device_get(pending)
    for index, metrics in enumerate(fetched):
        for name, (value, _) in metrics.items():
            if not math.isfinite(value):
                step, latest = done - len(fetched) + index + 1, checkpoints.latest_step
                kept = f"the checkpoint of step {latest} is kept" if latest else "there is no checkpoint yet"
                raise FloatingPointError(
                    f"{name} is {value} at step {step}; {kept}; lower the learning rates "
                    "(--config.adam_g.learning_rate, --config.adam_d.learning_rate) or raise --config.losses.r1"
                )
    table = {name: np.stack([metrics[name] for metrics in fetched]) for name in fetched[0]}  # [steps,2]
    return {name: float(v[:, 0].sum() / v[:, 1].sum()) for name, v in table.items() if v[:, 1].sum()}


@contextlib.contextmanager
def _stop_asked() -> Iterator[Callable[[], bool]]:
    """Turns SIGTERM and the first Ctrl-C into a question that the loop asks after each step."""
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        del frame
        asked.append(number)
        signal.signal(number, previous[number])  # a second one ends the process at once

    previous = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class _Log:
    """What a run tells: a progress bar and lines on the terminal, `metrics.jsonl`, TensorBoard, PNG sheets.

    In a run of several processes, only the first one tells anything.
    """

    def __init__(self, workdir: epath.Path, config: Config):
        self._workdir, self._config = workdir, config
        self._speaks = jax.process_index() == 0
        self._bar: tqdm.tqdm | None = None
        self._events = tensorboardX.SummaryWriter(str(workdir), flush_secs=10) if self._speaks else None
        self._since, self._steps = time.monotonic(), 0

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._events is not None:
            self._events.close()

    def say(self, line: str) -> None:
        """Prints a line above the progress bar."""
        if self._speaks:
            tqdm.tqdm.write(line)

    def start(self, done: int) -> None:
        """Starts the progress bar and the clock."""
        self._bar = tqdm.tqdm(
            total=self._config.total_steps,
            initial=done,
            desc="compiling",  # until the first step is done
            unit="step",
            dynamic_ncols=True,
            mininterval=0.5,
            disable=not self._speaks,
        )
        self._since, self._steps = time.monotonic(), 0

    def advance(self) -> None:
        """Counts a step."""
        assert self._bar is not None
        if self._bar.desc.startswith("compiling"):
            self._bar.set_description("training", refresh=False)
        self._bar.update()
        self._steps += 1

    def write(self, done: int, means: dict[str, float]) -> None:
        """Writes the averages since the last call, with kimg and images per second."""
        assert self._bar is not None
        now = time.monotonic()
        kimg = done * self._config.batch_size / 1000
        rate = self._steps * self._config.batch_size / (now - self._since)
        self._since, self._steps = now, 0
        if not self._speaks or self._events is None:
            return
        self._bar.set_postfix_str(f"kimg {kimg:.1f}, {rate:.0f} images/s")
        self.say(f"step {done}  " + "  ".join(f"{name} {means[name]:.3f}" for name in LOSSES if name in means))
        record = {"step": done, "kimg": kimg, "images_per_second": rate} | means
        with (self._workdir / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
        for name, value in record.items():
            self._events.add_scalar(name, value, done)

    def write_sheets(self, done: int, drawn: dict[str, np.ndarray]) -> None:
        """Writes the sheets as `samples/<name>_<step>.png` and to TensorBoard."""
        if not self._speaks or self._events is None:
            return
        for name, sheet in drawn.items():
            pictures.write_png(self._workdir / "samples" / f"{name}_{done:06d}.png", sheet)
            self._events.add_image(name, sheet, done, dataformats="HWC")
