import json
import os
import socket
import sys

import pytest

from sdgan_jax.pretrained import directories
from tests.end_to_end import preset
from tests.experiments.clusters import launchers

# As Slurm does, starts the command once for each of two tasks, on this machine, and returns their highest exit code.
# In the first run of a job it kills the second task as soon as the training has logged KILL_AT steps.
SRUN = """#!{python}
import json, os, pathlib, subprocess, sys, time

folder = pathlib.Path(__file__).parent
with open(folder / "calls", "a") as file:
    file.write(json.dumps(["srun", *sys.argv[1:]]) + "\\n")
if "END" in os.environ:
    sys.exit(int(os.environ["END"]))
command = sys.argv[2:]
assert sys.argv[1] == "--kill-on-bad-exit=0" and not command[0].startswith("-"), command
tasks = []
for task in range(2):
    slurm = dict(SLURM_NTASKS="2", SLURM_STEP_NODELIST="localhost", SLURM_PROCID=str(task), SLURM_LOCALID="0")
    log = open(folder / f"log_{{task}}", "a")
    tasks.append(subprocess.Popen(command, env=os.environ | slurm, stdout=log, stderr=log))
kill_at = int(os.environ.get("KILL_AT", "0"))
while kill_at and any(task.poll() is None for task in tasks):
    try:
        if len(open(os.environ["METRICS"]).readlines()) >= kill_at:
            tasks[1].kill()
            break
    except FileNotFoundError:
        pass
    time.sleep(0.05)
codes = [task.wait() for task in tasks]
sys.exit(max(128 - code if code < 0 else code for code in codes))
"""
SCONTROL = """#!{python} -SE
import json, pathlib, sys

with open(pathlib.Path(__file__).parent / "calls", "a") as file:
    file.write(json.dumps(["scontrol", *sys.argv[1:]]) + "\\n")
"""


@pytest.fixture
def job(tmp_path):
    """Runs the job until it is not queued again; returns the last result and the calls of Slurm's programs."""
    stubs = tmp_path / "stubs"
    launchers.write_stub(stubs, "srun", SRUN.format(python=sys.executable))
    launchers.write_stub(stubs, "scontrol", SCONTROL.format(python=sys.executable))

    def run(*arguments, restarts=0, most=1, **variables):
        (stubs / "calls").write_text("")
        while True:
            variables |= {"SLURM_JOB_ID": "77", "SLURM_RESTART_COUNT": str(restarts), "PYTHON": sys.executable}
            result = launchers.run("slurm.sh", *arguments, stubs=stubs, cwd=launchers.ROOT, **variables)
            calls = [json.loads(line) for line in (stubs / "calls").read_text().splitlines()]
            if calls[-1:] != [["scontrol", "requeue", "77"]] or most == 1:
                return result, calls
            most, restarts = most - 1, restarts + 1
            variables.pop("KILL_AT", None)

    return run


@pytest.mark.parametrize("separator", [("--",), ()])
def test_the_flags_reach_the_training(job, separator):
    result, calls = job(*separator, "--config=a b.py", "--workdir=run", END="0")
    command = [sys.executable, "-m", "experiments.train", "--distributed", "--config=a b.py", "--workdir=run"]
    assert (result.returncode, calls) == (0, [["srun", "--kill-on-bad-exit=0", *command]])


@pytest.mark.parametrize("code", [0, 1, 75, 130, 134, 137, 143])
def test_all_but_success_and_mistakes_is_queued_again(job, code):
    result, calls = job("--config=x", END=str(code))
    queued = code > 1
    assert (len(calls) == 2) == queued
    assert result.returncode == (0 if queued else code)


def test_the_job_is_queued_again_a_limited_number_of_times(job):
    result, calls = job("--config=x", END="137", restarts=3, MAX_RESTARTS="3")
    assert result.returncode == 137 and len(calls) == 1
    assert result.stderr == "error: the training ended with 137; it was queued again 3 times already\n"


def test_the_options_for_sbatch_are_in_its_header():
    lines = (launchers.FOLDER / "slurm.sh").read_text().splitlines()
    options = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")]
    assert {"--requeue", "--ntasks-per-node=1", "--signal=TERM@180"} <= set(options)
    # sbatch reads options before the first command only.
    first = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert all(i < first for i, line in enumerate(lines) if line.startswith("#SBATCH"))


def free_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return str(found.getsockname()[1])


@pytest.mark.slow
def test_a_job_that_loses_a_task_ends_as_one_that_does_not(job, tmp_path):
    """Two real processes; the second is killed, the first ends and names it, both start again and resume."""
    (tmp_path / "torch.py").write_text("raise ImportError('no torch in these tests')")
    ends = {}
    for name, kill in (
        ("whole", {}),
        ("killed", {"KILL_AT": "5", "METRICS": str(tmp_path / "killed" / "metrics.jsonl")}),
    ):
        workdir = tmp_path / name
        result, calls = job(
            *("--", f"--config={preset.__file__}", f"--workdir={workdir}", "--config.total_steps=24", "--noevaluate"),
            *(f"--config.data_dir={tmp_path / 'data'}", "--heartbeat=10", "--config.sample_every=24"),
            most=2,
            PYTHONPATH=os.pathsep.join([str(launchers.ROOT), str(tmp_path)]),
            XLA_FLAGS=os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=2",
            JAX_COORDINATOR_PORT=free_port(),
            **kill,
        )
        logs = [(tmp_path / "stubs" / f"log_{task}").read_text() for task in range(2)]
        assert result.returncode == 0, logs
        assert [call[0] for call in calls] == (["srun", "scontrol", "srun"] if kill else ["srun"])
        saved = json.loads((workdir / directories.CHECKPOINTS / "24" / "data" / "metadata").read_text())
        records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
        losses = [{key: value for key, value in record.items() if key.startswith("l_")} for record in records]
        ends[name] = saved, losses[-1]
    assert "error: process 1 died, or cannot be reached, for 10 s" in logs[0]
    assert "Resuming at step" in logs[0]
    assert ends["killed"] == ends["whole"] and len(ends["whole"][0]["digests"]) > 10
