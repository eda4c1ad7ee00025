"""The reader of HLO text, on programs compiled here and on a stored program of the TPU compiler."""

import gzip
import importlib.util
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from sdgan_jax.benchmark import hlo
from sdgan_jax.training import sharding
from sdgan_jax.training.sharding import AXIS
from tests.benchmark import tpu_program

ROWS = jax.ShapeDtypeStruct((8, 12), np.float32)


def compile_rows(function, out=AXIS, **options):
    """Compiles a function of f32[2,12], the rows of one of four devices; `out` is None for a result without rows."""
    mesh = sharding.make_mesh(8)
    mapped = jax.shard_map(function, mesh=mesh, in_specs=P(AXIS), out_specs=P(out) if out else P(), check_vma=False)
    return hlo.Program(jax.jit(mapped, **options).lower(ROWS).compile().as_text())


@pytest.mark.parametrize(
    ("exchange", "kind", "size"),
    [
        (lambda x: jax.lax.psum(x, AXIS), "all-reduce", 4 * 2 * 12),
        (lambda x: jax.lax.all_gather(x, AXIS), "all-gather", 4 * 8 * 12),
        (lambda x: jax.lax.all_to_all(x, AXIS, 1, 0, tiled=True), "all-to-all", 4 * 2 * 12),
        (lambda x: jax.lax.ppermute(x, AXIS, [(i, (i + 1) % 4) for i in range(4)]), "collective-permute", 4 * 2 * 12),
        (lambda x: jax.lax.psum_scatter(x, AXIS, scatter_dimension=1, tiled=True), "reduce-scatter", 4 * 2 * 3),
    ],
)
def test_every_kind_of_exchange_is_found_with_its_bytes(exchange, kind, size):
    (found,) = compile_rows(lambda x: exchange(x * 2.0)).collectives()
    assert (found.kind, found.bytes) == (kind, size)
    assert found.group == (4 if kind != "collective-permute" else 0)


@pytest.mark.parametrize(
    ("groups", "size"),
    [
        ("{{0,1,2},{3,4,5}}", 3),
        ("[2,4]<=[8]", 4),
        ("mesh['a'=2,'b'=4] {'b'}", 4),
        ("mesh['a'=2,'b'=4] {'a','b'}", 8),
        ("{}", 0),
    ],
)
def test_groups_are_read_in_every_notation(groups, size):
    line = f"  ROOT %a = f32[4]{{0}} all-reduce(%p), replica_groups={groups}, to_apply=%sum"
    (found,) = hlo.Program(f"HloModule some\n\nENTRY %main (p: f32[4]) -> f32[4] {{\n{line}\n}}").collectives()
    assert (found.group, found.bytes) == (size, 16)


def test_arrays_that_are_reduced_together_are_one_exchange():
    (found,) = compile_rows(lambda x: jax.lax.psum((x, x[:, :5] + 1, x[0, 0]), AXIS), None).collectives()
    assert (found.arrays, found.bytes) == (3, 4 * (24 + 10 + 1))


def test_scopes_divide_the_program():
    """Of three products the one in the scope `second`, of 2·5·3 multiplications, is used."""

    def products(x):
        with jax.named_scope("first"):
            y = (x @ jnp.ones((12, 12)), x @ jnp.ones((12, 7)))
        with jax.named_scope("second"):
            return y, jax.lax.psum(x[:, :5] @ jnp.arange(15.0).reshape(5, 3), AXIS)

    program = compile_rows(lambda x: products(x)[1], None)
    assert program.flops("second") == 2 * 2 * 5 * 3 == program.flops()
    assert program.flops("first") == 0  # its result is not used
    assert [found.scope.split("/")[-2] for found in program.collectives()] == ["second"]
    assert hlo.in_scope("jit(f)/r1/cond", "r1") and not hlo.in_scope("jit(f)/r1x/cond", "r1")


def test_calls_of_the_host_are_found():
    def ask(x):
        return x + jax.pure_callback(lambda v: v, jax.ShapeDtypeStruct((2, 12), np.float32), x)

    assert len(compile_rows(ask).host_transfers()) == 1
    assert not compile_rows(lambda x: x + 1.0).host_transfers()


