"""Checkpoints that one of two processes cannot read."""

import os
import pathlib
import re
import subprocess
import sys
import textwrap

import pytest

from tests.ports import free_port

ROOT = pathlib.Path(__file__).parents[2]

# Saves the steps 1 and 2, damages step 2 for process 1 alone, and restores.
_PROGRAM = """
    import pathlib, shutil, sys
    import jax, jax.numpy as jnp
    from jax.experimental import multihost_utils

    port, here, fsdp, workdir = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), pathlib.Path(sys.argv[4])
    jax.distributed.initialize(f"localhost:{port}", 2, here, heartbeat_timeout_seconds=20)
    from sdgan_jax.config import Config
    from sdgan_jax.training import checkpoint, sharding

    class Batches:
        position, skipped, dataset = 0, (), "faces"

    mesh = sharding.make_mesh(2, fsdp=fsdp)

    def make(step):
        kernel = lambda: jax.random.normal(jax.random.key(0), (256, 256))
        return sharding.make_state(lambda: {"step": jnp.int32(step), "params": {"kernel": kernel()}}, mesh)

    batches = Batches()
    with checkpoint.Checkpoints(workdir, Config()) as checkpoints:
        for batches.position in (1, 2):
            checkpoints.save(batches.position, make(batches.position), batches)
    if fsdp == 1 and here == 1:  # the file system of another host
        workdir = pathlib.Path(shutil.copytree(workdir, workdir.with_name("copy")))
    multihost_utils.sync_global_devices("saved")
    if here == 1:  # a piece of the kernel, or the position, which each process reads for itself
        damaged = workdir / "checkpoints" / "2"
        files = damaged.glob("state/ocdbt.process_1/d/*" if fsdp > 1 else "data/metadata")
        max(files, key=lambda path: path.stat().st_size).unlink()
    multihost_utils.sync_global_devices("damaged")
    with checkpoint.Checkpoints(workdir, Config()) as checkpoints:
        state = checkpoints.restore(make(0), batches)
    print("restored", int(state["step"]), batches.position)
"""


@pytest.mark.slow
@pytest.mark.parametrize("fsdp", [2, 1])
def test_processes_go_back_together_where_one_cannot_read(tmp_path, fsdp):
    """Both steps have the same kernel, whose checksum does not tell them apart."""
    port = str(free_port())
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=1"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": flags}
    arguments = [str(fsdp), str(tmp_path / "run")]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(_PROGRAM), port, str(number), *arguments],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for number in range(2)
    ]
    try:
        printed = [process.communicate(timeout=120)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], "\n\n".join(printed)
    assert "checkpoints/2 is damaged: process 1 cannot read it; going on from step 1" in printed[0]
    assert [re.findall("restored .*", text) for text in printed] == [["restored 1 1"]] * 2
