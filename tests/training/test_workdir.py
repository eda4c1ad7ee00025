"""The folder of a run: its config, and the lock that keeps a second run out."""

import errno
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


def test_checkpoints_without_a_config_are_refused(tmp_path, config):
    (tmp_path / "checkpoints" / "4").mkdir(parents=True)
    with pytest.raises(ValueError, match="has checkpoints, but no config.json, .* put it back to resume"):
        workdir_lib.save_config(tmp_path, config)
    assert os.listdir(tmp_path) == ["checkpoints"]


def test_a_workdir_that_cannot_be_written_is_named_with_the_way_out(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot be written \(Not a directory\); give another --workdir"):
        workdir_lib.Lock(tmp_path / "file" / "run")


@pytest.mark.parametrize("after", ["nothing", "another folder"])
def test_a_folder_that_goes_away_ends_the_run(tmp_path, after):
    folder = tmp_path / "run"
    with pytest.raises(OSError, match="the folder of this run is gone .* resumes from the last checkpoint") as raised:
        with workdir_lib.Lock(folder) as lock:
            lock.check()
            folder.rename(tmp_path / "moved")
            if after == "another folder":
                folder.mkdir()
            raise ValueError("whatever the libraries say")
    assert raised.value.filename == str(folder)


def test_an_error_of_the_run_keeps_its_message(tmp_path):
    with pytest.raises(ValueError, match="^of the run$"), workdir_lib.Lock(tmp_path):
        raise ValueError("of the run")


def test_a_full_disk_is_said_with_the_free_space(tmp_path):
    words = r"no space left on the disk \(.*iB free\); make room and run the same command again, which resumes"
    with pytest.raises(OSError, match=words) as raised, workdir_lib.Lock(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device", "metrics.jsonl")
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, "metrics.jsonl")
