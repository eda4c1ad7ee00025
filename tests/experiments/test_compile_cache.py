"""Compiled programs are kept on disk, in a folder that stays small."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from etils import epath

import tfds_megn
from experiments import compile_cache
from sdgan_jax import pictures

ROOT = Path(__file__).parents[2]
PROGRAM = """
import jax
from experiments import launch
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event) if event.endswith("cache_hits") else None)
launch.open_devices()
print(float(jax.jit(lambda x: (x * 2 + 1).sum())(jax.numpy.arange(3.0))), len(hits) > 0)
"""

COMMAND = """
import atexit, collections, runpy, sys, jax
events = collections.Counter()
jax.monitoring.register_event_listener(lambda event, **_: events.update([event.rsplit("/", 1)[-1]]))
atexit.register(lambda: print(events["compile_requests_use_cache"], events["cache_hits"]))
sys.argv.pop(0)
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def start(*arguments, program=PROGRAM, **environment):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=inherited | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()


def test_the_second_start_reads_what_the_first_compiled(tmp_path):
    assert start(XDG_CACHE_HOME=str(tmp_path)) == ["9.0", "False"]
    assert list((tmp_path / "sdgan_jax" / "compiled").rglob("*-cache"))
    assert start(XDG_CACHE_HOME=str(tmp_path)) == ["9.0", "True"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "generate --seeds=0-1",
        "edit --input=PICTURE --attribute=mask --align=off",
        "edit --input=PICTURE --attribute=mask --align=off --steps=1",
        "wear --input=PICTURE --attribute=mask --faces=largest",
    ],
)
def test_the_second_start_of_a_command_compiles_nothing(tmp_path, command):
    picture = tfds_megn.render(tfds_megn.sample_params(3), "none", 64)
    pictures.write_png(tmp_path / "face.png", picture, "test")
    name, *flags = command.replace("PICTURE", str(tmp_path / "face.png")).split()
    kept = []
    for out in ("first", "second"):
        arguments = (f"experiments.{name}", *flags, f"--out={tmp_path / out}")
        *_, programs, hits = start(*arguments, program=COMMAND, XDG_CACHE_HOME=str(tmp_path / "cache"))
        kept.append({path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()})
        assert int(programs) > 1
    assert hits == programs and kept[0] == kept[1]


def test_the_variables_of_jax_name_another_folder_and_turn_it_off(tmp_path):
    own = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "own")}
    start(XDG_CACHE_HOME=str(tmp_path), **own)
    start(XDG_CACHE_HOME=str(tmp_path), JAX_ENABLE_COMPILATION_CACHE="false")
    assert (tmp_path / "own").exists() and not (tmp_path / "sdgan_jax").exists()


def test_a_folder_that_cannot_be_made_stops_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert start(XDG_CACHE_HOME=str(tmp_path / "file")) == ["9.0", "False"]


def test_a_damaged_program_is_compiled_again(tmp_path):
    start(XDG_CACHE_HOME=str(tmp_path))
    for path in (tmp_path / "sdgan_jax" / "compiled").rglob("*-cache"):
        path.write_bytes(path.read_bytes()[:20])
    assert start(XDG_CACHE_HOME=str(tmp_path)) == ["9.0", "False"]
    assert start(XDG_CACHE_HOME=str(tmp_path)) == ["9.0", "True"]  # it was replaced


def test_files_that_were_read_least_recently_are_removed_first(tmp_path):
    for age, name in enumerate("abcd"):
        file = tmp_path / "host" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(bytes(100))
        os.utime(file, (1e9 - age, 1e9 - 10))
    compile_cache.prune(epath.Path(tmp_path), 250)
    assert sorted(path.name for path in (tmp_path / "host").iterdir()) == ["a", "b"]
    compile_cache.prune(epath.Path(tmp_path), 250)
    assert sorted(path.name for path in (tmp_path / "host").iterdir()) == ["a", "b"]
