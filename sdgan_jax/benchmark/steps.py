"""Measured parts of a training step, each a step `(state, batch) -> (state, metrics)`.

    g_forward    generate images from latents
    d_step       generate images; gradient of D's loss on reals and fakes; Adam
    r1           gradient of R1 on the reals; Adam
    g_step       generate images and their logits; gradient of G's loss; Adam
    path_length  gradient of the path length penalty on half a batch; Adam
    f_step       gradient of F's loss; Adam
    step         the whole training step, averages included

The parts call the functions of the training step and are mapped over the devices in the same way.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from sdgan_jax.config import Config
from sdgan_jax.networks import Networks, make_networks
from sdgan_jax.training import accumulation, sharding, shards
from sdgan_jax.training.gan import joint_step, regularisers, staged
from sdgan_jax.training.gan.inputs import Batch, Inputs, check_accumulation, make_inputs, put_batch
from sdgan_jax.training.gan.joint_step import Metrics, Step
from sdgan_jax.training.gan.state import Optimizers, State, apply_gradient, gather_params, init_state, make_optimizers


def measured(config: Any) -> Config:
    """Returns the config of the training step to measure: of the recipe `staged`, that of the stage `gan`.

    Raises:
        ValueError: the config trains another network, or has no such stage.
    """
    if not isinstance(config, Config):
        raise ValueError("--config is a preset of another network; the steps of a GAN's training are measured")
    if config.recipe == "joint":
        return config
    if "gan" not in config.staged.stages:
        raise ValueError("config.staged.stages has no 'gan', the stage that is measured; add it, or take staged64.py")
    return dataclasses.replace(config, **staged.OF_GAN)


def period(config: Config) -> dict[str, dict[str, int]]:
    """Returns the kinds of step in one period of the lazy parts (R1, path length, F).

    Args:
        config: config of the measured run.

    Returns:
        A dict from names such as "step" or "step+r1+path_length" to `first`, a step number of this kind, and `count`,
        the number of such steps in a period. The most frequent kind comes first.
    """
    every = {part_of(name): interval for name, interval in config.intervals.items()}
    kinds: dict[str, dict[str, int]] = {}
    for step in range(math.lcm(*(interval for interval in every.values() if interval))):
        due = [name for name, interval in every.items() if interval and step % interval == 0]
        kind = kinds.setdefault("+".join(["step", *due]), {"first": step, "count": 0})
        kind["count"] += 1
    return dict(sorted(kinds.items(), key=lambda item: -item[1]["count"]))


def part_of(update: str) -> str:
    """Returns the name of the part that makes a lazy update, a key of `config.intervals`."""
    return "f_step" if update == "f" else update


def loop_counts(config: Config, devices: int) -> dict[str, int]:
    """Returns how often the loop over the parts of a batch (`config.accumulate`) runs, for each part of the step.

    The path length update in "step" has a count of its own.
    """
    counts = dict.fromkeys(("d_step", "r1", "g_step", "f_step", "step"), config.accumulate)
    _, path = regularisers.path_parts(config.batch_size // devices, config.accumulate)
    return counts | {"g_forward": 1, "path_length": path}


class Compiled:
    """Jitted parts of the step with a state and a batch of noise on this machine's devices.

    Attributes:
        mesh: mesh of all devices.
        steps: dict from names to the jitted parts that the config has.
        state: current training state; each part replaces it by its result.
        batch: batch on the devices.
    """

    def __init__(self, config: Config) -> None:
        """Creates the state and the batch.

        Raises:
            ValueError: the batch size is not divisible among the devices.
        """
        nets = make_networks(config)
        self.mesh = sharding.make_mesh(config.batch_size, fsdp=config.fsdp)
        check_accumulation(config, self.mesh.size)
        self.steps = {name: sharding.map_step(step, self.mesh) for name, step in make_steps(nets).items()}
        self._loops = loop_counts(config, self.mesh.size)
        self._first = {name: kind["first"] for name, kind in period(config).items()}
        self._in_program: dict[str, float] = {}  # FLOPs in the program of a part, whose loop is in it once
        self._replicated = sharding.replicated(self.mesh)
        self.state: State = sharding.make_state(lambda: init_state(nets), self.mesh)
        rng, rows = np.random.default_rng(config.seed), config.batch_size
        attributes = np.eye(config.num_attributes, dtype=np.float32)[np.arange(rows) % config.num_attributes]
        images = rng.integers(0, 256, (rows, config.resolution, config.resolution, 3), dtype=np.uint8)
        group = config.discriminator.mbstd_group
        self.batch = put_batch({"image": images, "attributes": attributes}, self.mesh, group)

    def compile(self, name: str) -> dict[str, float]:
        """Compiles a part.

        Returns:
            `flops`, `memory_bytes` and, as a part of these, `argument_bytes` (state and batch) of one device, and
            `compile_seconds`, which includes tracing. The FLOPs of "step" count every lazy part.

        Raises:
            RuntimeError: the backend does not report FLOPs and memory.
        """
        start = time.perf_counter()
        lowered = self.steps[name].lower(self.state, self.batch)
        compiled = lowered.compile()  # cached by jax for the first call
        seconds = time.perf_counter() - start
        # On GPU convolutions become cuDNN calls, whose operations XLA no longer counts after compilation.
        costs = (lowered if jax.default_backend() == "gpu" else compiled).cost_analysis()
        memory = compiled.memory_analysis()
        if costs is None or memory is None:
            raise RuntimeError(f"the backend {jax.default_backend()} does not report the FLOPs and memory of a program")
        held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
        self._in_program[name] = costs["flops"]
        return {
            "flops": self._flops(name),
            "argument_bytes": memory.argument_size_in_bytes,
            "memory_bytes": held + memory.temp_size_in_bytes,
            "compile_seconds": seconds,
        }

    def _flops(self, name: str) -> float:
        """Returns the FLOPs of a compiled part: XLA counts the body of a loop once."""
        flops, again = self._in_program[name] * self._loops[name], self._loops[name] - self._loops["path_length"]
        if name == "step" and "path_length" in self.steps and again:
            if "path_length" not in self._in_program:
                self.compile("path_length")
            flops -= again * self._in_program["path_length"]
        return flops

    def run(self, part: str, calls: int = 1) -> None:
        """Runs a part, or a kind of step (see `period`), `calls` times and waits for the last result."""
        step = self.steps[part.split("+")[0]]
        for _ in range(calls):
            if part in self._first:
                number = jax.device_put(np.int32(self._first[part]), self._replicated)
                self.state = dataclasses.replace(self.state, step=number)
            self.state, _ = step(self.state, self.batch)
        jax.block_until_ready(self.state)


def make_steps(nets: Networks) -> dict[str, Step]:
    """Returns a dict from names to the per-device steps of all parts that the networks' config has."""
    config = nets.config
    optimizers, every = make_optimizers(config), config.intervals
    loss_d, loss_g, loss_f = joint_step.loss_d, joint_step.loss_g, joint_step.loss_f

    def g_forward(state: State, batch: Batch) -> tuple[State, Metrics]:
        images = _generate(nets, gather_params(state), make_inputs(config, state.step, batch))[-1]
        # A result must depend on the images, or XLA removes their computation.
        return state, {"mean": jax.lax.pmean(images.mean(), shards.AXIS)}

    def gradient_d(state: State, inputs: Inputs) -> Any:
        fakes = _generate(nets, state, inputs)
        return jax.grad(loss_d, argnums=2, has_aux=True)(nets, state, state.params_d, inputs, fakes)[0]

    def gradient_g(state: State, inputs: Inputs) -> Any:
        return jax.grad(loss_g, argnums=2, has_aux=True)(nets, state, state.params_g, inputs)[0]

    def gradient_f(state: State, inputs: Inputs) -> Any:
        source = inputs.real  # the training step may use X0 from G's loss instead
        return jax.grad(loss_f, argnums=2, has_aux=True)(nets, state, state.params_f, inputs, source)[0]

    def r1(state: State, batch: Batch) -> tuple[State, Metrics]:
        inputs = make_inputs(config, state.step, batch)
        return regularisers.regularise_d(nets, optimizers, state, True, inputs)[0], {}

    def path_length(state: State, batch: Batch) -> tuple[State, Metrics]:
        return regularisers.regularise_g(nets, optimizers, state, True, batch["attributes"])[0], {}

    present = {
        "g_forward": g_forward,
        "d_step": _descend(config, optimizers, "d", gradient_d),
        "r1": r1 if every["r1"] else None,
        "g_step": _descend(config, optimizers, "g", gradient_g),
        "path_length": path_length if every["path_length"] else None,
        "f_step": _descend(config, optimizers, "f", gradient_f) if every["f"] else None,
        "step": joint_step.make_step(nets),
    }
    return {name: step for name, step in present.items() if step is not None}


def _generate(nets: Networks, state: State, inputs: Inputs) -> list[jax.Array]:
    """Returns the generated images X_hat at all scales."""
    variables, drawn = {"params": state.params_g}, inputs.draws
    w_plus = nets.mixed_w_plus(variables, drawn.latents, inputs.attributes, state.basis)
    return nets.synthesize_scales(variables, w_plus, drawn.noise_hat)


def _descend(config: Config, optimizers: Optimizers, network: str, compute: Callable[[State, Inputs], Any]) -> Step:
    """Returns the step that updates "g", "d" or "f" by the gradient that `compute` returns."""
    params_name, opt_name = f"params_{network}", f"opt_{network}"

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        inputs, whole = make_inputs(config, state.step, batch), gather_params(state)
        gradient = accumulation.mean_over_parts(
            lambda part: compute(whole, part), inputs, config.accumulate, config.discriminator.mbstd_group
        )
        optimizer, opt, params = getattr(optimizers, network), getattr(state, opt_name), getattr(state, params_name)
        (gradient,) = shards.mean((gradient,), params)
        params, opt = apply_gradient(optimizer, gradient, opt, params)
        return dataclasses.replace(state, **{params_name: params, opt_name: opt}), {}

    return step
