"""Explains in one line why the processes of a training could not join, or which of them died.

JAX's distributed runtime ends a process by a C++ abort, which Python cannot catch: its reason is a log message,
followed by a stack trace. This program reads the standard error of a process, copies it, and replaces that message by a
line. It needs the standard library only.

python fatal_log.py '{"process": 1, "processes": 2, "address": "host:1234", "join": 300, "heartbeat": 100}' < PIPE
"""

from __future__ import annotations

import json
import os
import re
import select
import sys
from typing import Any

_FATAL = re.compile(rb"^F\d{4} .*Terminating process because the JAX distributed service", re.MULTILINE)
_PORT_TAKEN = re.compile(rb"Failed to add port to server.* for '\S*:(\d+)'")
_REMEMBERED = 16384  # bytes before the fatal message: those that name dead processes come first
_QUIET = 2.0  # seconds without a byte after which a stack trace is complete


def explain(text: str, facts: dict[str, Any]) -> str:
    """Returns the reason for the end of a process as one line without "error:", "" when it is not known.

    Args:
        text: the end of what the process logged.
        facts: "process" and "processes", its number and their number, or None; "address", the coordinator's, or None;
            "join" and "heartbeat", the time limits in seconds.
    """
    address = facts["address"] or "the first process"
    if taken := _PORT_TAKEN.search(text.encode()):
        return f"port {taken[1].decode()} is in use on this host; give every process another one in --coordinator"
    if "newer incarnation" in text:
        return f"another process has also joined as --process_id={facts['process']}; give each process its own number"
    if "Unexpected task registered" in text:
        return (
            f"the first process expects fewer processes than process {facts['process']} does "
            f"(--num_processes={facts['processes']}); give all of them the same number"
        )
    if "DEADLINE_EXCEEDED" in text and "RegisterTask" in text:
        count = f"{facts['processes']} processes" if facts["processes"] else "processes"
        return (
            f"the {count} have not all joined at {address} within {facts['join']} s: check that each is started once, "
            "with its own --process_id and the same --num_processes, and that this port of the first one is reachable"
        )
    if dead := _dead_processes(text):
        names = "process " + dead[0] if len(dead) == 1 else "processes " + ", ".join(dead)
        return (
            f"{names} died, or cannot be reached, for {facts['heartbeat']} s (--heartbeat); see its log. "
            "Start all processes again: the same command resumes"
        )
    if "Failed to send RPC to coordination service" in text:
        return (
            f"process 0 at {address} died, or cannot be reached; see its log. Start all processes again: the same "
            "command resumes"
        )
    return ""


def _dead_processes(text: str) -> list[str]:
    """Returns the numbers of the processes that JAX has reported as dead."""
    found = set(re.findall(r"[Tt]ask:?(?:\S*task:)? ?(\d+) heartbeat timeout", text))
    found |= set(re.findall(r"task:(\d+) heartbeat timeout", text))
    if listed := re.search(r"tasks are unhealthy[^\n]*:\n((?:\S*\d+\n)+)", text):
        found |= set(re.findall(r"(\d+)\n", listed[1]))
    return sorted(found, key=int)


def copy(source: int, target: int, facts: dict[str, Any]) -> None:
    """Copies a file descriptor to another until it ends; a fatal message of JAX is replaced by its explanation."""
    seen, held, fatal = b"", b"", False
    while not fatal or select.select([source], [], [], _QUIET)[0]:
        chunk = os.read(source, 65536)
        if not chunk:
            break
        seen = (seen + chunk)[-_REMEMBERED:]
        if not fatal and (found := _FATAL.search(chunk)):
            fatal = True
            os.write(target, chunk[: found.start()])
            chunk = chunk[found.start() :]
        if fatal:
            held += chunk
        else:
            os.write(target, chunk)
    reason = explain(seen.decode(errors="replace"), facts) if fatal or _PORT_TAKEN.search(seen) else ""
    os.write(target, f"error: {reason}\n".encode() if reason else held)
    while fatal and (chunk := os.read(source, 65536)):  # of processes that the dead one had started
        os.write(target, chunk)


if __name__ == "__main__":
    copy(0, 2, json.loads(sys.argv[1]))
