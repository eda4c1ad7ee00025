"""Reads compiled programs: collectives, matrix FLOPs, memory traffic, aliasing and host transfers in XLA's HLO text.

The text is that of `jax.stages.Compiled.as_text()`, of any backend. Every figure is that of one device. Instructions
carry the path of `jax.named_scope` that they were traced in, so each can be attributed to a phase of the step.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Iterable, Iterator

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")
HOST = ("outfeed", "infeed", "send", "recv")  # instructions that talk to the host or to another program
_HOST_CALL = re.compile(r"callback|host", re.IGNORECASE)
# Instructions without traffic of their own: views, or calls whose callees are counted.
_FREE = frozenset(
    "parameter constant tuple get-tuple-element bitcast conditional while call after-all partition-id".split()
)
_BITS = {"pred": 8, "bf16": 16, "c64": 64, "c128": 128}
_SHAPE = re.compile(r"\b([a-z][a-z0-9]*)\[([\d,]*)\](?:\{([\d,]*):?([^}]*)\})?")
_OPCODE = re.compile(r" ([a-z][a-z0-9-]*)\(")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.$-]+) .*\{$")
_OPERAND = re.compile(r"(?:^|[\s,/])%?([A-Za-z_][\w.$-]*)(?=,|$)")
_CALLS = re.compile(r"(?:calls|to_apply)=%?([\w.$-]+)")
_PARENTHESIS = re.compile(r"[()]")
_WINDOW = re.compile(r"(\w+)=([\dx_-]+)")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction of a compiled program.

    Attributes:
        name: its name, unique in the program.
        opcode: such as "all-reduce"; the first half of an asynchronous pair ends in "-start".
        shape: type of the result, a tuple in parentheses.
        operands: names of the operands.
        rest: attributes, such as `replica_groups`.
        scope: path of the code that it comes from, from the metadata; "" where there is none.
        computation: name of the computation that it belongs to.
    """

    name: str
    opcode: str
    shape: str
    operands: tuple[str, ...]
    rest: str
    scope: str
    computation: str


@dataclasses.dataclass(frozen=True)
class Collective:
    """One exchange between devices.

    Attributes:
        kind: one of `COLLECTIVES`.
        bytes: size of its result on one device.
        arrays: number of arrays that are exchanged together.
        group: number of devices that exchange with each other; 0 for all of the program.
        scope: as in `Instruction`.
    """

    kind: str
    bytes: int
    arrays: int
    group: int
    scope: str


