"""Networks that are given as a list of operators on named values, as `.tflite` files contain them.

MediaPipe's networks have a hundred layers without a regular plan. A list of ten kinds of operators, which the network
directory stores as JSON beside the arrays, describes them in less code than modules would, and one function runs it.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

OPERATORS = ("add", "concatenation", "conv", "depthwise", "logistic", "max_pool", "pad", "prelu", "relu", "reshape")
_MOST_OPERATORS = 1000  # MediaPipe's networks have up to 250
_FEW = 4  # channels of an image


@dataclasses.dataclass(frozen=True)
class Operator:
    """An operator, which computes one value from others.

    Attributes:
        name: one of `OPERATORS`.
        inputs: names of the values that it takes: the graph's input, arrays, or outputs of operators before it.
        output: name of its value.
        stride: of conv, depthwise and max_pool, along both axes.
        padding: of these, "SAME" as TensorFlow defines it, or "VALID".
        relu: of conv, depthwise, add: whether the result passes a ReLU.
        numbers: of max_pool the height and width of the window; of pad the numbers of zeros before and after each axis
            in turn; of reshape the shape without the first axis; of concatenation the axis.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    stride: int = 1
    padding: str = "SAME"
    relu: bool = False
    numbers: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Graph:
    """A network.

    Attributes:
        size: height and width of its input images.
        operators: the operators, in the order in which they run.
        outputs: names of the values that it returns.
    """

    size: int
    operators: tuple[Operator, ...]
    outputs: tuple[str, ...]

    INPUT = "images"  # name of the input's value


def to_settings(graph: Graph) -> dict[str, Any]:
    """Returns a graph as plain lists, numbers and texts for a JSON file; fields with their default are left out."""
    plain = {field.name: field.default for field in dataclasses.fields(Operator)}
    operators = [
        {name: value for name, value in vars(operator).items() if value != plain[name]} for operator in graph.operators
    ]
    return {"size": graph.size, "operators": operators, "outputs": graph.outputs}


def from_settings(settings: Mapping[str, Any]) -> Graph:
    """Returns the graph of `to_settings`.

    Raises:
        ValueError: the settings are no graph.
    """
    try:
        operators = tuple(_operator(one) for one in settings["operators"])
        graph = Graph(settings["size"], operators, tuple(settings["outputs"]))
    except (TypeError, AttributeError) as error:
        raise ValueError("an operator has unknown fields or is not {…}") from error
    if type(graph.size) is not int or not 1 <= graph.size <= 1024 or len(operators) > _MOST_OPERATORS:
        raise ValueError(f"size must be from 1 to 1024, and there are at most {_MOST_OPERATORS} operators")
    unknown = {str(one.name) for one in operators} - set(OPERATORS)
    if unknown:
        raise ValueError(f"unknown operators: {', '.join(sorted(unknown))[:80]}")
    return graph


