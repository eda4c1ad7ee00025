"""The kind of device: that of JAX, or the one that is compiled for; and options of XLA."""

import jax
import jax.numpy as jnp
import numpy as np

from sdgan_jax.nets import backend


def test_another_kind_of_device_is_for_a_block():
    assert backend.name() == "cpu"
    with backend.compiling_for("tpu"):
        assert backend.name() == "tpu"
    assert backend.name() == "cpu"


def test_quick_compilation_changes_no_number():
    x = np.random.default_rng(0).standard_normal((9, 9)).astype(np.float32)
    quick = jax.jit(jnp.exp, compiler_options=backend.quick_compilation("cpu"))
    np.testing.assert_allclose(quick(x), np.exp(x), rtol=1e-6)
    assert backend.quick_compilation("gpu") is None and backend.quick_compilation("tpu") is None