class Program:
    """A compiled program, read from its HLO text."""

    def __init__(self, text: str) -> None:
        """Reads the text.

        Raises:
            ValueError: the text is no HLO module.
        """
        if not text.startswith("HloModule"):
            raise ValueError("this is not the text of a compiled program; it must start with HloModule")
        self._header = text.partition("\n")[0]
        self.instructions = list(_read(text.splitlines()))

    @functools.cached_property
    def _by_name(self) -> dict[str, Instruction]:
        return {instruction.name: instruction for instruction in self.instructions}

    @functools.cached_property
    def _inlined(self) -> set[str]:
        """Names of computations that are part of one instruction: fusions, reducers, comparators."""
        callers = (one for one in self.instructions if one.opcode != "call")
        return {name for one in callers for name in _CALLS.findall(one.rest)}

    def collectives(self) -> list[Collective]:
        """Lists the exchanges between devices; of an asynchronous pair the first half counts."""
        found = []
        for one in self.instructions:
            kind = one.opcode.removesuffix("-start")
            if kind in COLLECTIVES:
                shape = one.shape
                if one.opcode.endswith("-start") and kind != "all-reduce":  # (operands, results, …)
                    shape = ",".join(_elements(shape)[1:2])
                arrays = _SHAPE.findall(shape)
                found.append(Collective(kind, _bytes(shape), len(arrays), _group_size(one.rest), one.scope))
        return found

    def host_transfers(self) -> list[str]:
        """Lists the instructions that wait for the host: transfers, and calls of Python or of the host."""
        found = []
        for one in self.instructions:
            target = re.search(r'custom_call_target="([^"]*)"', one.rest)
            if one.opcode in HOST or (one.opcode == "custom-call" and target and _HOST_CALL.search(target[1])):
                found.append(f"{one.opcode} {one.name}")
        return found

    def aliased(self) -> set[int]:
        """Returns the numbers of the arguments whose memory the results take over."""
        block = self._header.partition("input_output_alias={ ")[2].partition(" }, ")[0]
        return {int(number) for number in re.findall(r"\{[\d, ]*\}: \((\d+), ", block)}

    def flops(self, scope: str = "") -> float:
        """Counts the operations of convolutions and matrix products whose scope contains the path element `scope`.

        A multiplication and an addition are two operations. Products with padding or with the zeros of a dilation are
        not counted, and neither are elementwise operations. The body of a loop counts once.
        """
        kinds = {"convolution": _convolution_flops, "dot": _dot_flops}
        chosen = (one for one in self.instructions if one.opcode in kinds and in_scope(one.scope, scope))
        return float(sum(kinds[one.opcode](one, self._shapes(one)) for one in chosen))

    def traffic(self, scope: str = "") -> float:
        """Counts the bytes that the instructions read and write, whose scope contains the path element `scope`.

        It is XLA's measure: operands and results of each instruction, a fusion being one. The tiles of a TPU's layouts
        are counted whole, and arrays that stay on the chip not at all. The body of a loop counts once.
        """
        total = 0
        for one in self.instructions:
            if one.opcode in _FREE or one.computation in self._inlined or one.opcode.endswith("-done"):
                continue
            if in_scope(one.scope, scope):
                total += sum(_moved_bytes(shape) for shape in (one.shape, *self._shapes(one)))
        return float(total)

    def _shapes(self, instruction: Instruction) -> list[str]:
        return [self._by_name[name].shape for name in instruction.operands if name in self._by_name]


def in_scope(path: str, scope: str) -> bool:
    """Returns whether `scope` is an element of a path such as "jit(step)/r1/cond"; "" is one of every path."""
    return not scope or scope in path.split("/")


def _read(lines: Iterable[str]) -> Iterator[Instruction]:
    """Yields the instructions of the lines of a module."""
    computation = ""
    for line in lines:
        if not line.startswith(" "):
            if match := _COMPUTATION.match(line):
                computation = match[1]
            continue
        name, equals, text = line.strip().removeprefix("ROOT ").partition(" = ")
        match = _OPCODE.search(" " + text[len(shape) :]) if (shape := _leading_shape(text)) else None
        if not equals or match is None:
            continue
        inside, rest = _split_parentheses(text[len(shape) + match.end() - 1 :])
        scope = re.search(r'op_name="([^"]*)"', rest)
        operands = tuple(_OPERAND.findall(inside))
        yield Instruction(
            name.removeprefix("%"), match[1], shape, operands, rest, scope[1] if scope else "", computation
        )


def _leading_shape(text: str) -> str:
    """Returns the type that an instruction starts with, such as `f32[2]{0}` or `(f32[2], s32[])`."""
    if text.startswith("("):
        return f"({_split_parentheses(text[1:])[0]})"
    return text.partition(" ")[0]


def _split_parentheses(text: str) -> tuple[str, str]:
    """Splits what follows an opening parenthesis at the closing one."""
    depth = 1
    for match in _PARENTHESIS.finditer(text):
        depth += 1 if match[0] == "(" else -1
        if depth == 0:
            return text[: match.start()], text[match.end() :]
    return text, ""


def _elements(shape: str) -> list[str]:
    """Splits a tuple type into its elements; another type is its only element."""
    if not shape.startswith("("):
        return [shape]
    elements, depth, current = [], 0, ""
    for character in shape[1:-1]:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            elements.append(current)
            current = ""
        else:
            current += character
    return [*elements, current]


def _dimensions(shape: str) -> list[int]:
    """Returns the dimensions of an array type."""
    match = _SHAPE.search(shape)
    return _numbers(match[2]) if match else []


