"""`python -m experiments.basis` as a user types it."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def basis(folder, *arguments):
    command = [sys.executable, "-m", "experiments.basis", f"--model={ROOT}/experiments/weights/faces32", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )


@pytest.mark.slow
def test_a_model_with_the_basis_its_report_and_its_sheets(tmp_path):
    for _ in range(2):  # the second time it is done
        result = basis(tmp_path, "--estimator=means", "--samples=300", "--out=out")
        assert result.returncode == 0, result.stderr
        assert "Entanglement of svm_conditional" in result.stdout
        assert result.stdout.endswith("\nModel with the basis: out; faces along its directions: out/traversal_*.png\n")
    assert {"basis.json", "basis.txt", "bases.safetensors", "traversal_svm.png"} <= set(os.listdir(tmp_path / "out"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--out=out"], f"error: {ROOT}/experiments/weights/faces32 has no encoder, which the estimator paired needs;"),
        (["--out=out", "--estimator=mean"], "error: flag --estimator=mean: value should be one of <random|means|svm|"),
        (["--out=out", "--samples=10"], "error: flag --samples=10: "),
        (["--out=file", "--estimator=svm"], "error: --out=file is not a folder; give a folder"),
        (["--out=out", "--model=no"], "error: no does not exist; train into it by "),
        (["--out=taken", "--estimator=svm"], "error: taken/basis.txt exists and was not written by sdgan-jax basis;"),
        ([], "error: give --out (folder for the model with the basis, the report and the sheets)"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, flags, line):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "basis.txt").write_text("mine")
    result = basis(tmp_path, *flags)
    assert result.returncode == 1 and result.stderr.startswith(line) and result.stderr.count("\n") == 1, result.stderr
