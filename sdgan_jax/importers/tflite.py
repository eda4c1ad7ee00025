"""Reader of `.tflite` files: a network as a graph of operators and its arrays. Nothing in a file is executed.

A file is a flatbuffer: tables whose fields are found by their numbers in the schema, which the constants below name
(tensorflow/lite/schema/schema.fbs, version 3). Arrays of half precision become float32, and the operators that would
convert them at run time are left out.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np

from sdgan_jax.importers.pickles import FileError
from sdgan_jax.nets.graph import Graph, Operator

MAGIC = b"TFL3"  # bytes 4 to 8
_CODES = {0: "add", 2: "concatenation", 3: "conv", 4: "depthwise", 6: "dequantize", 14: "logistic", 17: "max_pool",
          19: "relu", 22: "reshape", 34: "pad", 54: "prelu"}  # fmt: skip
_TYPES = {0: "<f4", 1: "<f2", 2: "<i4"}
_PADDINGS = {0: "SAME", 1: "VALID"}
# Number of the field with the fused activation, in the options of each operator that has one.
_ACTIVATION = {"add": 0, "concatenation": 1, "conv": 3, "depthwise": 4, "max_pool": 5}
_DILATION = {"conv": 4, "depthwise": 5}  # number of the first of two fields
# Number of inputs that are constant; reshape may repeat its shape as one.
_CONSTANTS = {"conv": 2, "depthwise": 2, "prelu": 1, "pad": 1}
_NO_OPTIONS = struct.pack("<HHi", 4, 4, 4)  # a flatbuffer's table without a field, at byte 4


class Table(NamedTuple):
    """A table of a flatbuffer.

    Attributes:
        data: bytes of the whole file.
        at: first byte of the table.
    """

    data: bytes
    at: int

    def number(self, field: int, form: str = "i", default: int = 0) -> int:
        """Returns a number in the format `form` of the module struct."""
        place = self._place(field)
        return struct.unpack_from("<" + form, self.data, place)[0] if place else default

    def table(self, field: int) -> Table | None:
        """Returns the table that a field refers to, None where the field is not set."""
        place = self._place(field)
        return Table(self.data, self._follow(place)) if place else None

    def tables(self, field: int) -> list[Table]:
        """Returns the tables that a field lists."""
        first, count = self._list(field)
        if count > len(self.data) // 4:
            raise ValueError("a list is longer than the file")
        return [Table(self.data, self._follow(first + 4 * index)) for index in range(count)]

    def array(self, field: int, dtype: str = "<i4") -> np.ndarray:
        """Returns the numbers that a field lists, without a copy."""
        first, count = self._list(field)
        return np.frombuffer(self.data, dtype, count, first) if count else np.zeros(0, dtype)

    def _place(self, field: int) -> int:
        """Returns the position of a field, 0 where it is not set."""
        offsets = self.at - struct.unpack_from("<i", self.data, self.at)[0]
        length = struct.unpack_from("<H", self.data, offsets)[0]
        entry = 4 + 2 * field
        shift = struct.unpack_from("<H", self.data, offsets + entry)[0] if entry < length else 0
        return self.at + shift if shift else 0

    def _follow(self, place: int) -> int:
        return place + struct.unpack_from("<I", self.data, place)[0]

    def _list(self, field: int) -> tuple[int, int]:
        """Returns the position of the first item of a list, and the number of items."""
        place = self._place(field)
        if not place:
            return 0, 0
        start = self._follow(place)
        return start + 4, struct.unpack_from("<I", self.data, start)[0]


class Model(NamedTuple):
    """A network.

    Attributes:
        graph: its operators.
        arrays: f32 arrays by the names that the operators use.
    """

    graph: Graph
    arrays: dict[str, np.ndarray]


def read(data: bytes, source: str) -> Model:
    """Reads a network that takes one square RGB image.

    Args:
        data: the bytes of the file.
        source: name of the file in messages.

    Returns:
        The network. Its kernels have the axes that `nets.graph.apply` expects.

    Raises:
        FileError: the file is no `.tflite`, is damaged, or has an operator or an option that is not known.
    """
    if data[4:8] != MAGIC:
        raise FileError(f"{source} is not a .tflite file, or is damaged; download it again")
    try:
        return _read(Table(data, struct.unpack_from("<I", data)[0]), source)
    except FileError:
        raise
    except Exception as error:  # damage can lead to positions anywhere
        raise FileError(f"{source} is damaged or was cut off; download it again") from error


def _read(model: Table, source: str) -> Model:
    """Reads the first subgraph of a model; raises nearly anything where the file is damaged."""
    buffers, subgraph = model.tables(4), model.tables(2)[0]
    codes = [max(code.number(0, "b"), code.number(3)) for code in model.tables(1)]
    tensors = subgraph.tables(0)
    constants = {index: array for index, one in enumerate(tensors) if (array := _constant(one, buffers)).size}
    (image,), outputs = subgraph.array(1), subgraph.array(2)
    shape = tensors[image].array(0)
    if len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3:
        raise FileError(f"{source} does not take a square RGB image; it is a network of another kind")
    names: dict[int, str] = {image: Graph.INPUT}
    operators: list[Operator] = []
    arrays: dict[str, np.ndarray] = {}
    for one in subgraph.tables(3):
        code = codes[one.number(0, "I")]
        inputs, (output,) = one.array(1), one.array(2)
        if code not in _CODES:
            raise FileError(f"{source} has an operator that is not known here, number {code} of TensorFlow Lite")
        if _CODES[code] == "dequantize":
            constants[output] = constants[inputs[0]]
            continue
        names[output] = f"{_CODES[code]}_{len(operators)}"
        held = [constants[index] for index in inputs if index in constants]
        taken = tuple(names[index] for index in inputs if index not in constants)
        options = one.table(4) or Table(_NO_OPTIONS, 4)
        fields, used = _operator(_CODES[code], options, held, tensors[output].array(0), source)
        used = {f"{names[output]}/{name}": array for name, array in used.items()}
        operators.append(Operator(inputs=(*taken, *used), output=names[output], **fields))
        arrays |= used
    return Model(Graph(int(shape[1]), tuple(operators), tuple(names[index] for index in outputs)), arrays)


def _operator(
    name: str, options: Table, held: list[np.ndarray], shape: np.ndarray, source: str
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns fields of an operator, and its arrays by their names.

    Args:
        name: one of `OPERATORS`.
        options: its table of options.
        held: its inputs that are constant.
        shape: shape of its result.
        source: name of the file in messages.
    """
    activation = options.number(_ACTIVATION[name], "b") if name in _ACTIVATION else 0
    dilation = [options.number(_DILATION[name] + k, default=1) for k in range(2)] if name in _DILATION else [1, 1]
    fields: dict[str, Any] = {"name": name, "relu": activation == 1}
    arrays: dict[str, np.ndarray] = {}
    known = activation in (0, 1) and dilation == [1, 1] and (name == "reshape" or len(held) == _CONSTANTS.get(name, 0))
    if name in ("conv", "depthwise", "max_pool"):
        strides = options.number(1), options.number(2)
        fields |= {"padding": _PADDINGS[options.number(0, "b")], "stride": strides[0]}
        known = known and strides[0] == strides[1]
    if not known:
        raise FileError(f"{source} has an operator {name} with options that are not known here")
    if name in ("conv", "depthwise"):
        kernel, bias = held
        # Files have [D,h,w,C] and [1,h,w,C].
        arrays = {"kernel": kernel.transpose((1, 2, 3, 0) if name == "conv" else (1, 2, 0, 3)), "bias": bias}
    elif name == "prelu":
        arrays = {"slope": held[0]}
    elif name == "max_pool":
        fields["numbers"] = (options.number(4), options.number(3))
    elif name == "concatenation":
        fields["numbers"] = (options.number(0),)
    elif name == "pad":
        fields["numbers"] = tuple(map(int, held[0].ravel()))
    elif name == "reshape":
        fields["numbers"] = tuple(map(int, shape[1:]))
    return fields, arrays


def _constant(tensor: Table, buffers: list[Table]) -> np.ndarray:
    """Returns the numbers that a file contains for a tensor, f32 or i32 in its shape; empty where there are none."""
    data, shape = buffers[tensor.number(2, "I")].array(0, "u1"), tensor.array(0)
    if not data.size or (dtype := _TYPES.get(tensor.number(1, "b"))) is None:
        return np.zeros(0, np.float32)
    numbers = data.view(dtype).reshape(shape)
    return numbers if numbers.dtype.kind == "i" else numbers.astype(np.float32)
