"""Mistakes in the flags of a training: one line, and no workdir that would be in the way of the corrected command."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def train(folder, *flags):
    command = [sys.executable, "-m", "experiments.train", *flags]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_mistake_leaves_no_workdir(tmp_path):
    result = train(tmp_path, "--config.dataset=cifar1000", "--workdir=run")
    line = "error: config.dataset is 'cifar1000', which TFDS does not know; did you mean cifar100"
    assert result.returncode == 1 and result.stderr.startswith(line) and result.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_file_is_no_workdir(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    result = train(tmp_path, "--workdir=photo.jpg")
    assert result.returncode == 1 and result.stderr.startswith("error: --workdir=photo.jpg is not a folder;")
