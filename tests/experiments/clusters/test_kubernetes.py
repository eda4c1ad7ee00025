import json

import pytest
import yaml

from tests.experiments.clusters import launchers

# The part of JobSet's CRD (config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml of kubernetes-sigs/jobset, commit
# 08dfbdf, v1alpha2) that the manifest uses: types, enums and required fields.
SCHEMA = json.loads((launchers.ROOT / "tests/experiments/clusters/jobset_schema.json").read_text())
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}


def faults(value, schema, path="manifest"):
    """Yields where a value is not as a schema says; fields that the schema does not name are faults."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if type(value) not in [TYPES[kind] for kind in kinds]:
        yield f"{path} is no {kinds}"
    elif isinstance(value, dict):
        known = schema.get("properties", {})
        yield from (f"{path} has no {name}" for name in schema.get("required", ()) if name not in value)
        for name, item in value.items():
            part = known.get(name, schema.get("additionalProperties"))
            yield from faults(item, part, f"{path}.{name}") if part else [f"{path} knows no {name}"]
    elif isinstance(value, list):
        for item in value:
            yield from faults(item, schema["items"], f"{path}[]")
    elif value not in schema.get("enum", [value]):
        yield f"{path} is {value}"


def manifest(*arguments, **variables):
    result = launchers.run("kubernetes.sh", *arguments, **variables)
    assert result.returncode == 0, result.stderr
    return yaml.safe_load(result.stdout)


FLAGS = ("--", "--config=pod.py", "--workdir=gs://bucket/run")


@pytest.mark.parametrize(
    "items", [(), ("nvidia.com/gpu=8",), ("select:a.b/c=d",), ("cpu=8", "memory=16Gi", "select:x=1")]
)
def test_manifests_fit_the_schema_of_jobset(items):
    assert list(faults(manifest("train", "image:1", "4", *items, *FLAGS), SCHEMA)) == []


def test_the_schema_finds_faults():
    found = manifest("train", "image:1", "4", *FLAGS)
    found["spec"]["failurePolicy"]["maxRestart"] = 3
    found["spec"]["replicatedJobs"][0]["replicas"] = "1"
    del found["spec"]["failurePolicy"]["rules"][0]["action"]
    assert len(list(faults(found, SCHEMA))) == 3


def test_pods_are_numbered_and_find_the_first_by_its_name():
    spec = manifest("train", "image:1", "4", *FLAGS)["spec"]
    job = spec["replicatedJobs"][0]["template"]["spec"]
    container = job["template"]["spec"]["containers"][0]
    assert (job["completionMode"], job["completions"], job["parallelism"]) == ("Indexed", 4, 4)
    assert spec["network"]["enableDNSHostnames"]
    # JobSet names a pod <jobset>-<replicated job>-<job>-<pod>, in the subdomain of the JobSet's name.
    name = f"train-{spec['replicatedJobs'][0]['name']}-0-0.train"
    assert container["args"][:3] == [
        f"--coordinator={name}:{container['ports'][0]['containerPort']}",
        "--num_processes=4",
        "--process_id=$(JOB_COMPLETION_INDEX)",
    ]


def test_a_mistake_fails_and_all_else_restarts():
    spec = manifest("train", "image:1", "4", *FLAGS, MAX_RESTARTS="7")["spec"]
    job = spec["replicatedJobs"][0]["template"]["spec"]
    assert spec["failurePolicy"]["maxRestarts"] == 7 and job["backoffLimit"] == 0
    assert job["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [1]
    assert spec["failurePolicy"]["rules"][0]["onJobFailureReasons"] == ["PodFailurePolicy"]
    assert job["template"]["spec"]["restartPolicy"] == "Never"


def test_shared_memory_is_not_the_64_mib_of_a_container():
    """Eight data workers of `pod` hold two batches each there, on four hosts of 64 images: 192 MiB."""
    pod = manifest("train", "image:1", "4", *FLAGS)["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    (mount,) = pod["containers"][0]["volumeMounts"]
    assert mount["mountPath"] == "/dev/shm"
    assert pod["volumes"] == [{"name": mount["name"], "emptyDir": {"medium": "Memory"}}]


def test_flags_and_resources_pass_through_unchanged():
    flags = ["--config.attributes=('none', \"mask\")", "--x=a\\n: b # c", "--y=$(HOME)"]
    spec = manifest("train", "image:1", "2", "google.com/tpu=4", "select:a=b=c", "--", *flags)["spec"]
    pod = spec["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    # Kubernetes turns $$( into $(, and would replace $(HOME).
    assert pod["containers"][0]["args"][3:] == [*flags[:2], "--y=$$(HOME)"]
    assert pod["containers"][0]["resources"] == {"limits": {"google.com/tpu": "4"}}
    assert pod["nodeSelector"] == {"a": "b=c"}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("train", "image", "four", *FLAGS), "usage: "),
        (("train", "image", "4", "--config=pod.py"), "usage: "),
        (("Train", "image", "4", *FLAGS), "error: NAME Train: use at most 40 small letters"),
        (("train", "image", "4", "gpu", *FLAGS), "error: gpu: write RESOURCE=AMOUNT or select:LABEL=VALUE"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    result = launchers.run("kubernetes.sh", *arguments)
    assert (result.returncode, result.stdout) == (2, "") and result.stderr.startswith(message)
