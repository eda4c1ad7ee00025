"""The text about a step on a TPU pod."""

import dataclasses

from sdgan_jax.benchmark import chips, topology_table
from tests.benchmark.plain import PLAIN

PHASE = {"flops": 4e9, "traffic": 3 * 2**30, "exchanged": 5 * 2**20}
TIMES = {"compute_seconds": 0.01, "memory_seconds": 0.04, "exchange_seconds": 0.01}
RESULTS = {
    "topology": "v5e:2x4",
    "devices": 8,
    "chip": dataclasses.asdict(chips.CHIPS["v5e"]),
    "config": dataclasses.asdict(PLAIN),
    "versions": {"jax": "0.10.2"},
    "memory": {"arguments": 2**30, "temporaries": 2**31, "program": 2**28, "total": 3.25 * 2**30},
    "fits": True,
    "largest_batch": None,
    "compiling": {
        "trace_seconds": 5.0,
        "lower_seconds": 3.0,
        "compile_seconds": 70.0,
        "processor_seconds": 120.0,
        "peak_host_bytes": 2.5 * 2**30,
    },
    "collectives": [
        {"phase": "main", "kind": "all-reduce", "arrays": 80, "bytes": 5 * 2**20, "group": 8},
        {"phase": "r1", "kind": "all-gather", "arrays": 1, "bytes": 2**20, "group": 4},
    ],
    "host_transfers": [],
    "phases": {"main": PHASE, "r1": PHASE},
    "steady": PHASE | TIMES | {"efficiency": 0.5, "efficiency_memory": 0.8},
    "scaling": {"8": {"efficiency": 0.5}, "64": {"efficiency": 0.46}},
}


def test_a_step_that_fits():
    text = topology_table.table(RESULTS)
    for line in (
        "8×8, batch 16, 8 × v5e (v5e:2x4); jax 0.10.2",
        "memory of a device   3.25 of 16.00 GiB",
        "                     arguments 1.00, temporaries 2.00, program 0.25",
        "exchanges            main update: all-reduce of 80 arrays, 5.0 MiB",
        "                     R1 update: all-gather of 1 arrays, 1.0 MiB in groups of 4",
        "host transfers       none",
        "mean step, predicted compute 10.00 ms (197 TFLOP/s), memory 40.00 ms (819 GB/s), exchange 10.00 ms",
        "                     with as many images a device: 8 devices 50%, 64 devices 46%",
        "compilation          trace 5 s, lower 3 s, compile 70 s; 120 processor seconds, 2.5 GiB of host memory",
    ):
        assert line in text.splitlines(), line
    assert "main update" in text and "4.0          3.00 GiB       5.0 MiB" in text
    assert "efficiency           50% = compute / (compute + exchange); 80% with" in text


def test_devices_that_share_a_copy_are_named_and_exchanges_of_a_kind_are_added_up():
    some = [{"phase": "main", "kind": "all-gather", "arrays": 1, "bytes": size * 2**20, "group": 4} for size in (2, 3)]
    shared = {"config": RESULTS["config"] | {"fsdp": 4}, "collectives": [*RESULTS["collectives"], *some]}
    lines = topology_table.table(RESULTS | shared).splitlines()
    assert lines[0] == "8×8, batch 16, 8 × v5e (v5e:2x4), 4 share a copy of the state; jax 0.10.2"
    assert "                     main update: 2 × all-gather of 2 arrays, 5.0 MiB in groups of 4" in lines


def test_a_step_that_does_not_fit_says_the_way_out():
    """Of the two images of a device one would fit, but a part must hold a whole group of four."""
    memory = {"arguments": 0.0, "temporaries": 0.0, "program": 0.0, "total": 20 * 2**30, "capacity": 15.75 * 2**30}
    without = {"memory": memory, "fits": False, "largest_batch": 8}
    text = topology_table.table(RESULTS | without)
    assert (
        "20.00 of 15.75 GiB: it does not fit." in text
        and "1 images a device would; set --config.batch_size=8, " in text
    )
    assert "accumulate" not in text and "exchanges" not in text
    larger = {"config": RESULTS["config"] | {"batch_size": 64}, "largest_batch": 40}
    assert "--config.accumulate=2, " in topology_table.table(RESULTS | without | larger)
    # The 32 images of a device in 2 parts, of which 16 fit: parts of 8 do, so 4 of all 32.
    in_parts = {"config": RESULTS["config"] | {"batch_size": 256, "accumulate": 2}, "largest_batch": 128}
    assert "--config.accumulate=4, " in topology_table.table(RESULTS | without | in_parts)
    assert "Not even one image" in topology_table.table(RESULTS | without | {"largest_batch": 0})
    unknown = topology_table.table(RESULTS | without | {"largest_batch": None})
    assert "it does not fit. Set --config.generator.remat=true" in unknown and "batch_size" not in unknown
