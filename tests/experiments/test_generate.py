"""`python -m experiments.generate` and `measure` as a user types them."""

import os
import pathlib
import subprocess
import sys

import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).parents[2]


def run(folder, name, *arguments):
    command = [sys.executable, "-m", f"experiments.{name}", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )


def generate(folder, *arguments):
    return run(folder, "generate", f"--model={ROOT}/experiments/weights/faces32", "--out=faces", *arguments)


@pytest.mark.slow
def test_images_and_their_sheet(tmp_path):
    for _ in range(2):  # its own files are written anew
        result = generate(tmp_path, "--seeds=0-17,3", "--attribute=mask")
        assert result.returncode == 0, result.stderr
        assert result.stdout == "18 images in faces, all on faces/mask_sheet.png\n"
    assert len(os.listdir(tmp_path / "faces")) == 19
    assert Image.open(tmp_path / "faces" / "mask_seed0003.png").size == (32, 32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--attribute=hat"], "error: unknown attribute 'hat'; the known ones are none, mask"),
        (["--attribute="], "error: --attribute"),
        (["--truncation_cutoff=99"], "error: --truncation_cutoff=99: the model has 8 layers"),
        (["--truncation_cutoff=-3"], "error: flag --truncation_cutoff=-3: "),
        (["--label=1"], "error: --label=1: the model knows no classes; leave --label out"),
        (["--out=file"], "error: --out=file is not a folder; give a folder"),
        (["--attribute=mask"], "error: faces/mask_seed0015.png exists and was not written by sdgan-jax generate;"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, flags, line):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "mask_seed0015.png").write_text("mine")
    result = generate(tmp_path, *flags)
    assert result.returncode == 1 and result.stderr.startswith(line) and result.stderr.count("\n") == 1, result.stderr
    assert os.listdir(tmp_path / "faces") == ["mask_seed0015.png"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (
            ["--out=in", "--input=in"],
            "error: --out=in is the folder of the photos; give another one, such as in/results",
        ),
        (["--out=out", "--input=no"], "error: --input=no: there is no such file or folder"),
        (["--out=out", "--prnet=in"], "error: in has no network.json"),
        (["--out=taken"], "error: taken/worn.png exists and was not written by sdgan-jax measure;"),
    ],
)
def test_measure_refuses_before_it_measures(tmp_path, flags, line):
    (tmp_path / "in").mkdir()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "worn.png").write_text("mine")
    Image.new("RGB", (20, 20)).save(tmp_path / "in" / "a.png")
    result = run(tmp_path, "measure", *flags)
    assert result.returncode == 1 and result.stderr.startswith(line) and result.stderr.count("\n") == 1, result.stderr
