"""Parts of the step: kinds of step in a period, the networks that each part changes, compilations, FLOPs."""

import dataclasses
import re

import jax
import jax.monitoring
import numpy as np
import pytest

from experiments.configs import benchmark64
from sdgan_jax import config as c
from sdgan_jax.benchmark import steps
from sdgan_jax.networks import make_networks
from sdgan_jax.training import sharding
from tests.benchmark.plain import PLAIN
from tests.training import tiny


def test_a_period_holds_each_kind_of_step_at_its_true_rate():
    losses = c.LossConfig(r1=1.0, r1_every=16, path_length=2.0, path_length_every=4)
    assert steps.period(tiny.config(losses=losses, fusion_every=0)) == {
        "step": {"first": 1, "count": 12},
        "step+path_length": {"first": 4, "count": 3},
        "step+r1+path_length": {"first": 0, "count": 1},
    }
    # R1 at 0, 4, 8; F at 0, 3, 6, 9: of the twelve steps both are due at 0.
    with_f = steps.period(tiny.config(losses=c.LossConfig(r1=1.0, r1_every=4), fusion_every=3))
    counts = {name: kind["count"] for name, kind in with_f.items()}
    assert counts == {"step": 6, "step+f_step": 3, "step+r1": 2, "step+r1+f_step": 1}
    assert steps.period(tiny.config(fusion_every=0)) == {"step": {"first": 0, "count": 1}}


@pytest.mark.slow
def test_each_kind_of_step_does_what_it_is_called(compiled):
    ours, _ = compiled
    assert set(ours.steps) == {"g_forward", "d_step", "r1", "g_step", "path_length", "step"}
    for kind, counted in steps.period(PLAIN).items():
        ours.state = ours.state.replace(step=jax.device_put(np.int32(counted["first"]), ours.state.step.sharding))
        ours.state, metrics = ours.steps["step"](ours.state, ours.batch)
        due = {name for name in ("r1", "path_length") if metrics[name][1] == 1}
        assert due == set(kind.split("+")[1:])


@pytest.mark.slow
def test_each_part_changes_its_own_network_alone(compiled):
    ours, _ = compiled
    changes = {"g_forward": "", "d_step": "d", "r1": "d", "g_step": "g", "path_length": "g", "step": "dg"}
    for name, changed in changes.items():
        before = jax.device_get(ours.state)
        ours.run(name)
        for network in "dg":
            for field in ("params", "opt"):
                old, new = (getattr(state, f"{field}_{network}") for state in (before, ours.state))
                same = all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(old), jax.tree.leaves(new)))
                assert same == (network not in changed), (name, network)


@pytest.mark.slow
def test_nothing_is_compiled_again_and_nothing_travels_once_every_part_is_compiled(compiled):
    ours, _ = compiled
    parts = [*ours.steps, *steps.period(PLAIN)]
    for part in parts:
        ours.run(part)
    compilations = []

    def count(event, *_, **rest):
        if event == "/jax/core/compile/backend_compile_duration":
            compilations.append(event)

    jax.monitoring.register_event_duration_secs_listener(count)
    with jax.transfer_guard("disallow"):
        for part in [*parts, *reversed(parts)]:
            ours.run(part, calls=2)
    assert not compilations
    jax.jit(lambda x: x + 2)(1.0)
    assert compilations  # the counter is awake


def lengths(step, config):
    """The lengths of the loops in the traced program of a part, on four devices."""
    nets, mesh = make_networks(config), sharding.make_mesh(config.batch_size)
    state = jax.eval_shape(lambda: steps.init_state(nets))
    size, side = config.batch_size, config.resolution
    batch = {
        "image": jax.ShapeDtypeStruct((size, side, side, 3), np.uint8),
        "attributes": jax.ShapeDtypeStruct((size, config.num_attributes), np.float32),
    }
    return set(re.findall(r"\blength=(\d+)", str(sharding.map_step(step(nets), mesh).trace(state, batch).jaxpr)))


IN_PARTS = dataclasses.replace(
    PLAIN, batch_size=84, accumulate=7, discriminator=dataclasses.replace(PLAIN.discriminator, mbstd_group=1)
)  # 21 images a device, ten of which have a path length: these are not in seven equal parts


@pytest.mark.parametrize(("part", "count"), [("g_forward", 1), ("r1", 7), ("path_length", 1)])
def test_loops_are_counted_as_often_as_they_run(part, count):
    looped = lengths(lambda nets: steps.make_steps(nets)[part], IN_PARTS)
    assert ("7" in looped) == (count == 7) and steps.loop_counts(IN_PARTS, 4)[part] == count


@pytest.mark.slow
def test_flops_of_a_batch_do_not_depend_on_its_parts():
    """But for the updates of the weights, which XLA does not tell from the loop, and the modulation of kernels."""
    config = dataclasses.replace(IN_PARTS, batch_size=24, accumulate=6)  # the path length in three parts
    whole, parts = (steps.Compiled(dataclasses.replace(config, accumulate=count)) for count in (1, 6))
    assert parts.compile("g_forward")["flops"] == whole.compile("g_forward")["flops"]
    for name in ("step", "path_length"):
        assert parts.compile(name)["flops"] == pytest.approx(whole.compile(name)["flops"], rel=0.12), name


def multiplications(config):
    """Multiply-adds of one image, convolutions and dense layers as the paper defines them: G, D."""
    dim, top = config.generator.latent_dim, config.resolution
    width = {4 << i: min(config.generator.channel_base // (4 << i), config.generator.channel_max) for i in range(9)}
    g = config.generator.mapping_layers * dim**2
    d = 3 * width[top] * top**2
    size = 4
    while size <= top:
        if size > 4:
            g += 9 * width[size // 2] * width[size] * (size // 2) ** 2  # a transposed one: 9 products an input pixel
            d += width[size] * size**2 * 9 * width[size]
            d += (9 * width[size] * width[size // 2] + width[size] * width[size // 2]) * (size // 2) ** 2
        g += (9 * width[size] ** 2 + 3 * width[size]) * size**2
        size *= 2
    return g, d + 9 * (width[4] + 1) * width[4] * 16 + 16 * width[4] ** 2


@pytest.mark.slow
def test_flops_are_those_of_the_networks(compiled):
    """Padding, the 16 taps of a polyphase up-layer and its like make the two differ, but not by more than that."""
    _, costs = compiled
    g, d = multiplications(PLAIN)
    # A gradient in the weights costs two more passes; that of a gradient's length two passes, and four to go back.
    expected = {"g_forward": g, "d_step": g + 6 * d, "g_step": 3 * g + 2 * d, "r1": 6 * d, "path_length": 3 * g}
    for name, count in expected.items():
        ratio = costs[name]["flops"] / (2 * count * PLAIN.batch_size / jax.device_count())
        assert 0.5 < ratio < 2.0, (name, ratio)


def test_the_preset_is_config_f_at_64_pixels():
    """27.0M and 26.5M parameters, as those of the public implementations at this size."""
    config = c.validate(benchmark64.get_config())
    shapes = jax.eval_shape(lambda: steps.init_state(make_networks(config)))
    counts = [sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in (shapes.params_g, shapes.params_d)]
    assert [round(count / 1e6, 1) for count in counts] == [27.0, 26.5]
    assert not shapes.params_f
