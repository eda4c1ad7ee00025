"""The command that dresses photos, with a network that knows one painted square."""

import csv
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.face3d.test_finding import painted

ROOT = pathlib.Path(__file__).parents[2]
_PROGRAM = """
import sys
from experiments import launch, wear
from sdgan_jax.face3d import finding
from tests.face3d.test_finding import LAYOUT, see_square
wear.read_network = lambda path: (see_square, LAYOUT, finding.MEGN)
launch.run(wear.main)
"""


def run(*arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", _PROGRAM, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)


@pytest.fixture
def folder(tmp_path):
    """Two photos of other sizes, one in a sub-folder; one without a face; one broken."""
    (tmp_path / "in" / "more").mkdir(parents=True)
    Image.fromarray(painted(240, 300, 150, 120, 150)).save(tmp_path / "in" / "a.png")
    Image.fromarray(painted(200, 200, 100, 96, 140)).save(tmp_path / "in" / "more" / "b.jpg")
    Image.new("RGB", (90, 90)).save(tmp_path / "in" / "empty.png")
    (tmp_path / "in" / "broken.png").write_bytes(b"no image")
    return tmp_path


@pytest.mark.slow
def test_a_folder_is_dressed(folder):
    result = run(f"--input={folder / 'in'}", "--attribute=mask", f"--out={folder / 'out'}", "--style=cup")
    assert result.returncode == 0, result.stderr
    for name, size in (("a.png", (300, 240)), ("more/b.png", (200, 200))):
        image = Image.open(folder / "out" / name)
        assert image.size == size
    before, after = (np.asarray(Image.open(folder / part / "a.png")) for part in ("in", "out"))
    changed = np.argwhere((before != after).any(-1))
    assert 120 < changed[:, 0].mean() < 195  # the lower half of the face
    rows = {row["file"].split("/in/")[1]: row for row in csv.DictReader((folder / "out" / "manifest.csv").open())}
    assert rows["a.png"]["style"] == "cup" and rows["a.png"]["out"] == "a.png" and float(rows["a.png"]["score"]) < 0.02
    assert abs(float(rows["a.png"]["yaw"])) < 1 and not rows["a.png"]["note"]
    assert "no face" in rows["empty.png"]["note"] and "broken" in rows["broken.png"]["note"]
    assert (folder / "out" / "sheet.png").exists() and result.stderr.count("skipped") == 2


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (("--attribute=mask", "--style=round"), "surgical"),
        pytest.param(("--attribute=hat",), "mustache", marks=pytest.mark.slow),
        pytest.param(("--attribute=mask", "--colour=blue"), "#rrggbb", marks=pytest.mark.slow),
    ],
)
def test_a_mistake_is_one_line(folder, flags, word):
    result = run(f"--input={folder / 'in'}", f"--out={folder / 'out'}", *flags)
    assert result.returncode == 1 and word in result.stderr and result.stderr.count("\n") == 1, result.stderr
