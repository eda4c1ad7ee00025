"""What is measured: the training step of a config and its parts, each a step `(state, batch) -> (state, metrics)`.

    g_forward    latents to images
    d_step       fakes drawn; gradient of D's loss on reals and fakes; Adam
    r1           gradient of R1 on the reals; Adam
    g_step       fakes drawn and judged; gradient of G's loss; Adam
    path_length  gradient of the path length penalty on half a batch; Adam
    f_step       gradient of F's loss; Adam
    step         the training step itself, averages included

Mapped over the devices like the training step, whose functions they are made of.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from sdgan_jax.config import Config
from sdgan_jax.networks import Networks, make_networks
from sdgan_jax.training import accumulation, sharding
from sdgan_jax.training.gan import joint_step, regularisers
from sdgan_jax.training.gan.inputs import Batch, Inputs, check_accumulation, make_inputs, put_batch
from sdgan_jax.training.gan.joint_step import Metrics, Step
from sdgan_jax.training.gan.state import Optimizers, State, apply_gradient, init_state, make_optimizers
from sdgan_jax.training.sharding import AXIS


def period(config: Config) -> dict[str, dict[str, int]]:
    """The kinds of step in a period of the lazy parts.

    Args:
        config: of the run.

    Returns:
        Name, such as "step" or "step+r1+path_length" -> `first`, a step number of this kind; `count`, how many there
        are in a period. The most frequent first.
    """
    every = {"f_step" if name == "f" else name: interval for name, interval in config.intervals.items()}
    kinds: dict[str, dict[str, int]] = {}
    for step in range(math.lcm(*(interval for interval in every.values() if interval))):
        due = [name for name, interval in every.items() if interval and step % interval == 0]
        kind = kinds.setdefault("+".join(["step", *due]), {"first": step, "count": 0})
        kind["count"] += 1
    return dict(sorted(kinds.items(), key=lambda item: -item[1]["count"]))


class Compiled:
    """The parts on this machine's devices, with a state and a batch of noise to run them on.

    Attributes:
        mesh: all devices.
        steps: name -> the jitted part; those that the config has.
        state: what the parts run on; each hands its result to the next.
        batch: on the devices.
    """

    def __init__(self, config: Config) -> None:
        """Makes the state and the batch.

        Raises:
            ValueError: the devices cannot share the batch.
        """
        nets = make_networks(config)
        self.mesh = sharding.make_mesh(config.batch_size)
        check_accumulation(config, self.mesh.size)
        self.steps = {name: sharding.map_step(step, self.mesh) for name, step in make_steps(nets).items()}
        self._accumulate, self._first = config.accumulate, {k: kind["first"] for k, kind in period(config).items()}
        self._replicated = sharding.replicated(self.mesh)
        self.state: State = jax.jit(lambda: init_state(nets), out_shardings=self._replicated)()
        rng, rows = np.random.default_rng(config.seed), config.batch_size
        worn = np.eye(config.num_attributes, dtype=np.float32)[np.arange(rows) % config.num_attributes]
        images = rng.integers(0, 256, (rows, config.resolution, config.resolution, 3), dtype=np.uint8)
        group = config.discriminator.mbstd_group
        self.batch = put_batch({"image": images, "attributes": worn}, self.mesh, group)

    def compile(self, name: str) -> dict[str, float]:
        """Compiles a part.

        Returns:
            `flops` and `memory_bytes` of one device, and `compile_seconds`, tracing included. For "step" the FLOPs are
            those of a step in which every lazy part is due.
        """
        start = time.perf_counter()
        lowered = self.steps[name].lower(self.state, self.batch)
        compiled = lowered.compile()  # kept by jax: the first call finds it
        seconds = time.perf_counter() - start
        # On GPU convolutions become calls of cuDNN, whose operations XLA does not count once it has compiled.
        flops = (lowered if jax.default_backend() == "gpu" else compiled).cost_analysis()["flops"]
        memory = compiled.memory_analysis()
        held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
        return {
            "flops": flops * self._accumulate,  # the body of a loop is counted once
            "memory_bytes": held + memory.temp_size_in_bytes,
            "compile_seconds": seconds,
        }

    def run(self, part: str, calls: int = 1) -> None:
        """Does a part, or a kind of step (see `period`), so many times and waits for the last."""
        step = self.steps[part.split("+")[0]]
        for _ in range(calls):
            if part in self._first:
                number = jax.device_put(np.int32(self._first[part]), self._replicated)
                self.state = self.state.replace(step=number)
            self.state, _ = step(self.state, self.batch)
        jax.block_until_ready(self.state)


def make_steps(nets: Networks) -> dict[str, Step]:
    """Returns the per-device step of every part that the networks' config has, by name."""
    config = nets.config
    optimizers, every = make_optimizers(config), config.intervals
    loss_d, loss_g, loss_f = joint_step.loss_d, joint_step.loss_g, joint_step.loss_f

    def g_forward(state: State, batch: Batch) -> tuple[State, Metrics]:
        images = _draw(nets, state, make_inputs(config, state.step, batch))[-1]
        # Something has to depend on the images, or XLA would not draw them.
        return state, {"mean": jax.lax.pmean(images.mean(), AXIS)}

    def gradient_d(state: State, inputs: Inputs) -> Any:
        fakes = _draw(nets, state, inputs)
        return jax.grad(loss_d, argnums=2, has_aux=True)(nets, state, state.params_d, inputs, fakes)[0]

    def gradient_g(state: State, inputs: Inputs) -> Any:
        return jax.grad(loss_g, argnums=2, has_aux=True)(nets, state, state.params_g, inputs)[0]

    def gradient_f(state: State, inputs: Inputs) -> Any:
        source = inputs.real  # X0, where the config asks for it, the step has from G's loss
        return jax.grad(loss_f, argnums=2, has_aux=True)(nets, state, state.params_f, inputs, source)[0]

    def r1(state: State, batch: Batch) -> tuple[State, Metrics]:
        inputs = make_inputs(config, state.step, batch)
        augment = inputs.draws.augment_real
        return regularisers.regularise_d(nets, optimizers, state, True, inputs.real, augment)[0], {}

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


def _draw(nets: Networks, state: State, inputs: Inputs) -> list[jax.Array]:
    """X_hat at all scales."""
    variables, drawn = {"params": state.params_g}, inputs.draws
    w_plus = nets.mixed_w_plus(variables, drawn.latents, inputs.attributes, state.basis)
    return nets.synthesize_scales(variables, w_plus, drawn.noise_hat)


def _descend(config: Config, optimizers: Optimizers, network: str, compute: Callable[[State, Inputs], Any]) -> Step:
    """The step that updates "g", "d" or "f" by the gradient that `compute` gives."""
    params_name, opt_name = f"params_{network}", f"opt_{network}"

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        inputs = make_inputs(config, state.step, batch)
        gradient = accumulation.mean_over_parts(
            lambda part: compute(state, part), inputs, config.accumulate, config.discriminator.mbstd_group
        )
        gradient = jax.lax.pmean(gradient, AXIS)
        optimizer, opt, params = getattr(optimizers, network), getattr(state, opt_name), getattr(state, params_name)
        params, opt = apply_gradient(optimizer, gradient, opt, params)
        return state.replace(**{params_name: params, opt_name: opt}), {}

    return step
