"""`python -m experiments.benchmark`: refusals before anything is measured."""

import dataclasses
import os
import subprocess
import sys

import pytest
from etils import epath

from experiments import fidelity_peer, presets, torch_peer
from experiments.configs import staged64
from sdgan_jax import pretrained
from sdgan_jax.benchmark import statistics_speed, steps
from sdgan_jax.importers import inception
from sdgan_jax.nets.inception import Inception
from sdgan_jax.training.gan import staged
from tests.benchmark.plain import PLAIN
from tests.nets import torch_packages
from tests.printed import own_lines


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
    (printed,) = own_lines(result.stderr)
    assert result.returncode == 1 and printed.startswith(f"error: {line.format(out=out)}")
    assert (tmp_path / "my.json").read_text() == '{"mine": 1}'


@pytest.mark.parametrize(
    ("preset", "line"),
    [
        ("prnet64", "--config is a preset of another network; the steps of a GAN's training are measured"),
        ("quickstart", "config.staged.stages has no 'gan', the stage that is measured; add it, or take staged64.py"),
    ],
)
def test_presets_without_a_step_of_a_gan_are_refused(tmp_path, preset, line):
    path = os.path.join(presets.FOLDER, f"{preset}.py")
    command = [sys.executable, "-m", "experiments.benchmark", f"--config={path}", f"--out={tmp_path / 'x.json'}"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1 and own_lines(result.stderr) == [f"error: {line}"]


def test_of_the_staged_recipe_the_first_stage_is_measured():
    config = staged64.get_config()
    measured = steps.measured(config)
    assert (measured.recipe, measured.fusion_every) == ("joint", 0) and steps.measured(PLAIN) is PLAIN
    assert not [name for name in steps.period(measured) if "f_step" in name]
    gan = staged.stage_config(config, "gan", "", epath.Path("/nowhere"))
    assert dataclasses.replace(gan, staged=config.staged) == measured


def test_a_missing_torch_fidelity_is_said_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(ValueError, match="--metrics needs torch-fidelity .*: pip install torch torch-fidelity"):
        fidelity_peer.make_fidelity({})


@pytest.mark.slow
def test_fid_statistics_beside_torch_fidelity(monkeypatch):
    """Both sides get the same features of the same random weights."""
    torch_packages.load("torch_fidelity")
    monkeypatch.setattr(statistics_speed, "IMAGES", 4)
    monkeypatch.setattr(statistics_speed, "BATCH", 2)
    state = fidelity_peer.random_state()
    network = pretrained.InceptionNetwork(Inception(), inception.variables_of(state))
    results = statistics_speed.measure(network, fidelity_peer.make_fidelity(state), repeats=1)
    assert results["difference"] < 2e-5 and results["ours"]["median"] > 0
    assert "torch-fidelity" in statistics_speed.table(results)
