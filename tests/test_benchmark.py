"""The benchmark measures what it says; no test here depends on how long anything takes."""

import dataclasses
import json
import os
import subprocess
import sys
import types

import jax
import jax.monitoring
import numpy as np
import pytest

from experiments import benchmark
from experiments.configs import benchmark64
from sdgan_jax import config as c
from sdgan_jax.benchmark import measurement, report, steps
from sdgan_jax.networks import make_networks
from tests.training import tiny

PLAIN = tiny.config(
    attributes=("none",),
    latent_space="w",
    fusion_every=0,
    style_mixing=0.9,
    losses=c.LossConfig(r1=1.0, r1_every=4, path_length=2.0, path_length_every=2),
    # Wide enough that convolutions make up most of the FLOPs.
    generator=c.GeneratorConfig(12, mapping_layers=1, channel_base=256, channel_max=32),
    discriminator=c.DiscriminatorConfig(channel_base=256, channel_max=32),
)


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    with tiny.quick_compilation():
        yield


@pytest.fixture(scope="module")
def compiled():
    ours = steps.Compiled(PLAIN)
    return ours, {name: ours.compile(name) for name in ours.steps}


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

    def count(event, duration, **rest):
        if event == "/jax/core/compile/backend_compile_duration":
            compilations.append(event)

    jax.monitoring.register_event_duration_secs_listener(count)
    with jax.transfer_guard("disallow"):
        for part in [*parts, *reversed(parts)]:
            ours.run(part, calls=2)
    assert not compilations
    jax.jit(lambda x: x + 2)(1.0)
    assert compilations  # the counter is awake


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


@pytest.mark.slow
def test_figures_follow_from_the_times(compiled):
    costs = {
        name: {"flops": flops, "memory_bytes": 7, "compile_seconds": 3.0}
        for name, flops in {"d_step": 50.0, "r1": 30.0, "path_length": 20.0, "step": 150.0}.items()
    }
    kinds = {
        "step": {"first": 1, "count": 2},
        "step+path_length": {"first": 2, "count": 1},
        "step+r1+path_length": {"first": 0, "count": 1},
    }
    seconds = {
        "d_step": [1.0, 3.0, 2.0],
        "r1": [4.0, 1.0, 2.0],
        "path_length": [1.0, 1.0, 1.0],
        "step": [1.0, 2.0, 3.0],
        "step+path_length": [2.0, 3.0, 4.0],
        "step+r1+path_length": [4.0, 5.0, 10.0],
    }
    slower = {name: [2 * value for value in values] for name, values in seconds.items()}
    parts = measurement.summarise(PLAIN, {"ours": seconds, "peer": slower}, costs, kinds, peak=100.0)
    assert set(parts) == {*seconds, "d_step+r1", "steady"}
    both = parts["d_step+r1"]["ours"]
    assert both["seconds"] == {"median": 4.0, "min": 4.0, "max": 5.0, "rounds": [5.0, 4.0, 4.0]}
    assert both["flops"] == 80.0
    steady = parts["steady"]["ours"]
    assert steady["seconds"]["rounds"] == [2.0, 3.0, 5.0]  # (2 · plain + path length + both) / 4
    assert steady["flops"] == (2 * 100 + 120 + 150) / 4  # XLA counted a step with both
    assert steady["share_of_peak"] == pytest.approx(117.5 / 3.0 / 100.0)
    assert steady["images_per_second"] == pytest.approx(PLAIN.batch_size / 3.0)
    assert steady["kimg_per_second"] * steady["seconds_per_kimg"] == pytest.approx(1.0)
    assert parts["steady"]["speedup"]["rounds"] == [2.0, 2.0, 2.0]


