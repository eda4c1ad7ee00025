"""Derivatives of a function of images and a kernel against central differences."""

import jax
import jax.numpy as jnp
import numpy as np

STEP = 1e-5


def check(operator, image_shape, kernel_shape):
    """Compares first and second derivatives in reverse mode, along random unit directions, in float64."""
    rng = np.random.default_rng(0)
    shapes = (image_shape, kernel_shape)
    scale = np.sqrt(np.prod(kernel_shape[:3]))

    def direction():
        parts = [rng.standard_normal(shape) for shape in shapes]
        length = np.sqrt(sum(np.square(part).sum() for part in parts))
        return [part / length for part in parts]

    def along(function, towards):
        gradient = jax.grad(function, (0, 1))
        return lambda *at: sum(jnp.vdot(a, b) for a, b in zip(gradient(*at), towards, strict=True))

    with jax.enable_x64(True):
        at = [rng.standard_normal(image_shape), rng.standard_normal(kernel_shape) / scale]
        first, second = direction(), direction()
        value = lambda x, kernel: jnp.sin(operator(x, kernel)).sum()  # noqa: E731
        slope = along(value, first)
        curvature = along(slope, second)
        for function, derivative, towards in ((value, slope, first), (slope, curvature, second)):
            function = jax.jit(function)
            ahead, behind = ([a + sign * STEP * b for a, b in zip(at, towards, strict=True)] for sign in (1, -1))
            difference = (function(*ahead) - function(*behind)) / (2 * STEP)
            np.testing.assert_allclose(jax.jit(derivative)(*at), difference, rtol=1e-5, atol=1e-7)
