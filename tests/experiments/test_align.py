"""`python -m experiments.align` as a user types it."""

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


def align(folder, *arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "experiments.align", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


@pytest.mark.slow
def test_faces_are_found_and_framed(tmp_path):
    """Rendered faces on larger canvases, found by the network that comes with the project."""
    for person, label in enumerate(("none", "none", "mask", "mask")):
        photo = np.random.default_rng(person).integers(90, 120, (220, 300, 3)).astype(np.uint8)
        left, top = 60 + 20 * person, 10 + 10 * person
        photo[top : top + 160, left : left + 160] = tfds_megn.render(tfds_megn.sample_params(person + 3), label, 160)
        (tmp_path / "in" / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(tmp_path / "in" / label / f"{person}.png")
    result = align(tmp_path, "--input=in", "--out=out", "--size=64")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1].startswith("Use them by --config.manual_dir=out/photos")
    table = list(csv.DictReader((tmp_path / "out" / "manifest.csv").open()))
    assert [row["crop"] for row in table].count("face") >= 3
    for row in table:
        person = int(row["file"][-5])
        if row["crop"] == "face":
            assert 100 < float(row["side"]) < 220
            middle = 0.5 * (float(row["left"]) + float(row["right"]))
            assert abs(middle - (60 + 20 * person + 80)) < 25
    assert {row["split"] for row in table} == {"train", "validation", "test"}
    again = align(tmp_path, "--input=in", "--out=out", "--size=64")
    assert again.stdout.startswith("0 images in out, and those of 4 photos done before")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--out=out"], "error: give --input (folder or zip of labelled photos)"),
        (["--input=nowhere", "--out=out"], "error: no photos: nowhere does not exist; make it and put your photos"),
        (["--input=in", "--out=out"], "error: in: no labels.csv and no folder named after an attribute"),
        (["--input=in", "--out=out", "--network=nowhere"], "error: "),
        (["--input=in", "--out=out", "--size=1"], "error: flag --size=1: "),
    ],
)
def test_a_mistake_is_one_line(tmp_path, flags, line):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (30, 30)).save(tmp_path / "in" / "a.png")
    result = align(tmp_path, *flags)
    assert result.returncode == 1 and result.stderr.startswith(line) and result.stderr.count("\n") == 1, result.stderr
