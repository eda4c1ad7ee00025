"""Flags of `python -m experiments.measure`."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def measure(folder, *flags):
    command = [sys.executable, "-m", "experiments.measure", "--out=out", *flags]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return result.returncode, result.stderr


def test_photos_of_known_truth_take_no_flags_of_rendered_faces(tmp_path):
    line = "--identity, --faces belong to rendered faces, and --points measures photos alone; leave them out"
    flags = ("--input=photos", "--points=points.npz", "--identity=runs/identity64", "--faces=60")
    assert measure(tmp_path, *flags) == (1, f"error: {line}\n")
    assert not (tmp_path / "out").exists()