@pytest.fixture(scope="module")
def measured(compiled, tmp_path_factory):
    """All of it at the smallest scale, beside a peer that does nothing."""
    calls = []
    peer = types.SimpleNamespace(name="idle 1.0", run=lambda part, count: calls.append(part))
    config = dataclasses.replace(PLAIN, data_dir=str(tmp_path_factory.mktemp("data")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measurement, "Compiled", lambda config: compiled[0])
        patch.setattr(measurement, "LEAST_SECONDS", 0.001)
        patch.setattr(measurement, "_MATMUL_SIDE", {"cpu": 32})
        return measurement.measure(config, repeats=2, peer=peer, say=lambda line: None), calls


def test_all_that_is_promised_is_in_the_json(measured):
    results, calls = measured
    results = json.loads(json.dumps(results))
    assert {"processor", "cores", "devices", "device_kind", "jax", "jaxlib"} <= set(results["machine"])
    assert results["peak"]["flops_per_second"] > 0 and results["peer"] == "idle 1.0"
    assert set(results["model"]["parameters"]) == {"g", "d", "f"}
    assert results["input"]["min"] <= results["input"]["images_per_second"] <= results["input"]["max"]
    timed = {"g_forward", "d_step", "r1", "g_step", "path_length", *steps.period(PLAIN)}
    assert set(results["parts"]) == timed | {"d_step+r1", "g_step+path_length", "steady"}
    assert set(calls) == timed  # the peer did all that we did
    for part in results["parts"].values():
        seconds = part["ours"]["seconds"]
        assert len(seconds["rounds"]) == 2 and 0 < seconds["min"] <= seconds["median"] <= seconds["max"]
        assert part["ours"]["images_per_second"] == pytest.approx(PLAIN.batch_size / seconds["median"])
        assert part["ours"]["flops"] > 0 and part["speedup"]["median"] > 0
    assert results["parts"]["steady"]["ours"]["memory_bytes"] > 0


def test_the_table_has_a_row_for_each_part(measured):
    text = report.table(measured[0])
    for start in (
        "8×8, batch 16, float32",
        "G forward ",
        "D step with R1 ",
        "whole step, R1, path length ",
        "Input alone",
    ):
        assert sum(line.startswith(start) for line in text.splitlines()) == 1, start
    assert "idle 1.0" in text and "| " in text
    alone = {**measured[0], "peer": None}
    alone["parts"] = {name: {"ours": part["ours"]} for name, part in alone["parts"].items()}
    assert " | " not in report.table(alone)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"attributes": ("none", "mask")}, "set --config.attributes=\"\\('none',\\)\""),
        ({"generator": c.GeneratorConfig(low_precision_blocks=2)}, 'set --config.generator.low_precision_blocks="0"'),
        ({"accumulate": 2}, 'set --config.accumulate="1"'),
    ],
)
def test_torch_does_not_pretend_to_do_what_it_does_not(fields, message):
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match=message):
        benchmark.make_torch(dataclasses.replace(PLAIN, **fields))


