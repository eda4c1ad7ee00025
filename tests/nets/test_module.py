import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.nets.module import Module

CALLS = []


def counted(key, shape):
    CALLS.append(shape)
    return jax.random.normal(key, shape)


class Flax(nn.Module):
    size: int = 3

    @nn.compact
    def __call__(self, x):
        return x * self.param("scale", counted, (self.size,))


class Ours(Module):
    size: int = 3

    @nn.compact
    def __call__(self, x):
        return x * self.param("scale", counted, (self.size,))


class Outer(nn.Module):
    inner: Callable

    @nn.compact
    def __call__(self, x):
        return self.inner(name="inner")(x)


def test_parameters_are_those_of_flax():
    x, key = jnp.ones(3), jax.random.key(0)
    (y, ours), (expected, theirs) = (Outer(kind).init_with_output(key, x) for kind in (Ours, Flax))
    np.testing.assert_array_equal(y, expected)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    np.testing.assert_array_equal(Outer(Ours).apply(ours, x), expected)
    assert jax.make_jaxpr(Outer(Ours).apply)(ours, x).jaxpr.pretty_print() == (
        jax.make_jaxpr(Outer(Flax).apply)(ours, x).jaxpr.pretty_print()
    )


def test_the_initialiser_is_called_to_initialise_only():
    variables = Outer(Ours).init(jax.random.key(0), jnp.ones(3))
    CALLS.clear()
    jax.jit(Outer(Ours).apply).lower(variables, jnp.ones(3))
    assert not CALLS


def test_another_shape_is_refused():
    variables = Outer(Ours).init(jax.random.key(0), jnp.ones(3))
    with pytest.raises(ValueError, match=r"inner/scale has the shape \(3,\), where \(1,\) is expected"):
        Outer(functools.partial(Ours, 1)).apply(variables, jnp.ones(3))


def test_a_parameter_that_is_missing_is_an_error_of_flax():
    with pytest.raises(Exception, match="scale"):
        Ours().apply({"params": {"other": jnp.ones(3)}}, jnp.ones(3))
