"""Launchers of `experiments/clusters` with stubs for the programs of the clusters."""

import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).parents[3]
FOLDER = ROOT / "experiments" / "clusters"


def write_stub(folder, name, text):
    """Writes a program into a folder for PATH."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def run(script, *arguments, stubs=None, cwd=None, **variables):
    """Runs a launcher; programs in the folder `stubs` go before those of the system."""
    path = os.pathsep.join([*([str(stubs)] if stubs else []), os.environ["PATH"]])
    return subprocess.run(
        ["bash", str(FOLDER / script), *arguments],
        env=os.environ | {"PATH": path} | variables,
        cwd=cwd,
        text=True,
        capture_output=True,
        timeout=1500,
    )