def _bytes(shape: str) -> int:
    """Returns the size of a type, without the padding of its layout."""
    arrays = _SHAPE.findall(shape)
    return sum(_bits(kind) * math.prod(_numbers(sizes)) for kind, sizes, _, _ in arrays) // 8


def _moved_bytes(shape: str) -> int:
    """Returns the size of a type in the memory of the device, the padding of its tiles included.

    A layout such as `{3,2,1,0:T(8,128)S(1)}` lists the axes from the innermost one, the tile of the innermost axes, and
    the memory: 0 is that of the device, others are on the chip.
    """
    total = 0
    for kind, sizes, order, layout in _SHAPE.findall(shape):
        if re.search(r"S\([1-9]", layout):
            continue
        dimensions, axes = _numbers(sizes), _numbers(order)
        tile = re.match(r"T\(([\d,]*)\)", layout)
        for axis, side in zip(axes, reversed(_numbers(tile[1])) if tile else (), strict=False):
            dimensions[axis] = -(-dimensions[axis] // side) * side
        total += _bits(kind) * math.prod(dimensions)
    return total // 8


def _bits(kind: str) -> int:
    """Returns the bits of an element; 0 for a token."""
    digits = re.search(r"\d+", kind)
    return _BITS.get(kind) or (int(digits[0]) if digits else 0)


def _numbers(text: str) -> list[int]:
    """Reads numbers separated by commas."""
    return [int(number) for number in text.split(",") if number]


def _group_size(rest: str) -> int:
    """Returns the number of devices of a group, 0 where none is named.

    There are three notations: `{{0,1},{2,3}}`, `[groups,size]<=[n]`, and since jax 0.12 `mesh['a'=2,'b'=4] {'b'}`.
    """
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", rest):
        return len(listed[1].split(","))
    if iota := re.search(r"replica_groups=\[\d+,(\d+)\]", rest):
        return int(iota[1])
    if mesh := re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", rest):
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", mesh[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'([^']+)'", mesh[2]))
    return 0


def _dot_flops(instruction: Instruction, operands: list[str]) -> int:
    """Counts the operations of a matrix product."""
    contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", instruction.rest)
    left = _dimensions(operands[0])
    depth = math.prod(left[axis] for axis in _numbers(contracted[1])) if contracted else 1
    return 2 * depth * math.prod(_dimensions(instruction.shape))


def _convolution_flops(instruction: Instruction, operands: list[str]) -> int:
    """Counts the operations of a convolution, without those on padding and on the zeros of a dilation."""
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", instruction.rest)
    if labels is None:
        raise ValueError(f"the convolution {instruction.name} has no dim_labels")
    image, kernel, result = (dict(zip(text, range(len(text)), strict=True)) for text in labels.groups())
    sizes = [_dimensions(text) for text in (operands[0], operands[1], instruction.shape)]
    count = sizes[2][result["b"]] * sizes[2][result["f"]] * sizes[1][kernel["i"]]
    window = re.search(r"window=\{([^}]*)\}", instruction.rest)
    given = dict(_WINDOW.findall(window[1])) if window else {}
    for index, axis in enumerate(sorted(label for label in image if label.isdigit())):
        taps = sizes[1][kernel[axis]]

        def value(name: str, default: str, index: int = index) -> str:
            return given[name].split("x")[index] if name in given else default

        count *= _products(
            sizes[0][image[axis]],
            taps,
            sizes[2][result[axis]],
            stride=int(value("stride", "1")),
            before=int(value("pad", "0_0").split("_")[0]),
            dilation=int(value("lhs_dilate", "1")),
            spread=int(value("rhs_dilate", "1")),
        )
    return 2 * count


@functools.cache
def _products(size: int, taps: int, results: int, stride: int, before: int, dilation: int, spread: int) -> int:
    """Counts the pairs of a result and a tap along one axis that meet an element of the image."""
    count = 0
    for result in range(results):
        for tap in range(taps):
            position = result * stride + tap * spread - before
            count += position % dilation == 0 and 0 <= position < (size - 1) * dilation + 1
    return count
