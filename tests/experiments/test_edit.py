"""`python -m experiments.edit` as a user types it."""

import csv
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import tfds_megn

ROOT = pathlib.Path(__file__).parents[2]


def edit(folder, *arguments):
    command = [sys.executable, "-m", "experiments.edit", f"--model={ROOT}/experiments/weights/faces32", "--input=in"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=folder, env=environment)


@pytest.fixture
def folder(tmp_path):
    """A rendered face that wears a mask."""
    (tmp_path / "in").mkdir()
    Image.fromarray(tfds_megn.render(tfds_megn.sample_params(3), "mask", 64)).save(tmp_path / "in" / "a.png")
    return tmp_path


@pytest.mark.slow
def test_a_removal_needs_no_attribute(folder):
    result = edit(folder, "--remove=mask", "--steps=20", "--align=off", "--out=out")
    assert result.returncode == 0, result.stderr
    assert "rendered" not in result.stdout  # a square that is edited as it is need not be a photo
    (row,) = csv.DictReader((folder / "out" / "manifest.csv").open())
    assert (row["attribute"], row["remove"], row["out"]) == ("", "mask", "a.png")
    before = np.asarray(Image.open(folder / "in" / "a.png").reduce(2)).astype(int)
    after = np.asarray(Image.open(folder / "out" / "a.png"))
    assert after.shape == (32, 32, 3) and np.abs(after - before)[:4].max() < np.abs(after - before)[16:].max()


@pytest.mark.slow
def test_a_face_is_edited_in_its_photo(folder):
    photo = np.random.default_rng(0).integers(90, 120, (220, 300, 3)).astype(np.uint8)
    photo[40:200, 60:220] = tfds_megn.render(tfds_megn.sample_params(3), "none", 160)
    Image.fromarray(photo).save(folder / "in" / "a.png")
    result = edit(folder, "--attribute=mask", "--steps=20", "--pivotal=3", "--out=out")
    assert result.returncode == 0, result.stderr
    assert "note: this model knows rendered faces" in result.stdout.splitlines()[-1]
    after = np.asarray(Image.open(folder / "out" / "a.png"))
    changed = np.argwhere((after != photo).any(-1))
    assert after.shape == photo.shape and len(changed)
    assert (changed.min(0) > (20, 30)).all() and (changed.max(0) < (219, 250)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ([], "error: no attribute is given; set --attribute or --remove to some of mask, eyeglasses, "),
        (["--remove=hat"], "error: unknown attribute 'hat'; the known ones are none, mask"),
        (["--remove=none"], "error: 'none' cannot be removed; the attributes are mask"),
        (["--attribute=mask", "--remove=mask"], "error: 'mask' cannot be added and removed at once"),
        (["--remove=mask", "--steps=0"], "error: --steps=0: this model has no encoder"),
        (["--remove=mask", "--steps=-1"], "error: flag --steps=-1: "),
        (["--remove=mask", "--faces=few"], "error: --faces=few: give all, largest, or a number from 1 on"),
        (["--remove=mask", "--align=off", "--faces=2"], "error: --network and --faces are about finding faces"),
        (["--remove=mask", "--network=nowhere"], "error: "),
        (
            ["--remove=mask", "--lpips=nowhere"],
            "error: nowhere does not exist; give a network directory of the kind lpips",
        ),
    ],
)
def test_a_mistake_is_one_line(folder, flags, line):
    result = edit(folder, *flags, "--out=out")
    assert result.returncode == 1 and result.stderr.startswith(line) and result.stderr.count("\n") == 1, result.stderr
    assert not (folder / "out").exists()
