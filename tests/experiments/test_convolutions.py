"""`experiments.convolutions`: equal results of both forms, the shape's grammar, and the printed rows."""

import jax
import numpy as np
import pytest

from experiments import convolutions
from tests.random_arrays import noise


@pytest.mark.parametrize("name", convolutions.FORMS)
@pytest.mark.parametrize("order", [convolutions.first_order, convolutions.second_order])
def test_both_forms_compute_the_same_gradients(name, order):
    x, kernel = noise(1, 4, 4, 2), noise(3, 3, 2, 2, seed=1)
    plain, fast = (jax.jit(order(form))(x, kernel) for form in convolutions.FORMS[name])
    for a, b in zip(plain, fast, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(a).max())


def test_shapes():
    assert convolutions.parse_shape("8x64x512") == (8, 64, 512)
    for text in ("8x64", "8x64xwide", "8 64 512"):
        with pytest.raises(ValueError, match=f"--shapes={text}: write batch x side x channels, such as 8x64x512"):
            convolutions.parse_shape(text)
    for text in ("8x6x512", "0x8x4", "8x-4x4"):
        with pytest.raises(ValueError, match=f"--shapes={text}: all numbers must be positive and the side a multiple"):
            convolutions.parse_shape(text)


def test_every_function_is_timed_at_least_once():
    x, kernel = noise(1, 4, 4, 1), noise(3, 3, 1, 1)
    forms = convolutions.FORMS["convolve"]
    assert all(0 < milliseconds < float("inf") for milliseconds in convolutions.compare(forms, x, kernel, 0.0))
