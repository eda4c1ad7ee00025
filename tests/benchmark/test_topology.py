"""The figures that follow from a compiled step; with libtpu, a small step compiled for eight chips."""

import dataclasses
import importlib.util
import subprocess
import sys
import types

import pytest

from sdgan_jax import config as c
from sdgan_jax.benchmark import chips, hlo, topology
from sdgan_jax.training.gan.inputs import check_accumulation
from tests.benchmark.plain import PLAIN
from tests.training import tiny

# Two devices; R1 is under a scope of its own. 2·2·3·4 operations in the main update, 2·2·3·3 in R1.
PROGRAM = """HloModule jit_step

ENTRY %main (x: f32[2,3], y: f32[3,4], z: f32[3,3]) -> f32[2,4] {
  %x = f32[2,3]{1,0} parameter(0)
  %y = f32[3,4]{1,0} parameter(1)
  %z = f32[3,3]{1,0} parameter(2)
  %a = f32[2,4]{1,0} dot(%x, %y), lhs_contracting_dims={1}, rhs_contracting_dims={0}, metadata={op_name="jit(s)/dot"}
  %b = f32[2,3]{1,0} dot(%x, %z), lhs_contracting_dims={1}, rhs_contracting_dims={0}, metadata={op_name="jit(s)/r1/d"}
  %c = f32[2,3]{1,0} all-reduce(%b), replica_groups={{0,1}}, to_apply=%add, metadata={op_name="jit(s)/r1/psum"}
  ROOT %d = f32[2,4]{1,0} all-reduce(%a), replica_groups=[1,2]<=[2], to_apply=%add, metadata={op_name="jit(s)/psum"}
}
"""


def test_phases_are_counted_apart():
    config = dataclasses.replace(PLAIN, losses=c.LossConfig(r1=1.0, r1_every=4))
    phases = topology.count_phases(config, hlo.Program(PROGRAM), devices=2)
    assert phases["r1"] == {"flops": 36, "traffic": 4 * (6 + 9 + 6) + 4 * (6 + 6), "exchanged": 24}
    assert phases["main"] == {"flops": 48, "traffic": 4 * (6 + 12 + 8) + 4 * (8 + 8), "exchanged": 32}
    assert set(phases) == {"main", "r1"}
    # The program holds one of the two parts of an accumulated batch.
    twice = topology.count_phases(dataclasses.replace(config, accumulate=2), hlo.Program(PROGRAM), devices=2)
    assert twice["main"]["flops"] == 96 and twice["main"]["exchanged"] == 32


def test_gathering_and_scattering_are_half_of_an_exchange():
    """The scattered gradient is f32[4,4] in all, of which each of two devices keeps half."""
    program = PROGRAM.replace("f32[2,3]{1,0} all-reduce(%b)", "f32[2,3]{1,0} all-gather(%b)")
    program = program.replace("f32[2,4]{1,0} all-reduce(%a)", "f32[2,4]{1,0} reduce-scatter(%a)")
    config = dataclasses.replace(PLAIN, losses=c.LossConfig(r1=1.0, r1_every=4))
    phases = topology.count_phases(config, hlo.Program(program), devices=2)
    assert phases["r1"]["exchanged"] == 4 * 6 / 2 and phases["main"]["exchanged"] == 4 * 16 / 2


def test_the_mean_step_has_each_update_at_its_rate():
    config = tiny.config(losses=c.LossConfig(r1=1.0, r1_every=4), fusion_every=0)
    chip = chips.Chip("toy", flops=100.0, hbm_bytes=1.0, hbm_bandwidth=10.0, link=1.0)
    phases = {
        "main": {"flops": 300.0, "traffic": 50.0, "exchanged": 8.0},
        "r1": {"flops": 400.0, "traffic": 20.0, "exchanged": 4.0},
    }
    found = topology.predict(config, chip, phases, devices=2)
    assert (found["flops"], found["traffic"], found["exchanged"]) == (400.0, 55.0, 9.0)
    assert found["compute_seconds"] == 4.0 and found["memory_seconds"] == 5.5
    # Each of two devices sends every byte once, half each way; R1's at every fourth step.
    assert found["exchange_seconds"] == pytest.approx(8 / 2 + 4 / 2 / 4, rel=1e-5)
    assert found["efficiency"] == pytest.approx(4.0 / 8.5, rel=1e-5)
    assert found["efficiency_memory"] == pytest.approx(5.5 / 10.0, rel=1e-5)
    assert found["images_per_second"] == pytest.approx(tiny.BATCH / 10.0, rel=1e-5)


