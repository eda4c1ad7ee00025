"""The Winograd forms against scipy, their derivatives against finite differences, their rounding against float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.nets import winograd
from tests.nets import derivatives
from tests.nets import scipy_convolutions as expected
from tests.random_arrays import noise

OPERATORS = [winograd.convolve, winograd.convolve_up, winograd.convolve_down]


@pytest.mark.parametrize(
    ("name", "size"),
    [("convolve", (8, 12)), ("convolve_up", (6, 4)), ("convolve_down", (8, 12))],
)
def test_values_are_those_of_scipy(name, size):
    x, kernel = noise(2, *size, 3), noise(3, 3, 3, 4, seed=1)
    actual = jax.jit(getattr(winograd, name))(x, kernel)
    np.testing.assert_allclose(actual, getattr(expected, name)(x, kernel), atol=1e-5)


@pytest.mark.parametrize("operator", OPERATORS)
def test_derivatives_to_second_order(operator):
    derivatives.check(operator, (2, 4, 4, 2), (3, 3, 2, 3))


@pytest.mark.parametrize("operator", OPERATORS)
def test_rounding_error(operator):
    x, kernel, operator = noise(2, 8, 8, 256), noise(3, 3, 256, 64, seed=1), jax.jit(operator)
    with jax.enable_x64(True):
        exact = np.asarray(operator(jnp.asarray(x, jnp.float64), jnp.asarray(kernel, jnp.float64)))
    assert np.abs(operator(x, kernel) - exact).max() < 3e-6 * np.abs(exact).max()


@pytest.mark.parametrize(
    "transform", [winograd._CONVOLVE_IN, winograd._CONVOLVE_OUT, winograd._UP_IN, winograd._UP_OUT]
)
def test_analyse_and_synthesise_are_adjoint(transform):
    x = noise(2, 8, 16, 3)
    points = winograd.analyse(x, transform)
    y = noise(*points.shape, seed=1)
    np.testing.assert_allclose((points * y).sum(), (x * winograd.synthesise(y, transform)).sum(), rtol=1e-3)
