"""Writes tests/golden/tpu_step.hlo.gz, the text of a small program by the TPU compiler. Needs libtpu.

JAX_PLATFORMS=cpu python -m tests.benchmark.tpu_program
"""

import gzip
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from sdgan_jax.benchmark import topology
from sdgan_jax.training import sharding

PATH = pathlib.Path(__file__).parents[1] / "golden" / "tpu_step.hlo.gz"


def step(state, batch):
    """A gradient of a 3×3 convolution of 16 channels, averaged; then, in the scope r1, one of a product of 16×16."""

    def loss(kernel):
        y = jax.lax.conv_general_dilated(batch["x"], kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jnp.square(y).mean()

    def descend(kernel):
        gradient = jax.grad(lambda kernel: jnp.sin(kernel @ kernel).sum())(kernel[0, 0])
        return kernel + jax.lax.pmean(gradient, sharding.AXIS)

    value, gradient = jax.lax.pmean(jax.value_and_grad(loss)(state["kernel"]), sharding.AXIS)
    with jax.named_scope("r1"):
        kernel = jax.lax.cond(value > 0, descend, lambda kernel: kernel, state["kernel"] - gradient)
    return {"kernel": kernel}, value


def compile_step():
    """Returns the compiled step, for f32[8,32,32,16] on four chips."""
    mesh = sharding.make_mesh(8, topology.find_devices("v5e:2x2"))
    kernel = jax.ShapeDtypeStruct((3, 3, 16, 16), np.float32, sharding=sharding.replicated(mesh))
    x = jax.ShapeDtypeStruct((8, 32, 32, 16), np.float32, sharding=NamedSharding(mesh, PartitionSpec(sharding.AXIS)))
    return sharding.map_step(step, mesh).lower({"kernel": kernel}, {"x": x}).compile()


if __name__ == "__main__":
    # Between the header and the first computation stand the names of source files.
    text = re.sub(r"\n\nFileNames\n.*?\n\n\n", "\n\n", compile_step().as_text(), flags=re.DOTALL)
    PATH.write_bytes(gzip.compress(text.encode(), mtime=0))
