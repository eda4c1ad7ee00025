"""Messages are those that JAX 0.10.2 and 0.8.0 printed when they were made to fail."""

import json
import os
import subprocess
import sys

import pytest

from experiments import fatal_log

FACTS = {"process": 1, "processes": 3, "address": "first:1234", "join": 300, "heartbeat": 20}
HEAD = (
    "F1129 14:21:11.103944    3448 client.h:80] Terminating process because the JAX distributed service detected "
    "fatal errors. This most likely indicates that another task died; see the other task logs for more details. "
    "absl::Status: "
)
UNHEALTHY = (
    "E1129 14:19:26.882607    3105 coordination_service.cc:1549] [41] Use error polling to propagate the following "
    "error to all tasks: UNAVAILABLE: The following tasks are unhealthy (stopped sending heartbeats):\n1\n12\n"
    "The tasks have crashed. Check the task logs for an earlier error.\n"
)
STACK = "*** Check failure stack trace: ***\n    @     0x7fddf9840634  absl::lts_20260107::log_internal\n"
TASK = "UNAVAILABLE: Task 1 heartbeat timeout. This indicates that the remote task has failed"
OLD_TASK = TASK.replace("Task 1", "Task /job:jax_worker/replica:0/task:2")


@pytest.mark.parametrize(
    "text, expected",
    [
        (UNHEALTHY + HEAD + "INTERNAL: Shutdown barrier has failed.", "processes 1, 12 died"),
        (HEAD + TASK, "process 1 died"),
        (HEAD + OLD_TASK, "process 2 died"),
        (
            HEAD + "UNAVAILABLE: Failed to send RPC to coordination service. Either the leader task was preempted",
            "process 0 at first:1234 died",
        ),
        (
            HEAD + "DEADLINE_EXCEEDED: Deadline Exceeded\n\nRPC: /xla.coordination.CoordinationService/RegisterTask",
            "the 3 processes have not all joined at first:1234 within 300 s",
        ),
        (
            HEAD + "ALREADY_EXISTS: Aborted connect attempt as there is a request from a newer incarnation.",
            "another process has also joined as --process_id=1",
        ),
        (
            HEAD + "INVALID_ARGUMENT: Unexpected task registered with task_name=/job:jax_worker/replica:0/task:2",
            "expects fewer processes than process 1 does (--num_processes=3)",
        ),
        (
            "E1129 1 add_port.cc:83] Failed to add port to server: No address added out of total 1 resolved for "
            "'[::]:23460'",
            "port 23460 is in use on this host",
        ),
    ],
)
def test_messages_of_jax_are_explained(text, expected):
    assert expected in fatal_log.explain(text, FACTS)


def test_other_text_is_not_explained():
    assert fatal_log.explain("step 4  loss 0.5\nDEADLINE_EXCEEDED somewhere else\n", FACTS) == ""


def read(*chunks, end=True):
    """Returns what the program prints for these writes to its pipe."""
    command = [sys.executable, "-S", "-E", fatal_log.__file__, json.dumps(FACTS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        for chunk in chunks:
            os.write(program.stdin.fileno(), chunk.encode())
        if not end:  # the pipe stays open, as when a child of the dead process still has it
            return program.stderr.readline().decode()
        return program.communicate(timeout=60)[1].decode()


def test_what_is_not_fatal_is_copied_unchanged():
    assert read("step 1\r", "step 2\nerror: no such file\n") == "step 1\rstep 2\nerror: no such file\n"


def test_the_stack_trace_is_replaced_by_a_line():
    printed = read("step 3\n" + HEAD + "UNAVAILABLE: Task 1 heartbeat timeout.\n", STACK)
    assert printed.startswith("step 3\nerror: process 1 died, or cannot be reached, for 20 s (--heartbeat)")
    assert printed.count("\n") == 2


def test_an_unknown_fatal_message_is_kept():
    assert read(HEAD + "UNKNOWN: something new\n", STACK) == HEAD + "UNKNOWN: something new\n" + STACK


def test_the_line_comes_though_the_pipe_stays_open():
    assert read(HEAD + "UNAVAILABLE: Task 1 heartbeat timeout.\n", end=False).startswith("error: process 1 died")