def test_donated_arguments_are_aliased():
    assert compile_rows(lambda x: x + 1.0, donate_argnums=0).aliased() == {0}
    assert compile_rows(lambda x: x + 1.0).aliased() == set()
    # A result of another size cannot take the memory.
    assert compile_rows(lambda x: x[:, :3] + 1.0, donate_argnums=0).aliased() == set()


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize(
    "options",
    [
        {"window_strides": (1, 1), "padding": ((1, 1), (1, 1))},
        {"window_strides": (2, 2), "padding": ((0, 1), (1, 0))},
        {"window_strides": (1, 1), "padding": ((2, 2), (2, 1)), "lhs_dilation": (2, 2)},
        {"window_strides": (1, 1), "padding": ((2, 2), (2, 2)), "rhs_dilation": (2, 2)},
    ],
)
def test_flops_of_convolutions_are_those_that_xla_counts(options, order):
    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, dimension_numbers=("NHWC", "HWIO", "NHWC"), **options)

    function = convolve if order == 0 else jax.grad(lambda x, kernel: convolve(x, kernel).sum(), argnums=1)
    shapes = (jax.ShapeDtypeStruct((2, 8, 6, 5), np.float32), jax.ShapeDtypeStruct((3, 3, 5, 7), np.float32))
    lowered = jax.jit(function).lower(*shapes)
    text = lowered.as_text(dialect="hlo")
    products = [line for line in text.splitlines() if " convolution(" in line]
    assert len(products) == 1
    # XLA's count of the whole, less one for each element of a sum, a reversal, …: convolutions make up all but 5 %.
    assert hlo.Program(text).flops() == pytest.approx(lowered.cost_analysis()["flops"], rel=0.05)


def test_traffic_is_what_is_read_and_written():
    program = compile_rows(lambda x: jnp.tanh(x))
    assert program.traffic() == 2 * 4 * 2 * 12  # one kernel reads the rows and writes them


def check_tpu_step(text):
    """Checks what is known of `tpu_program.step`: two images of 32×32 with 16 channels on each of four chips."""
    program = hlo.Program(text)
    product, kernel = 2 * 16**3, 9 * 16 * 16
    assert [(found.kind, found.bytes, found.arrays, found.group) for found in program.collectives()] == [
        ("all-reduce", 4 * 16 * 16, 1, 4),
        ("all-reduce", 4 * (kernel + 1), 2, 4),
    ]
    assert [hlo.in_scope(found.scope, "r1") for found in program.collectives()] == [True, False]
    assert not program.host_transfers() and program.aliased() == {0}
    assert program.flops("r1") == 3 * product
    # The compiler pads the images and splits their rows into parts that overlap.
    exact = 2 * (2 * 2 * 32 * 32 * kernel)
    assert exact < program.flops() - program.flops("r1") < 1.5 * exact
    assert program.traffic() > 4 * (2 * 32 * 32 * 16 + 2 * kernel)


def test_a_program_of_the_tpu_compiler():
    check_tpu_step(gzip.decompress(tpu_program.PATH.read_bytes()).decode())


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
def test_the_stored_program_is_what_the_compiler_writes():
    """In a process of its own: JAX loads libtpu once, and only where its settings allow it."""
    program = (
        "from tests.benchmark import tpu_program as t, test_hlo; test_hlo.check_tpu_step(t.compile_step().as_text())"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_tiles_are_moved_whole_and_arrays_on_the_chip_not_at_all():
    """Of f32[3,5,16] in tiles of 8 × 128 three tiles of 4 KiB are moved."""
    assert hlo._moved_bytes("f32[3,5,16]{2,1,0:T(8,128)}") == 3 * 8 * 128 * 4
    assert hlo._moved_bytes("bf16[16,3,5]{0,2,1:T(8,128)(2,1)}") == 3 * 8 * 128 * 2
    assert hlo._moved_bytes("(f32[3]{0:T(128)}, pred[2]{0}, f32[9,9]{1,0:T(8,128)S(1)})") == 128 * 4 + 2


def test_text_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="must start with HloModule"):
        hlo.Program("module @jit_f {}")
