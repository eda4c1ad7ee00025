"""Traces of a few steps: those that are asked for, and none in other processes."""

import pathlib

import jax
from etils import epath

from sdgan_jax.training import tracing


def take(tracer, steps):
    for number in range(1, steps + 1):
        with tracer.step(number):
            pass
        tracer.end(None)
    tracer.close()


def test_a_trace_that_the_end_of_the_training_cuts_short(tmp_path):
    said = []
    take(tracing.Tracer(epath.Path(tmp_path), 5, said.append), 4)
    (line,) = said
    assert line.startswith(f"Profile:     steps 4 to 4; open {tmp_path / 'profile'}/")


def test_a_training_that_is_too_short_for_a_trace_says_so(tmp_path):
    said = []
    take(tracing.Tracer(epath.Path(tmp_path), 5, said.append), 3)
    assert said == ["Profile:     none: a start traces steps after its first 3, and made no more"]


def test_a_remote_workdir_receives_a_copy(tmp_path, monkeypatch):
    monkeypatch.setattr(tracing.outputs, "is_remote", lambda path: True)
    take(tracing.Tracer(epath.Path(tmp_path), 1, lambda line: None), 5)
    assert list(tmp_path.glob("profile/**/perfetto_trace.json.gz")) and list(tmp_path.glob("profile/**/*.xplane.pb"))


def test_nothing_is_traced_unless_asked_for_and_in_the_first_process_alone(tmp_path, monkeypatch):
    take(tracing.Tracer(epath.Path(tmp_path), 0, print), 6)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    take(tracing.Tracer(epath.Path(tmp_path), 2, print), 6)
    assert not list(pathlib.Path(tmp_path).iterdir())
