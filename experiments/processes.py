"""Joining the processes of a training on several hosts, and leaving them.

JAX finds the others by itself on TPU pods, under Slurm and under Open MPI 4. Under Open MPI 5 and MPICH the number of
a process and their number are read from the environment here, and --coordinator is needed.
"""

from __future__ import annotations

import collections
import inspect
import json
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from experiments import fatal_log
from sdgan_jax.training import sharding

LONGEST_JOIN = 300  # seconds
HEARTBEAT = 100  # seconds, the default of JAX
START_AGAIN = 75  # exit code after a failure that another start may not repeat (EX_TEMPFAIL of sysexits.h)
_LONGEST_EVALUATION = 3600  # seconds
_NAME_BYTES = 64
_NAMED = 16  # processes that are named when all have joined
_MPI = (("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"), ("PMI_SIZE", "PMI_RANK"))  # Open MPI; MPICH and Intel MPI


def join(
    coordinator: str | None, num_processes: int | None, process_id: int | None, heartbeat: int = HEARTBEAT
) -> None:
    """Makes one machine of all processes.

    What is None is read from the environment. From here on the standard error goes through `fatal_log`.

    Args:
        coordinator: "host:port" of the first process.
        num_processes: number of processes, at least 1.
        process_id: number of this process, from 0.
        heartbeat: seconds without a sign of life after which a process counts as dead, and the others end.

    Raises:
        ValueError: it is not known who the others are, or the arguments contradict each other.
    """
    coordinator = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    count, index = read_mpi(os.environ)
    num_processes = count if num_processes is None else num_processes
    process_id = index if process_id is None else process_id
    check(coordinator, num_processes, process_id)
    _explain_fatal_errors(coordinator, num_processes, process_id, heartbeat)
    options: dict[str, Any] = {"heartbeat_timeout_seconds": heartbeat, "initialization_timeout": LONGEST_JOIN}
    if "shutdown_timeout_seconds" in inspect.signature(jax.distributed.initialize).parameters:  # not in JAX 0.8.0
        # The first process measures a trained model at the end, which the others wait for.
        options["shutdown_timeout_seconds"] = _LONGEST_EVALUATION
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id, own_devices(os.environ), **options)
    except ValueError as error:
        raise ValueError(
            f"--distributed: {error} On a cluster that jax does not know, give --coordinator, --num_processes and "
            "--process_id"
        ) from error
    sharding.connect()
    hosts = describe_hosts()
    if jax.process_index() == 0:
        print(hosts)


def describe_hosts() -> str:
    """Returns a line with the host and the number of devices of every process; all processes must call it."""
    name = np.zeros(_NAME_BYTES, np.uint8)
    raw = socket.gethostname().encode()[:_NAME_BYTES]
    name[: len(raw)] = np.frombuffer(raw, np.uint8)
    names = multihost_utils.process_allgather(name).reshape(-1, _NAME_BYTES)  # [processes,bytes]
    counts = collections.Counter(device.process_index for device in jax.devices())
    hosts = [f"{i} on {row.tobytes().rstrip(bytes(1)).decode()}: {counts[i]}" for i, row in enumerate(names)]
    more = f", and {len(hosts) - _NAMED} more" if len(hosts) > _NAMED else ""
    return f"Processes and their devices ({jax.device_count()} in all): {', '.join(hosts[:_NAMED])}{more}"


def check(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    """Raises ValueError when what is known of the processes cannot be right; None is not known."""
    if coordinator is not None and not re.fullmatch(r".+:\d{1,5}", coordinator):
        raise ValueError(f"--coordinator={coordinator}: write HOST:PORT, such as 10.0.0.1:1234")
    if num_processes is not None and process_id is not None and not 0 <= process_id < num_processes:
        raise ValueError(
            f"--process_id={process_id}: the numbers of --num_processes={num_processes} processes go from 0 to "
            f"{num_processes - 1}"
        )


def read_mpi(environment: Mapping[str, str]) -> tuple[int | None, int | None]:
    """Returns the number of processes and the number of this one under mpirun, (None, None) elsewhere."""
    for count, index in _MPI:
        if count in environment and index in environment:
            return int(environment[count]), int(environment[index])
    return None, None


def own_devices(environment: Mapping[str, str]) -> list[int] | None:
    """Returns which devices of the host a process takes: [] for all, None to leave it to JAX.

    JAX gives a process of Slurm or Open MPI 4 the one GPU of its number on the host. A process that is alone on its
    host gets all of them; under Open MPI 5, which JAX does not know, several processes get one each too.
    """
    if "JAX_LOCAL_DEVICE_IDS" in environment:
        return None
    if "OMPI_COMM_WORLD_LOCAL_SIZE" in environment:
        alone = environment["OMPI_COMM_WORLD_LOCAL_SIZE"] == "1"
        return [] if alone else [int(environment["OMPI_COMM_WORLD_LOCAL_RANK"])]
    tasks = environment.get("SLURM_STEP_TASKS_PER_NODE", "")  # such as 1 or 1(x4); 2(x3),1
    return [] if re.fullmatch(r"1(\(x\d+\))?", tasks) else None


def leave(code: int, patience: float, last_words: str = "") -> NoReturn:
    """Ends this process after a failure; at most `patience` seconds are spent on leaving together with the others.

    The exit handlers of JAX would wait an hour for processes that still compute. When the time is over, the others see
    that this process is dead.

    Args:
        code: exit code.
        patience: seconds.
        last_words: line for the standard error, unless JAX ends this process before, because another one is dead.
    """
    done = threading.Thread(target=jax.distributed.shutdown, daemon=True)
    done.start()
    done.join(patience)
    for worker in multiprocessing.active_children():
        worker.terminate()
    if last_words:
        print(last_words, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _explain_fatal_errors(
    coordinator: str | None, num_processes: int | None, process_id: int | None, heartbeat: int
) -> None:
    """Leads the standard error of this process through `fatal_log`."""
    facts = {
        "process": process_id,
        "processes": num_processes,
        "address": coordinator,
        "join": LONGEST_JOIN,
        "heartbeat": heartbeat,
    }
    reading, writing = os.pipe()
    # A process group of its own: Ctrl-C ends the training, and this one ends with it.
    command = [sys.executable, "-S", "-E", fatal_log.__file__, json.dumps(facts)]
    subprocess.Popen(command, stdin=reading, stdout=subprocess.DEVNULL, start_new_session=True)
    sys.stderr.flush()
    os.dup2(writing, 2)
    os.close(reading)
    os.close(writing)
