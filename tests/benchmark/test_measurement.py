"""Figures computed from given times, and the results of a whole measurement. No test depends on a duration."""

import json

import pytest

from sdgan_jax.benchmark import measurement, steps
from tests.benchmark.plain import PLAIN


def test_figures_follow_from_the_times():
    costs = {
        name: {"flops": flops, "memory_bytes": 7, "argument_bytes": 5, "compile_seconds": 3.0}
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
