"""`python -m experiments.edges` as a user types it."""

import os
import pathlib
import subprocess
import sys

import pytest

from sdgan_jax.face3d import proposals
from sdgan_jax.pretrained import edges

ROOT = pathlib.Path(__file__).parents[2]


def fit(folder, *arguments):
    command = [sys.executable, "-m", "experiments.edges", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )


@pytest.mark.slow
def test_a_filter_is_fitted_once(tmp_path):
    result = fit(tmp_path, "--out=new", "--faces=600")
    assert result.returncode == 0, result.stderr
    assert edges.edge_filter(tmp_path / "new").shape == (proposals.NUMBERS,)
    again = fit(tmp_path, "--out=new", "--faces=600")
    assert again.stderr == "error: new contains a network already; give another --out\n"


@pytest.mark.slow
def test_too_few_faces_are_refused(tmp_path):
    assert fit(tmp_path, "--out=new", "--faces=5").stderr.startswith("error: flag --faces=5: ")