def test_more_devices_only_exchange_for_longer():
    """Of 7 bytes 8 devices send 2·7/8, half each way: 6.125 s over a link of 1 byte/s; then come 14 hops."""
    config = tiny.config(batch_size=16, fusion_every=0)
    chip = chips.Chip("toy", flops=100.0, hbm_bytes=1.0, hbm_bandwidth=10.0, link=1.0)
    phases = {"main": {"flops": 300.0, "traffic": 20.0, "exchanged": 7.0}}
    found = topology.scale(config, chip, phases, devices=2)
    assert list(found) == ["8", "64", "256"]
    assert {one["compute_seconds"] for one in found.values()} == {3.0}
    assert found["8"]["exchange_seconds"] == pytest.approx(6.125 + 14 * chips.HOP_SECONDS, rel=1e-12)
    assert found["256"]["exchange_seconds"] == pytest.approx(7 * 255 / 256 + 510 * chips.HOP_SECONDS, rel=1e-12)
    assert found["8"]["images_per_second"] == pytest.approx(8 * 8 / 9.125, rel=1e-4)


def test_images_that_fit_lie_on_a_line():
    """One GiB and 0.5 GiB an image: of 15.75 GiB, 29 images take 15.5."""
    assert topology.largest_rows((64, 32), (33.0, 17.0), 15.75) == 29
    assert topology.largest_rows((64, 32), (33.0, 17.0), 0.9) == 0


def test_no_more_images_fit_than_do_not():
    """A device of 64 images that needs 15.8 of 15.8 GiB, both rounded; and one that needs as much for 32, or more."""
    assert topology.largest_rows((64, 32), (15.8, 8.0), 15.8) == 63
    assert topology.largest_rows((64, 32), (20.0, 20.0), 15.75) is None
    assert topology.largest_rows((64, 32), (20.0, 22.0), 15.75) is None


@pytest.mark.parametrize(
    ("rows", "accumulate", "fixed", "capacity", "expected"),
    [
        (32, 1, 8.0, 20.0, 12),  # 8 GiB, and one for each image that is computed at once
        (32, 2, 8.0, 20.0, 24),  # half of the images at once: 12 of 24
        (32, 4, 8.0, 15.0, 24),  # 7 of 28, of which 24 are whole groups of two in four parts
        (8, 4, 8.0, 9.0, None),  # two images at once do not fit, and fewer are no whole group
        (16, 4, 8.0, 9.0, None),  # four do not fit; two, which are 8 images in four parts, do not either
        (1, 1, 8.0, 8.5, 0),
        (4, 1, 8.0, 8.5, 0),
    ],
)
def test_a_batch_that_fits_fits_in_as_many_parts(monkeypatch, rows, accumulate, fixed, capacity, expected):
    """The compiler is one that needs GiB in proportion to the images that a device computes at once."""
    discriminator = dataclasses.replace(PLAIN.discriminator, mbstd_group=2)
    config = dataclasses.replace(PLAIN, batch_size=rows * 8, accumulate=accumulate, discriminator=discriminator)
    mesh = types.SimpleNamespace(size=8)

    def need(config):
        check_accumulation(config, mesh.size)
        return {"total": fixed + config.batch_size / mesh.size / config.accumulate, "capacity": capacity}

    monkeypatch.setattr(topology, "compile_step", lambda nets, mesh: topology.Report(need(nets.config), None, {}))
    found = topology._largest_batch(config, mesh, need(config), lambda line: None)
    assert found == (expected and expected * 8)
    if found:
        best = need(dataclasses.replace(config, batch_size=found))
        assert best["total"] <= capacity


def test_a_shortage_is_read_from_the_message_of_the_compiler():
    """The first is verbatim of libtpu 0.0.42; the second form is that of a program that is too large as a whole."""
    message = (
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (64.00G) exceeds "
        "available HBM (15.75G)."
    )
    found = topology.read_shortage(message)
    assert (found["total"], found["capacity"]) == (64 * 2**30, 15.75 * 2**30)
    found = topology.read_shortage("Ran out of memory in memory space hbm. Used 512.5M of 15.75G hbm. Exceeded …")
    assert (found["total"], found["capacity"]) == (512.5 * 2**20, 15.75 * 2**30)


def test_other_failures_of_the_compiler_are_reported():
    with pytest.raises(RuntimeError, match="the TPU compiler failed: INTERNAL: no idea"):
        topology.read_shortage("INTERNAL:\n no idea")


needs_libtpu = pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is not None, reason="libtpu is installed")
def test_a_missing_compiler_is_named():
    with pytest.raises(RuntimeError, match="install it by pip install -e"):
        topology.measure(PLAIN, "v5e:2x4")


@pytest.mark.slow
@needs_libtpu
def test_a_small_step_for_eight_chips():
    """In a process of its own: JAX loads libtpu once, and only where its settings allow it."""
    program = (
        "from tests.benchmark.plain import PLAIN; from sdgan_jax.benchmark import topology, topology_table;"
        "found = topology.measure(PLAIN, 'v5e:2x4'); print(topology_table.table(found));"
        "assert found['fits'] and found['devices'] == 8 and found['host_transfers'] == [];"
        "assert {(one['kind'], one['group']) for one in found['collectives']} == {('all-reduce', 8)};"
        "assert {one['phase'] for one in found['collectives']} == {'main', 'r1', 'path_length'};"
        "assert all(phase['flops'] > 1e6 for phase in found['phases'].values())"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "8 × v5e (v5e:2x4)" in result.stdout