def test_a_missing_torch_is_said_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delattr("experiments.torch_stylegan2.training", raising=False)
    for name in [name for name in sys.modules if name.startswith("experiments.torch_stylegan2.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ValueError, match=r"--torch needs PyTorch .*pip install -e '\.\[convert\]'"):
        benchmark.make_torch(PLAIN)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (".", "--out={out} is a folder; name a file in it, such as {out}/benchmark.json"),
        pytest.param("my.json", "{out} exists and was not written by sdgan-jax benchmark;", marks=pytest.mark.slow),
    ],
)
def test_what_is_there_already_is_refused_before_the_measurement(tmp_path, name, line):
    (tmp_path / "my.json").write_text('{"mine": 1}')
    out = os.path.normpath(tmp_path / name)
    command = [sys.executable, "-m", "experiments.benchmark", f"--out={out}"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1 and result.stderr.startswith(f"error: {line.format(out=out)}")
    assert result.stderr.count("\n") == 1 and (tmp_path / "my.json").read_text() == '{"mine": 1}'


def test_the_preset_is_config_f_at_64_pixels():
    """27.0M and 26.5M parameters, as those of the public implementations at this size."""
    config = c.validate(benchmark64.get_config())
    shapes = jax.eval_shape(lambda: steps.init_state(make_networks(config)))
    counts = [sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in (shapes.params_g, shapes.params_d)]
    assert [round(count / 1e6, 1) for count in counts] == [27.0, 26.5]
    assert not shapes.params_f


def to_torch(tree, width):
    """Our parameters by the names and in the layouts of `experiments.torch_stylegan2`; `width` channels at 4×4."""
    arrays = {}
    for name, array in tiny.named_leaves(tree):
        if name == "dense/kernel":  # its rows are (H,W,C), of torch's they are (C,H,W)
            array = array.reshape(4, 4, width, -1).transpose(2, 0, 1, 3).reshape(array.shape)
        axes = {4: (3, 2, 0, 1), 3: (2, 0, 1), 2: (1, 0)}.get(array.ndim, (0,) * array.ndim)
        arrays[name.replace("kernel", "weight").replace("/", ".")] = array.transpose(axes).copy()
    return arrays


@pytest.fixture(scope="module")
def shared():
    """Random weights, and what ours draw and judge with them: images from w+ with constant noise, logits of photos."""
    config = dataclasses.replace(
        PLAIN, resolution=16, generator=c.GeneratorConfig(12, 2, channel_base=128, channel_max=32)
    )
    state, nets, rng = tiny.random_state(config), make_networks(config), np.random.default_rng(3)
    z, photos = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 12), (8, 16, 16, 3)))
    variables = {"params": state.params_g, "buffers": state.buffers_g}
    w = jax.jit(lambda z: nets.map(variables, z))(z)
    w_plus = np.asarray(w)[:, None] + 0.1 * rng.standard_normal((4, config.num_layers, 12)).astype(np.float32)
    images = jax.jit(lambda w_plus: nets.synthesize(variables, w_plus, "const"))(w_plus)
    logits = jax.jit(lambda photos: nets.discriminate(state.params_d, photos)[0])(photos)
    return config, state, (z, w, w_plus, images, photos, logits)


@pytest.mark.parametrize("form", ["grouped convolution", "scaled activations", "scaled activations, channels last"])
def test_the_torch_networks_are_ours(form, shared):
    torch = pytest.importorskip("torch")
    from experiments.torch_stylegan2 import training

    config, state, (z, w, w_plus, images, photos, logits) = shared
    theirs = training.Training(config, form, threads=1)
    for network, tree in ((theirs.generator, state.params_g), (theirs.discriminator, state.params_d)):
        arrays = {name: torch.from_numpy(array) for name, array in to_torch(tree, width=32).items()}
        network.load_state_dict(arrays, strict=True)
    noises = {name: array for name, array in tiny.named_leaves(state.buffers_g["synthesis"])}
    order = ["conv_4", "conv_8_up", "conv_8", "conv_16_up", "conv_16"]
    drawn = [torch.from_numpy(noises[f"{name}/noise"].transpose(2, 0, 1)[None]) for name in order]
    with torch.no_grad():
        assert_close(theirs.generator.mapping(torch.from_numpy(z)), w)
        made = theirs.generator.synthesis(torch.from_numpy(w_plus), drawn)
        assert_close(made, np.asarray(images).transpose(0, 3, 1, 2))
        assert_close(theirs.discriminator(torch.from_numpy(photos.transpose(0, 3, 1, 2).copy())), logits)


def assert_close(theirs, ours):
    ours = np.asarray(ours)
    np.testing.assert_allclose(theirs.numpy(), ours, rtol=1e-5, atol=1e-5 * np.abs(ours).max())


def test_each_part_of_torch_changes_its_own_network_alone():
    torch = pytest.importorskip("torch")
    from experiments.torch_stylegan2 import training

    theirs = training.fastest(PLAIN, threads=1)
    assert theirs.name.startswith(f"torch {torch.__version__}, ")
    changes = {"g_forward": "", "d_step": "d", "r1": "d", "g_step": "g", "path_length": "g", "step+r1": "dg"}
    networks = {"d": theirs.discriminator, "g": theirs.generator}
    for part, changed in changes.items():
        before = {name: [weight.clone() for weight in net.parameters()] for name, net in networks.items()}
        theirs.run(part)
        for name, net in networks.items():
            same = [torch.equal(old, new) for old, new in zip(before[name], net.parameters())]
            assert not any(same[:2]) if name in changed else all(same), (part, name)