def _operator(fields: Mapping[str, Any]) -> Operator:
    """Returns the operator of a JSON object, whose lists are tuples here."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
    return Operator(**values)


def apply(graph: Graph, arrays: Mapping[str, jax.Array], images: jax.Array) -> tuple[jax.Array, ...]:
    """Runs a network.

    Args:
        graph: the network.
        arrays: its arrays by name, f32; kernels of conv are [h,w,C,D], of depthwise [h,w,1,C].
        images: f32[N,size,size,3].

    Returns:
        The values f32[N,…] that the graph's `outputs` name.
    """
    values = {**arrays, graph.INPUT: images}
    for operator in graph.operators:
        values[operator.output] = run(operator, [values[name] for name in operator.inputs])
    return tuple(values[name] for name in graph.outputs)


def run(operator: Operator, inputs: Sequence[jax.Array]) -> jax.Array:
    """Computes the value of one operator, f32[N,…], from its inputs."""
    x, numbers = inputs[0], operator.numbers
    match operator.name:
        case "conv":
            x = _convolve(x, inputs[1], inputs[2], operator)
        case "depthwise":
            x = _depthwise(x, inputs[1], inputs[2], operator.stride, operator.padding)
        case "add":
            x = x + inputs[1]
        case "max_pool":
            # XLA on CPU (jaxlib 0.10.2) computes wrong values where it fuses a reduction, as of `lax.reduce_window`,
            # with the sum of a padded image and a grouped convolution before it; barriers do not help. Neither the
            # reduction nor the grouped convolution is used here, and either alone is right.
            x = functools.reduce(jax.lax.max, _shifted(x, numbers, operator.stride, operator.padding, -jnp.inf))
        case "pad":
            x = jnp.pad(x, list(zip(numbers[::2], numbers[1::2], strict=True)))
        case "prelu":
            x = jnp.maximum(x, 0.0) + inputs[1] * jnp.minimum(x, 0.0)
        case "relu":
            x = jnp.maximum(x, 0.0)
        case "logistic":
            x = jax.nn.sigmoid(x)
        case "reshape":
            x = x.reshape(len(x), *numbers)
        case "concatenation":
            x = jnp.concatenate(inputs, numbers[0])
        case _:
            raise ValueError(f"unknown operator {operator.name}")
    return jnp.maximum(x, 0.0) if operator.relu else x


def _convolve(x: jax.Array, kernel: jax.Array, bias: jax.Array, operator: Operator) -> jax.Array:
    """Convolves f32[N,H,W,C] with f32[h,w,C,D], all channels together, and adds the bias f32[D].

    Single pixels, and windows of the few channels of an image, are multiplied as the rows of a matrix: on CPU, XLA's
    convolution takes four times as long for a 5×5 window of eight images.
    """
    height, width, channels, features = kernel.shape
    if height * width == 1 or channels <= _FEW:
        windows = jnp.concatenate(_shifted(x, (height, width), operator.stride, operator.padding, 0.0), -1)
        return windows @ kernel.reshape(-1, features) + bias
    strides = (operator.stride, operator.stride)
    axes = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, strides, operator.padding, dimension_numbers=axes) + bias


# Compiled on its own, so that layers of one shape are traced once: most of a network's layers are such.
@functools.partial(jax.jit, static_argnames=("stride", "padding"))
def _depthwise(x: jax.Array, kernel: jax.Array, bias: jax.Array, stride: int, padding: str) -> jax.Array:
    """Convolves each channel of f32[N,H,W,C] with its own part of f32[h,w,1,C], and adds the bias f32[C].

    It is a sum of shifted images; XLA on CPU runs grouped convolutions ten times slower.
    """
    pixels = _shifted(x, kernel.shape[:2], stride, padding, 0.0)
    weights = kernel.reshape(-1, x.shape[-1])
    parts = [jax.lax.mul(part, jax.lax.broadcast_in_dim(weights[k], part.shape, (3,))) for k, part in enumerate(pixels)]
    return functools.reduce(jax.lax.add, parts) + bias


def _shifted(x: jax.Array, window: Sequence[int], stride: int, padding: str, border: float) -> list[jax.Array]:
    """Returns, for each place in a window from left to right and down, the pixels that lie there: f32[N,h,w,C] each.

    Args:
        x: f32[N,H,W,C].
        window: height and width.
        stride: from one window to the next.
        padding: see `Operator`.
        border: value of the pixels beyond the border.
    """
    pads = jax.lax.padtype_to_pads(x.shape[1:3], window, (stride, stride), padding)
    # By lax: for so many slices, tracing jax.numpy takes seconds.
    x = jax.lax.pad(x, jnp.float32(border), [(0, 0, 0), *((low, high, 0) for low, high in pads), (0, 0, 0)])
    count, height, width, channels = x.shape
    ends = height - window[0] + 1, width - window[1] + 1  # places where a window begins
    return [
        jax.lax.slice(x, (0, i, j, 0), (count, i + ends[0], j + ends[1], channels), (1, stride, stride, 1))
        for i, j in itertools.product(*map(range, window))
    ]
