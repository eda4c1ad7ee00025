"""The parts of a small config, compiled once, and a measurement of them."""

import dataclasses
import types

import pytest

from sdgan_jax.benchmark import measurement, steps
from tests.benchmark.plain import PLAIN


@pytest.fixture(scope="package")
def compiled():
    ours = steps.Compiled(PLAIN)
    return ours, {name: ours.compile(name) for name in ours.steps}


@pytest.fixture(scope="package")
def measured(compiled, tmp_path_factory):
    """The results of a whole measurement at the smallest scale, and the calls of a peer that does nothing."""
    calls = []
    peer = types.SimpleNamespace(name="idle 1.0", run=lambda part, count: calls.append(part))
    config = dataclasses.replace(PLAIN, data_dir=str(tmp_path_factory.mktemp("data")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measurement, "Compiled", lambda config: compiled[0])
        patch.setattr(measurement, "LEAST_SECONDS", 0.001)
        patch.setattr(measurement, "_MATMUL_SIDE", {"cpu": 32})
        return measurement.measure(config, repeats=2, peer=peer, log=lambda line: None), calls
