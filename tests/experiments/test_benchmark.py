"""`python -m experiments.benchmark`: refusals before anything is measured."""

import os
import subprocess
import sys

import pytest

from experiments import torch_peer
from tests.benchmark.plain import PLAIN


def test_a_missing_torch_is_said_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delattr("experiments.torch_stylegan2.training", raising=False)
    for name in [name for name in sys.modules if name.startswith("experiments.torch_stylegan2.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ValueError, match=r"--torch needs PyTorch .*pip install -e '\.\[convert\]'"):
        torch_peer.make_torch(PLAIN)


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
