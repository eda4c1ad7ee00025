"""All stages of the recipe `staged`, started as a user starts them."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

import sdgan_jax

ROOT = pathlib.Path(__file__).parents[2]
SMALL = {
    "dataset": "megn/rendered_32_n300",
    "resolution": 32,
    "batch_size": 8,
    "total_steps": 2,
    "generator.channel_base": 128,
    "generator.channel_max": 8,
    "discriminator.channel_base": 128,
    "discriminator.channel_max": 8,
    "fusion.width_max": 16,
    "encoder.hidden": 16,
    "staged.encoder_steps": 2,
    "staged.fusion_steps": 2,
    "staged.basis_samples": 200,
    "staged.targets": 16,
}


def train(tmp_path, *flags):
    """Runs the launcher on the preset of the recipe, made small; returns what it printed."""
    fields = [f"--config.{name}={value}" for name, value in SMALL.items()]
    command = [sys.executable, "-m", "experiments.train", "--config=experiments/configs/staged64.py", *fields, *flags]
    command += [f"--config.data_dir={tmp_path / 'data'}", "--noevaluate"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.slow
def test_four_stages_then_one_of_them_again(tmp_path):
    workdir = tmp_path / "run"
    printed = train(tmp_path, f"--workdir={workdir}")
    for stage in ("gan", "encoder", "basis", "fusion"):
        assert f"Stage {stage}: {workdir / stage}" in printed
    assert f"Checkpoint:  {workdir / 'fusion' / 'checkpoints' / '2'}" in printed
    assert "E" not in sdgan_jax.load(workdir / "gan").params  # not trained yet
    model = sdgan_jax.load(workdir)
    assert {"D", "E", "F"} <= set(model.params)
    report = json.loads((workdir / "basis" / "basis.json").read_text())
    assert model.config.basis_length == report["basis_length"]

    again = train(tmp_path, f"--workdir={workdir}")
    assert "Resuming at step 2" in again  # every stage is at its end

    fusion = tmp_path / "fusion"
    printed = train(tmp_path, f"--workdir={fusion}", f"--config.init={workdir}", "--config.staged.stages=('fusion',)")
    assert "note: config.total_steps is the number of steps of the stage 'gan', which config.staged.stages" in printed
    assert "F" in sdgan_jax.load(fusion).params
