import json
import subprocess
import sys

import pytest

from tests.experiments.clusters import launchers

# Records its arguments; the state of the pod is a file, and the training ends with the next code of another.
GCLOUD = """#!{python} -SE
import json, pathlib, sys

folder, arguments = pathlib.Path(__file__).parent, sys.argv[1:]
with open(folder / "calls", "a") as file:
    file.write(json.dumps(arguments) + "\\n")
state, codes = folder / "state", folder / "codes"
action = arguments[3]
if action == "describe":
    if not state.exists():
        sys.exit("ERROR: NOT_FOUND")
    print(state.read_text())
elif action == "create":
    state.write_text("READY")
elif action == "delete":
    state.unlink()
elif action == "ssh" and "-m experiments.train" in arguments[-1]:
    code, after = json.loads(codes.read_text())[0]
    codes.write_text(json.dumps(json.loads(codes.read_text())[1:]))
    state.write_text(after)
    sys.exit(code)
"""
POD = ("pod", "us-west4-a", "--accelerator-type=v5litepod-64", "--spot", "--")
ARGUMENTS = (*POD, "--config=pod.py", "--workdir=gs://b/r")


@pytest.fixture
def pod(tmp_path):
    """Trains on a pod whose trainings end with these codes and states; returns the result and the calls of gcloud."""
    stubs = tmp_path / "stubs"
    launchers.write_stub(stubs, "gcloud", GCLOUD.format(python=sys.executable))

    def train(*ends, arguments=ARGUMENTS, state=None, **variables):
        (stubs / "codes").write_text(json.dumps(ends))
        if state:
            (stubs / "state").write_text(state)
        result = launchers.run("tpu_pod.sh", *arguments, stubs=stubs, PAUSE="0", **variables)
        return result, [json.loads(line) for line in (stubs / "calls").read_text().splitlines()]

    return train


def names(calls):
    return [call[3] for call in calls if call[3] != "describe"]


def test_a_pod_is_created_installed_and_trained_on(pod):
    result, calls = pod((0, "READY"))
    assert (result.returncode, names(calls)) == (0, ["create", "scp", "ssh", "ssh", "ssh"])
    assert calls[1][4:] == ["pod", "--zone=us-west4-a", "--accelerator-type=v5litepod-64", "--spot"]
    assert sum(call[-1].endswith("-e '.[tpu,gcs]'") for call in calls) == 1  # etils reads gs:// by the extra gcs
    train = calls[-1]
    assert train[4:7] == ["pod", "--zone=us-west4-a", "--worker=all"]
    assert train[7].endswith("-m experiments.train --distributed --config=pod.py --workdir=gs://b/r")


def test_a_preempted_pod_is_replaced_and_the_training_resumes(pod):
    result, calls = pod((255, "PREEMPTED"), (1, "PREEMPTED"), (0, "READY"))
    assert result.returncode == 0
    assert names(calls) == ["create", "scp", "ssh", "ssh", "ssh", *["delete", "create", "scp", "ssh", "ssh", "ssh"] * 2]


@pytest.mark.parametrize("code", [75, 134])
def test_after_the_death_of_a_process_all_start_again_on_the_same_pod(pod, code):
    result, calls = pod((code, "READY"), (0, "READY"), state="READY")
    assert (result.returncode, names(calls)) == (0, ["scp", "ssh", "ssh", "ssh"] * 2)


def test_a_mistake_is_not_repeated(pod):
    result, calls = pod((1, "READY"), state="READY")
    assert result.returncode == 1 and len(names(calls)) == 4


def test_restarts_are_limited(pod):
    result, _ = pod(*[(134, "READY")] * 3, state="READY", MAX_RESTARTS="2")
    assert result.returncode == 1
    assert result.stderr.endswith("error: the training on pod was started again 2 times\n")


def test_flags_pass_through_two_shells_unchanged(pod, tmp_path):
    flag = "--config.attributes=('none', \"$HOME\")"
    _, calls = pod((0, "READY"), arguments=(*POD, flag), state="READY")
    launchers.write_stub(tmp_path / "remote", "show", '#!/bin/bash\nprintf "%s" "$2"')
    command = calls[-1][-1].split("experiments.train ", 1)[1]
    shown = subprocess.run(["bash", "-c", f"{tmp_path}/remote/show {command}"], text=True, capture_output=True)
    assert shown.stdout == flag
