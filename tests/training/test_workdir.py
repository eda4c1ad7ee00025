"""The folder of a run: its config, and the lock that keeps a second run out."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from sdgan_jax import config as config_lib
from sdgan_jax.training import checkpoint
from sdgan_jax.training import workdir as workdir_lib


@pytest.fixture
def config():
    return config_lib.Config(resolution=64, dataset="megn/rendered_64", keep_checkpoints=2)


def test_config_is_kept_beside_the_checkpoints_and_guards_the_workdir(tmp_path, config):
    workdir = tmp_path / "a" / "b"
    workdir_lib.save_config(workdir, config)
    assert workdir_lib.load_config(workdir, config_lib.Config) == config
    assert os.listdir(workdir) == ["config.json"]
    assert json.loads((workdir / "config.json").read_text())["resolution"] == 64
    config.total_steps, config.data_workers = 77, 3
    workdir_lib.save_config(workdir, config)
    assert workdir_lib.load_config(workdir, config_lib.Config).total_steps == 77
    config.batch_size, config.losses.r1 = 8, 2.0
    with pytest.raises(ValueError, match="batch_size was 16 and is 8; losses.r1 was 0.0 and is 2.0") as raised:
        checkpoint.Checkpoints(workdir, config)
    assert "total_steps" not in str(raised.value)
    assert workdir_lib.load_config(workdir, config_lib.Config).batch_size == 16
    (workdir / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json: it is not JSON"):
        workdir_lib.load_config(workdir, config_lib.Config)


_HOLDER = """
    import sys, time
    from sdgan_jax.training import workdir
    lock = workdir.Lock(sys.argv[1])
    print("locked", flush=True)
    time.sleep(600)
"""


def test_a_second_run_is_refused_and_the_first_named(tmp_path):
    program = [sys.executable, "-c", textwrap.dedent(_HOLDER), str(tmp_path / "run")]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "locked\n"
            with pytest.raises(ValueError, match=f"run is in use by another run \\(process {holder.pid} on ") as raised:
                workdir_lib.Lock(tmp_path / "run")
            assert "\n" not in str(raised.value)
        finally:
            os.kill(holder.pid, signal.SIGKILL)
    with workdir_lib.Lock(tmp_path / "run"):  # the lock of a dead process is taken over
        assert json.loads((tmp_path / "run" / "lock").read_text())["pid"] == os.getpid()
    with workdir_lib.Lock(tmp_path / "run"):
        pass
