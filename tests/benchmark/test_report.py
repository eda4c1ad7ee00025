"""The table of a measurement: its rows, its cells for given numbers, and its warnings."""

import copy

from sdgan_jax.benchmark import report


def test_the_table_has_a_row_for_each_part(measured):
    text = report.table(measured[0])
    for start in (
        "8×8, batch 16, float32",
        "state and batch ",
        "G forward ",
        "D step with R1 ",
        "whole step, R1, path length ",
        "Input alone",
    ):
        assert sum(line.startswith(start) for line in text.splitlines()) == 1, start
    assert "idle 1.0" in text and "| " in text
    alone = {**measured[0], "peer": None}
    alone["parts"] = {name: {"ours": part["ours"]} for name, part in alone["parts"].items()}
    assert " | " not in report.table(alone)


SECONDS = {"median": 2.0, "min": 1.5, "max": 2.125}
PART = {
    "ours": {
        "seconds": SECONDS,
        "images_per_second": 4.0,
        "flops": 3.2e9,
        "share_of_peak": 0.25,
        "memory_bytes": 5 * 2**20,
        "compile_seconds": 7.04,
    },
    "peer": {"seconds": {"median": 5.0, "min": 4.0, "max": 6.0}},
    "speedup": {"median": 2.5},
}


def test_cells_of_a_row():
    columns = report._row("step+r1", PART).split()
    expected = "whole step, R1 2 (1.5-2.12) 4 3.2 25% 5 MiB 7.0 s | 5 (4-6) 2.50 ×"
    assert columns == expected.split()
    assert report._row("g_forward", {"ours": PART["ours"]}).split()[-2:] == ["7.0", "s"]


def test_warnings(measured):
    """A step slower than the input, and a spread of more than 1.3, each add a warning."""
    results = copy.deepcopy(measured[0])
    results["input"]["times_the_step"] = 0.5
    results["parts"]["steady"]["ours"]["seconds"] |= {"min": 1.0, "max": 1.4}
    text = report.table(results)
    assert "0.5 times the rate of the steady step: the step will wait for input; set --config.data_workers" in text
    assert "Times vary by 40%: other programs ran on this machine; measure again." in text
    results["input"]["times_the_step"] = 2.0
    results["parts"]["steady"]["ours"]["seconds"] |= {"min": 1.0, "max": 1.2}
    text = report.table(results)
    assert "2.0 times the rate of the steady step." in text and "Times vary" not in text
