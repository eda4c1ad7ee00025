"""Times the forms of the convolutions beside each other: forward, forward and backward, second order.

python -m experiments.convolutions --shapes=8x64x512,8x32x512,16x16x64

A shape is batch × side × channels; the side is that of the larger image. The second order is that of R1 and of the path
length: the gradient of the squared length of a gradient with respect to the images. Every figure is the least of
several, the forms measured in turn. Measure on a machine that does nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from unittest import mock

import jax
import jax.numpy as jnp
from absl import flags

from experiments import launch
from sdgan_jax.nets import resample

SHAPES = flags.DEFINE_list("shapes", ["8x64x128", "8x32x128"], "batch x side x channels, several")
SECONDS = flags.DEFINE_float("seconds", 2.0, "time spent on one comparison", lower_bound=0.0)

Operator = Callable[[jax.Array, jax.Array], jax.Array]
FORMS = {"plain": 10**9, "winograd": 1}  # the fewest channels from which `resample` takes its Winograd form
OPERATORS = ("convolve", "convolve_up", "convolve_down")


def main(argv: Sequence[str]) -> None:
    """Prints a row for each operator and shape."""
    del argv
    print("| operator | shape | order | plain, ms | winograd, ms | ratio |\n| --- | --- | --- | --- | --- | --- |")
    for shape in SHAPES.value:
        try:
            n, side, channels = (int(part) for part in shape.split("x"))
        except ValueError as error:
            raise ValueError(f"--shapes={shape}: write batch x side x channels, such as 8x64x512") from error
        for name in OPERATORS:
            low = side // 2 if name == "convolve_up" else side
            x = jax.random.normal(jax.random.key(0), (n, low, low, channels))
            kernel = jax.random.normal(jax.random.key(1), (3, 3, channels, channels)) / (9 * channels) ** 0.5
            for order, compose in (("0", lambda f: f), ("1", first_order), ("2", second_order)):
                plain, winograd = compare(compose, getattr(resample, name), x, kernel)
                row = f"| {name} | {shape} | {order} | {plain:.1f} | {winograd:.1f} | {plain / winograd:.2f} |"
                print(row, flush=True)


def first_order(operator: Operator) -> Callable:
    """The gradient of |operator|² with respect to images and kernel."""
    return jax.grad(lambda x, kernel: jnp.square(operator(x, kernel)).sum(), (0, 1))


def second_order(operator: Operator) -> Callable:
    """The gradient of a squared gradient, with respect to images and kernel."""

    def penalty(x: jax.Array, kernel: jax.Array) -> jax.Array:
        inner = jax.grad(lambda images: jax.nn.softplus(operator(images, kernel)).sum())
        return jnp.square(inner(x)).sum()

    return jax.grad(penalty, (0, 1))


def compare(compose: Callable, operator: Operator, x: jax.Array, kernel: jax.Array) -> list[float]:
    """The least milliseconds of each form of `compose(operator)`, in the order of `FORMS`."""
    compiled, least = [], [float("inf")] * len(FORMS)
    for fewest in FORMS.values():
        with mock.patch.multiple(resample, WINOGRAD_CHANNELS=fewest, WINOGRAD_PIXELS=1):
            # A new function for each form: jit would find the other form under the same one.
            function = compose(lambda a, b: operator(a, b))
            compiled.append(jax.jit(function).lower(x, kernel).compile())
    start = time.perf_counter()
    while time.perf_counter() - start < SECONDS.value or max(least) == float("inf"):
        for i, function in enumerate(compiled):
            begin = time.perf_counter()
            jax.block_until_ready(function(x, kernel))
            least[i] = min(least[i], 1000.0 * (time.perf_counter() - begin))
    return least


if __name__ == "__main__":
    launch.run(main)
