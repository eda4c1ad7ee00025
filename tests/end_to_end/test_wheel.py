"""The built wheel, installed outside of the checkout: every command starts, and finds its presets and weights."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from PIL import Image

import tfds_megn
from sdgan_jax import pictures

ROOT = pathlib.Path(__file__).parents[2]
SOURCES = sorted((ROOT / "experiments").glob("*.py"))
COMMANDS = [path.stem for path in SOURCES if path.read_text().endswith("    launch.run(main)\n")]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with nothing but the installed wheel; its dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    # A copy: setuptools would take what an earlier build left in the checkout.
    left_out = shutil.ignore_patterns(".git", "build", "dist", "*.egg-info", ".venv", "venv", "runs", "__pycache__")
    shutil.copytree(ROOT, folder / "source", ignore=left_out)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", folder, folder / "source"], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True)
    shutil.rmtree(folder / "source")
    return folder


def call(installed, command, *flags):
    """Runs a command in an empty folder; returns what it printed."""
    (elsewhere := installed / "elsewhere").mkdir(exist_ok=True)
    result = subprocess.run(
        [sys.executable, "-m", f"experiments.{command}", *map(str, flags)],
        env=os.environ | {"PYTHONPATH": str(installed / "site")},
        cwd=elsewhere,
        text=True,
        capture_output=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_packages_are_those_of_the_wheel(installed):
    names = ("sdgan_jax", "experiments", "tfds_megn")
    program = f"import {', '.join(names)}; print({', '.join(name + '.__file__' for name in names)})"
    environment = os.environ | {"PYTHONPATH": str(installed / "site")}
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, env=environment, cwd=installed, text=True, capture_output=True, check=True).stdout
    assert all(path.startswith(str(installed / "site")) for path in found.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_starts(installed, command):
    assert f"usage: python -m experiments.{command} [--flag=value ...]" in call(installed, command, "--help")


def test_presets_are_found_by_the_names_that_the_readme_uses(installed):
    printed = call(installed, "train", "--config=experiments/configs/faces256.py", "--help")
    assert "--config.dataset=megn/rendered_256\n" in printed and "--config.batch_size=32\n" in printed


def test_the_model_in_the_box_draws(installed):
    assert "2 images in faces" in call(installed, "generate", "--attribute=mask", "--seeds=0-1", "--out=faces")
    assert Image.open(installed / "elsewhere" / "faces" / "mask_seed0001.png").size == (64, 64)


def test_an_attribute_is_worn(installed):
    face = tfds_megn.render(tfds_megn.sample_params(3), "none", 128)
    pictures.write_png(installed / "face.png", face, "a test")
    call(installed, "wear", f"--input={installed / 'face.png'}", "--attribute=mask", "--faces=largest", "--out=worn")
    assert (installed / "elsewhere" / "worn" / "manifest.csv").read_text().count("\n") >= 2
