import os
import pathlib
import socket
import subprocess
import sys
import time

import pytest

from experiments import processes
from tests.ports import free_port

ROOT = pathlib.Path(__file__).parents[2]
JOIN = """
import os, sys, time
from absl import app
from experiments import launch, processes

JOIN = launch.define_processes()
processes.LONGEST_JOIN = int(os.environ.get("LONGEST_JOIN", processes.LONGEST_JOIN))

def main(argv):
    JOIN()
    import jax
    from jax.experimental import multihost_utils
    print(f"process {jax.process_index()} of {jax.process_count()}", flush=True)
    if os.environ.get("FAILS") == str(jax.process_index()):
        if os.environ.get("UNEXPECTED"):
            int("no number")
        if os.environ.get("DISK"):
            raise OSError(5, "Input/output error", "photos/a.png")
        raise ValueError("no such folder")
    while os.environ.get("STAYS"):
        multihost_utils.sync_global_devices("alive")
        time.sleep(0.1)

launch.run(main)
"""
SLURM = {"SLURM_JOB_ID": "77", "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"}


@pytest.fixture
def start(tmp_path):
    """Starts a process that joins others; all are ended after the test."""
    (tmp_path / "join.py").write_text(JOIN)
    (tmp_path / "torch.py").write_text("raise ImportError('no torch in these tests')")
    started = []

    def call(*flags, **variables):
        paths = os.pathsep.join([str(ROOT), str(tmp_path)])
        process = subprocess.Popen(
            [sys.executable, str(tmp_path / "join.py"), *flags],
            env=os.environ | {"PYTHONPATH": paths, "XLA_FLAGS": ""} | variables,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.communicate()


def finish(process):
    """Returns the exit code, the output and the last line of the errors."""
    out, errors = process.communicate(timeout=300)
    return process.returncode, out, errors.strip().splitlines()[-1] if errors.strip() else ""


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("host", 2, 0), "--coordinator=host: write HOST:PORT"),
        (("host:80", 2, 2), "--process_id=2: the numbers of --num_processes=2 processes go from 0 to 1"),
    ],
)
def test_arguments_that_cannot_be_right_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        processes.check(*arguments)


def test_what_is_not_known_is_not_refused():
    processes.check(None, None, 3)
    processes.check("[2001:db8::1]:1234", 4, 3)


def test_mpi_says_who_a_process_is():
    assert processes.read_mpi({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"}) == (4, 3)
    assert processes.read_mpi({"PMI_SIZE": "2", "PMI_RANK": "0"}) == (2, 0)
    assert processes.read_mpi({"OMPI_COMM_WORLD_SIZE": "4"}) == (None, None)


@pytest.mark.parametrize(
    "environment, devices",
    [
        ({"SLURM_STEP_TASKS_PER_NODE": "1(x4)"}, []),
        ({"SLURM_STEP_TASKS_PER_NODE": "1"}, []),
        ({"SLURM_STEP_TASKS_PER_NODE": "8(x2)"}, None),
        ({"SLURM_STEP_TASKS_PER_NODE": "1(x2),3"}, None),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "1"}, []),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_RANK": "3"}, [3]),
        ({"SLURM_STEP_TASKS_PER_NODE": "1", "JAX_LOCAL_DEVICE_IDS": "2"}, None),
        ({}, None),
    ],
)
def test_a_process_alone_on_its_host_takes_all_devices(environment, devices):
    assert processes.own_devices(environment) == devices


MPI_5 = [{"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": str(i)} for i in range(2)]
MPI_4 = [{**mpi, "OMPI_COMM_WORLD_LOCAL_RANK": str(i)} for i, mpi in enumerate(MPI_5)]


@pytest.mark.parametrize(
    "kind", ["open_mpi_5", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("slurm", "open_mpi_4"))]
)
def test_processes_join_by_the_environment(start, kind):
    port = str(free_port())
    flags, variables = ["--distributed"], [{}, {}]
    if kind == "slurm":
        variables = [SLURM | {"SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)} for i in range(2)]
    elif kind == "open_mpi_4":
        uri = "1531576320.0;tcp://127.0.0.1,10.148.0.1:34911"
        variables = [mpi | {"OMPI_MCA_orte_hnp_uri": uri} for mpi in MPI_4]
    else:
        flags, variables = [f"--coordinator=localhost:{port}"], MPI_5
    started = [start(*flags, JAX_COORDINATOR_PORT=port, **each) for each in variables]
    for i, process in enumerate(started):
        code, out, last = finish(process)
        assert (code, f"process {i} of 2" in out) == (0, True), last
        host = socket.gethostname()
        assert (f"(2 in all): 0 on {host}: 1, 1 on {host}: 1" in out) == (i == 0)


def test_without_a_known_cluster_the_flags_are_named(start):
    code, _, last = finish(start("--distributed"))
    assert code == 1
    assert last.startswith("error: --distributed: ") and "give --coordinator, --num_processes and --process_id" in last


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_dead_process_ends_the_other_which_names_it(start, killed):
    flags = [f"--coordinator=localhost:{free_port()}", "--num_processes=2", "--heartbeat=10"]
    started = [start(*flags, f"--process_id={i}", STAYS="1") for i in range(2)]
    for process in started:
        while "of 2" not in process.stdout.readline():
            assert process.poll() is None
    started[killed].kill()
    began = time.monotonic()
    code, _, last = finish(started[1 - killed])
    assert code not in (0, 1) and time.monotonic() - began < 40
    assert last.startswith(f"error: process {killed} ") and "the same command resumes" in last


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables, ends",
    [
        ({}, (1, "error: no such folder")),
        ({"DISK": "1"}, (75, "error: photos/a.png: Input/output error")),
        ({"UNEXPECTED": "1"}, (75, "ValueError: invalid literal for int() with base 10: 'no number'")),
    ],
)
def test_a_process_that_fails_alone_ends_the_other(start, variables, ends):
    flags = [f"--coordinator=localhost:{free_port()}", "--num_processes=2", "--heartbeat=10"]
    started = [start(*flags, f"--process_id={i}", STAYS="1", FAILS="1", **variables) for i in range(2)]
    code, _, last = finish(started[1])
    assert (code, last) == ends
    code, _, last = finish(started[0])
    assert code == 75 and last.startswith("error: another process has ended; see the logs of the others")


@pytest.mark.slow
def test_processes_that_cannot_join_say_why(start):
    address = f"--coordinator=localhost:{free_port()}"
    absent = start(address, "--num_processes=2", "--process_id=1", LONGEST_JOIN="5")
    code, _, last = finish(absent)
    assert code and last.startswith("error: the 2 processes have not all joined at localhost:")

    first = start(address, "--num_processes=2", "--process_id=0", LONGEST_JOIN="100")
    code, _, last = finish(start(address, "--num_processes=3", "--process_id=2", LONGEST_JOIN="100"))
    assert code and last.startswith("error: the first process expects fewer processes than process 2 does")
    first.kill()

    address = [f"--coordinator=localhost:{free_port()}", "--num_processes=3"]
    start(*address, "--process_id=0", LONGEST_JOIN="100")
    twins = [start(*address, "--process_id=1", LONGEST_JOIN="100") for _ in range(2)]
    while all(twin.poll() is None for twin in twins):
        time.sleep(0.2)
    code, _, last = finish(next(twin for twin in twins if twin.poll() is not None))
    assert code and last.startswith("error: another process has also joined as --process_id=1")
