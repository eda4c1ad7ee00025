"""The ordered map over worker processes, also where they cannot be used."""

import math
import sys

import pytest

from tfds_megn import workers


def test_order():
    tasks = list(range(40, 0, -1))
    got = list(workers.map_ordered(math.factorial, tasks, num_workers=2))
    assert got == [math.prod(range(1, task + 1)) for task in tasks]


def test_errors_come_out_in_their_place():
    results = workers.map_ordered(int, ["1", "2", "three", "4", "5"], num_workers=2)
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_leaving_early_ends_the_workers(monkeypatch):
    started = []
    start = workers._start
    monkeypatch.setattr(workers, "_start", lambda count: started.extend(start(count)) or started)
    results = workers.map_ordered(math.factorial, list(range(100)), num_workers=2)
    assert next(results) == 1
    results.close()
    assert len(started) == 2 and all(process.poll() is not None for process in started)


def test_goes_on_alone_where_no_process_starts(monkeypatch, capfd):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert list(workers.map_ordered(abs, [-1, -2, -3, -4, -5])) == [1, 2, 3, 4, 5]
    assert "no worker process" in capfd.readouterr().err


def test_goes_on_alone_when_workers_die(monkeypatch, capfd):
    monkeypatch.setattr(workers, "_CHILD", "raise SystemExit")
    assert list(workers.map_ordered(abs, [-1, -2, -3, -4, -5], num_workers=2)) == [1, 2, 3, 4, 5]
    assert 1 <= capfd.readouterr().err.count("a worker process ended early") <= 2  # once for each worker
