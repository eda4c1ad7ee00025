"""Extraction: numpy's moments of all features at once, resumption, and what the store keeps."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent import futures

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.evaluation import extraction
from sdgan_jax.evaluation.extraction import FEATURES, LOGITS
from tests.evaluation import small_sets
from tests.ports import free_port

ROOT = pathlib.Path(__file__).parents[2]
COUNT = 300  # four devices: batches of 128, chunks of 256
IMAGES = small_sets.pixels(COUNT)
EXPECTED = 0.5 * IMAGES.astype(np.float64).mean((1, 2))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(extraction, "_CHUNK", 256)
    return tmp_path / "cache" / "sdgan_jax" / "statistics"


def counted(task):
    """The task, and the list of the numbers that it reads."""
    read = []

    def reading(numbers):
        read.extend(numbers.tolist())
        return task.read(numbers)

    return extraction.Task(task.name, task.key, task.params, reading, task.function), read


def test_moments_and_lists_are_those_of_all_images(cache):
    assert len(jax.devices()) == 4
    found = extraction.compute(small_sets.array_task(IMAGES), COUNT, (FEATURES, LOGITS), quiet=True)
    assert found.count == found.moments.count == COUNT
    np.testing.assert_allclose(found.lists[FEATURES], EXPECTED, rtol=1e-6)
    np.testing.assert_allclose(found.lists[LOGITS], IMAGES[:, 0, :3, 0] / 64)
    np.testing.assert_allclose(found.moments.mean, EXPECTED.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.moments.covariance(), np.cov(EXPECTED, rowvar=False), rtol=1e-4, atol=1e-4)


def test_without_lists_only_sums_are_kept(cache):
    found = extraction.compute(small_sets.array_task(IMAGES), 17, quiet=True)
    assert found.lists == {} and found.count == 17
    np.testing.assert_allclose(found.moments.mean, EXPECTED[:17].mean(0), rtol=1e-6)
    (folder,) = cache.iterdir()
    assert {path.name for path in folder.iterdir()} == {"key.json", "moments.safetensors"}
    key = json.loads((folder / "key.json").read_text())
    assert key["number"] == 17 and key["array"] == {} and key["process"] == [0, 1]


def test_stored_statistics_are_read_and_others_computed(cache):
    task, read = counted(small_sets.array_task(IMAGES))
    first = extraction.compute(task, COUNT, quiet=True)
    assert set(read) == set(range(COUNT))
    read.clear()
    no_network = dataclasses.replace(task, function=None, params=object())  # no array for a device
    again = extraction.compute(no_network, COUNT, quiet=True)
    assert not read
    np.testing.assert_array_equal(again.moments.scatter, first.moments.scatter)
    extraction.compute(task, COUNT, (FEATURES,), quiet=True)  # lists are wanted now, which were not stored
    assert set(read) == set(range(COUNT))
    read.clear()
    extraction.compute(task, COUNT, quiet=True)  # sums are stored beside lists
    assert not read
    extraction.compute(counted(small_sets.array_task(IMAGES, other=1))[0], COUNT, quiet=True)
    extraction.compute(task, 20, quiet=True)
    assert len(list(cache.iterdir())) == 3
    extraction.forget(task, 20)
    assert len(list(cache.iterdir())) == 2


def test_memory_is_that_of_a_chunk_and_not_of_the_set():
    """A chunk of 256 long logits is 4 MiB; those of all images would be 32."""

    def peak(count):
        def function(params, rows):
            return {LOGITS: jnp.tile(rows["row"], (1, 512))}

        def read(numbers):
            return {"row": (numbers[:, None] + np.arange(8)).astype(np.float32)}

        task = extraction.Task("rows", {}, {}, read, function)
        tracemalloc.start()
        extraction.compute(task, count, quiet=True)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(2048) < 1.5 * peak(512)


@pytest.mark.parametrize("kept", [(), (FEATURES,)])
def test_an_interrupted_computation_continues_at_its_last_chunk(kept):
    whole = extraction.compute(small_sets.array_task(IMAGES, whole=1), COUNT, kept, quiet=True)
    task, read = counted(small_sets.array_task(IMAGES))

    def stop(numbers):
        if numbers.max() >= 256:
            raise KeyboardInterrupt
        return task.read(numbers)

    with pytest.raises(KeyboardInterrupt):
        extraction.compute(extraction.Task(task.name, task.key, task.params, stop, task.function), COUNT, kept, True)
    read.clear()
    resumed = extraction.compute(task, COUNT, kept, quiet=True)
    assert set(read) == set(range(256, COUNT))
    np.testing.assert_array_equal(resumed.moments.scatter, whole.moments.scatter)
    np.testing.assert_array_equal(resumed.moments.mean, whole.moments.mean)
    for name in kept:
        np.testing.assert_array_equal(resumed.lists[name], whole.lists[name])


def test_a_damaged_store_is_computed_again(cache):
    task, read = counted(small_sets.array_task(IMAGES))
    first = extraction.compute(task, COUNT, quiet=True)
    (folder,) = cache.iterdir()
    (folder / "moments.safetensors").write_bytes((folder / "moments.safetensors").read_bytes()[:-8])
    read.clear()
    again = extraction.compute(task, COUNT, quiet=True)
    assert set(read) == set(range(COUNT))
    np.testing.assert_array_equal(again.moments.scatter, first.moments.scatter)


def test_a_second_command_waits_and_computes_nothing(capfd):
    task, read = counted(small_sets.array_task(IMAGES))
    begun, go_on = threading.Event(), threading.Event()

    def slowly(numbers):
        begun.set()
        assert go_on.wait(60)
        return task.read(numbers)

    with futures.ThreadPoolExecutor(2) as pool:
        slow = dataclasses.replace(task, read=slowly)
        first = pool.submit(extraction.compute, slow, COUNT, quiet=True)
        begun.wait(60)
        second = pool.submit(extraction.compute, task, COUNT, quiet=True)
        while "another command computes the same; this one waits for it" not in capfd.readouterr().err:
            assert not second.done()
            time.sleep(0.02)
        go_on.set()
        np.testing.assert_array_equal(second.result().moments.scatter, first.result().moments.scatter)
    assert sorted(set(read)) == list(range(COUNT)) and len(read) < 2 * COUNT  # of which the last fill up a batch


def test_values_that_are_not_finite_are_refused():
    images = IMAGES.astype(np.float32)
    images[7] = np.nan
    with pytest.raises(ValueError, match="colours of an array: values are not finite"):
        extraction.compute(small_sets.array_task(images), COUNT, quiet=True)


PROCESS = """
import sys
import jax, numpy as np
from sdgan_jax.evaluation import extraction
from tests.evaluation import small_sets
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
assert len(jax.devices()) == 4 and len(jax.local_devices()) == 2
found = extraction.compute(small_sets.array_task(small_sets.pixels(37)), 37, ("features",), quiet=True)
np.savez(sys.argv[3] + sys.argv[2], mean=found.moments.mean, scatter=found.moments.scatter, **found.lists)
"""


@pytest.mark.slow
def test_two_processes_share_the_images_and_know_the_results_of_all(tmp_path):
    """The lists are in the order of the images, and the moments keep the precision of float64."""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": flags}
    command = [sys.executable, "-c", PROCESS, f"localhost:{free_port()}"]
    started = [subprocess.Popen([*command, str(i), str(tmp_path / "p")], env=environment, cwd=ROOT) for i in range(2)]
    try:
        assert [process.wait(timeout=300) for process in started] == [0, 0]
    finally:
        for process in started:
            process.kill()
    expected = extraction.compute(small_sets.array_task(IMAGES[:37]), 37, (FEATURES,), quiet=True)
    for i in range(2):
        found = np.load(tmp_path / f"p{i}.npz")
        np.testing.assert_array_equal(found["features"], expected.lists[FEATURES])
        np.testing.assert_allclose(found["mean"], expected.moments.mean, rtol=1e-13)
        np.testing.assert_allclose(found["scatter"], expected.moments.scatter, rtol=1e-12)
