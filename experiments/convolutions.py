"""Times the plain and the Winograd form of each convolution: forward, first-order and second-order gradients.

python -m experiments.convolutions --shapes=8x64x512,8x32x512,16x16x64

A shape is batch x side x channels, with the side of the larger image, a multiple of 4. The second order is the one that
R1 and path length need: the gradient of the squared length of a gradient with respect to the images. Every figure is
the minimum over several runs, with the forms measured in turn. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from absl import flags

from experiments import launch
from sdgan_jax.nets import resample, winograd

SHAPES = flags.DEFINE_list("shapes", ["8x64x128", "8x32x128"], "batch x side x channels, several")
SECONDS = flags.DEFINE_float("seconds", 2.0, "time spent on one comparison", lower_bound=0.0)

Operator = Callable[[jax.Array, jax.Array], jax.Array]
# operator: its plain form and its Winograd form
FORMS: dict[str, tuple[Operator, Operator]] = {
    "convolve": (resample.convolve_plain, winograd.convolve),
    "convolve_up": (resample.convolve_up_plain, winograd.convolve_up),
    "convolve_down": (resample.convolve_down_plain, winograd.convolve_down),
}


def main(argv: Sequence[str]) -> None:
    """Prints a row for each operator, shape and order."""
    del argv
    shapes = {shape: parse_shape(shape) for shape in SHAPES.value}
    print("| operator | shape | order | plain, ms | winograd, ms | ratio |\n| --- | --- | --- | --- | --- | --- |")
    for shape, (n, side, channels) in shapes.items():
        for name, forms in FORMS.items():
            low = side // 2 if name == "convolve_up" else side
            x = jax.random.normal(jax.random.key(0), (n, low, low, channels))
            kernel = jax.random.normal(jax.random.key(1), (3, 3, channels, channels)) / (9 * channels) ** 0.5
            for order, compose in (("0", lambda f: f), ("1", first_order), ("2", second_order)):
                plain, fast = compare([compose(form) for form in forms], x, kernel, SECONDS.value)
                print(f"| {name} | {shape} | {order} | {plain:.1f} | {fast:.1f} | {plain / fast:.2f} |", flush=True)


def parse_shape(text: str) -> tuple[int, int, int]:
    """Reads batch, side and channels from text such as "8x64x512".

    Raises:
        ValueError: the text has another form, a number is below 1, or the side is not a multiple of 4.
    """
    try:
        n, side, channels = (int(part) for part in text.split("x"))
    except ValueError as error:
        raise ValueError(f"--shapes={text}: write batch x side x channels, such as 8x64x512") from error
    if min(n, side, channels) < 1 or side % 4:
        raise ValueError(f"--shapes={text}: all numbers must be positive and the side a multiple of 4")
    return n, side, channels


def first_order(operator: Operator) -> Callable:
    """Returns the gradient of |operator|² with respect to images and kernel."""
    return jax.grad(lambda x, kernel: jnp.square(operator(x, kernel)).sum(), (0, 1))


def second_order(operator: Operator) -> Callable:
    """Returns the gradient of a squared gradient with respect to images and kernel."""

    def penalty(x: jax.Array, kernel: jax.Array) -> jax.Array:
        inner = jax.grad(lambda images: jax.nn.softplus(operator(images, kernel)).sum())
        return jnp.square(inner(x)).sum()

    return jax.grad(penalty, (0, 1))


def compare(functions: Sequence[Callable], x: jax.Array, kernel: jax.Array, seconds: float) -> list[float]:
    """Returns the least milliseconds of each function of `x` and `kernel`, over rounds that fill `seconds`."""
    compiled = [jax.jit(function).lower(x, kernel).compile() for function in functions]
    least = [float("inf")] * len(functions)
    start = time.perf_counter()
    while time.perf_counter() - start < seconds or max(least) == float("inf"):
        for i, function in enumerate(compiled):
            begin = time.perf_counter()
            jax.block_until_ready(function(x, kernel))
            least[i] = min(least[i], 1000.0 * (time.perf_counter() - begin))
    return least


if __name__ == "__main__":
    launch.run(main)
