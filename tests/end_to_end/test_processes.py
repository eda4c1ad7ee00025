"""Runs of several processes on one machine, started as a user starts them."""

import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from sdgan_jax.config import Config
from sdgan_jax.training import checkpoint
from sdgan_jax.training import workdir as workdir_lib
from tests.data import damage
from tests.end_to_end import preset
from tests.ports import free_port

ROOT = pathlib.Path(__file__).parents[2]


def train(workdir, steps, processes, *flags, devices=4, code=0, config=preset.__file__):
    """Runs the launcher in so many processes with `devices` in all; returns what the processes printed."""
    count = f"--xla_force_host_platform_device_count={devices // processes}"
    # tensorboardX loads torch where it is installed, which takes half of the time of a start.
    (workdir.parent / "torch.py").write_text("raise ImportError('no torch in these tests')")
    paths = os.pathsep.join([str(ROOT), str(workdir.parent)])
    environment = os.environ | {"PYTHONPATH": paths, "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {count}"}
    command = [sys.executable, "-m", "experiments.train", f"--config={config}"]
    command += [f"--workdir={workdir}", f"--config.total_steps={steps}", *flags]
    address = [f"--coordinator=localhost:{free_port()}", f"--num_processes={processes}"]
    started = [
        subprocess.Popen(
            command + (address + [f"--process_id={i}"] if processes > 1 else []),
            env=environment,
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for i in range(processes)
    ]
    try:
        printed = [process.communicate(timeout=1500)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [code] * processes, "\n\n".join(printed)
    return printed


def test_a_run_goes_on_with_another_number_of_processes(tmp_path):
    """2 → 1 → 2 processes, four devices in all; the digests of a checkpoint say that it was read as it was saved."""
    data = f"--config.data_dir={tmp_path / 'data'}"
    for steps, processes in ((2, 2), (4, 1), (6, 2)):
        printed = train(tmp_path / "run", steps, processes, "--noevaluate", data)
        assert f"Checkpoint:  {tmp_path / 'run' / 'checkpoints' / str(steps)}" in printed[0]
        assert (f"Resuming at step {steps - 2}" in printed[0]) == (steps > 2)
        for other in printed[1:]:
            assert not re.search(r"l_adv|Checkpoint|Traceback", other)  # these names itself alone
            assert re.search(rf"process 1 of 2 on \S+: step {steps}, \d+ images/s, \d+% waiting for data\n", other)
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert len(list((tmp_path / "run" / "samples").glob("x_hat_*.png"))) == 3


@pytest.mark.slow
def test_a_copy_of_the_state_is_shared_by_processes_and_read_by_others(tmp_path):
    """Each device has a quarter of the state, then half, then all; a run that starts from its weights has quarters."""
    sizes = [f"{name}.channel_{size}" for name in ("generator", "discriminator") for size in ("base=128", "max=16")]
    flags = [f"--config.{size}" for size in sizes]  # kernels of 2,304 numbers
    flags += ["--noevaluate", f"--config.data_dir={tmp_path / 'data'}"]
    losses = {}
    for steps, processes, fsdp in ((2, 2, 4), (4, 1, 2), (6, 2, 1)):
        printed = train(tmp_path / "run", steps, processes, f"--config.fsdp={fsdp}", *flags)
        assert (f"Resuming at step {steps - 2}" in printed[0]) == (steps > 2)
    train(tmp_path / "plain", 6, 1, *flags)
    for name in ("run", "plain"):
        records = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        losses[name] = [(record["step"], record["l_adv_g"], record["l_adv_d"]) for record in records]
        assert len(losses[name]) == 6
    np.testing.assert_allclose(losses["run"], losses["plain"], rtol=1e-5)
    printed = train(tmp_path / "next", 2, 2, "--config.fsdp=4", f"--config.init={tmp_path / 'run'}", *flags)
    assert f"Starting from {tmp_path / 'run'}" in printed[0]


@pytest.mark.slow
def test_a_second_run_in_the_workdir_is_refused_by_every_process(tmp_path):
    with workdir_lib.Lock(tmp_path / "run"):
        printed = train(tmp_path / "run", 2, 2, "--noevaluate", f"--config.data_dir={tmp_path / 'data'}", code=1)
    for text in printed:
        assert f"error: {tmp_path / 'run'} is in use by another run (" in text


@pytest.mark.slow
def test_broken_images_are_counted_over_all_processes(tmp_path):
    config = preset.get_config()
    config.data_dir = str(tmp_path / "data")
    damage.flip_bits(config, (3, 4, 30))  # the data set is prepared first
    flags = ["--noevaluate", f"--config.data_dir={config.data_dir}"]
    records = []
    for processes in (1, 2):
        printed = train(tmp_path / str(processes), 5, processes, *flags)
        left_out = re.findall(r"left out, .* image (\d+):", "".join(printed))
        assert {int(number) for number in left_out} == {3, 4, 30}
        lines = (tmp_path / str(processes) / "metrics.jsonl").read_text().splitlines()
        records.append([json.loads(line) for line in lines])
    for one, two in zip(*records, strict=True):
        assert one.get("skipped") == two.get("skipped")
        assert one["l_adv_d"] == pytest.approx(two["l_adv_d"], abs=1e-5)
    assert records[0][-1]["skipped"] == 3
    printed = train(tmp_path / "refused", 5, 2, *flags, "--config.max_skipped=2", code=1)
    for text in printed:
        assert "error: 3 images cannot be read, and config.max_skipped is 2" in text


RENDERED = """
from sdgan_jax.config import Config, DiscriminatorConfig, FusionConfig, GeneratorConfig

def get_config():
    return Config(
        dataset="megn/rendered_32_n600",
        resolution=32,
        log_every=1,
        checkpoint_every=1,
        generator=GeneratorConfig(16, mapping_layers=1, channel_base=64, channel_max=8),
        discriminator=DiscriminatorConfig(channel_base=64, channel_max=8),
        fusion=FusionConfig(width=8, width_max=8, blocks=1, kernel=1),
    )
"""


@pytest.mark.slow
def test_the_first_process_scores_and_measures_while_the_others_wait(tmp_path):
    (tmp_path / "rendered.py").write_text(RENDERED)
    data = f"--config.data_dir={tmp_path / 'data'}"
    printed = train(tmp_path / "run", 2, 2, data, config=tmp_path / "rendered.py")
    assert "Attribute accuracy: " in printed[0] and "Attribute accuracy" not in printed[1]
    assert (tmp_path / "run" / "evaluation" / "metrics.json").exists()
    with checkpoint.Checkpoints(tmp_path / "run", workdir_lib.load_config(tmp_path / "run", Config)) as checkpoints:
        assert checkpoints.best_step in (1, 2)
