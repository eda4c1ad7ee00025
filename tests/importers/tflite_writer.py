"""Writes `.tflite` files by the flatbuffers runtime: the field numbers are those of TensorFlow Lite's schema."""

import flatbuffers
import numpy as np

CODES = {"add": 0, "concatenation": 2, "conv": 3, "depthwise": 4, "dequantize": 6, "logistic": 14, "max_pool": 17,
         "relu": 19, "reshape": 22, "pad": 34, "prelu": 54, "mul": 18}  # fmt: skip
TYPES = {"float32": 0, "float16": 1, "int32": 2}


class Writer:
    """Collects tensors and operators, and writes them.

    Tensors are numbers: those of `constant`, `value` and of operators.
    """

    def __init__(self):
        self.builder, self.tensors, self.operators = flatbuffers.Builder(0), [], []

    def constant(self, array):
        self.tensors.append((array.shape, array))
        return len(self.tensors) - 1

    def value(self, *shape):
        self.tensors.append((shape, None))
        return len(self.tensors) - 1

    def operator(self, name, inputs, shape, **options):
        """Adds an operator with options by field number and type: `options={0: ("Int8", 1)}`."""
        output = self.value(*shape)
        self.operators.append((name, inputs, output, options.get("options")))
        return output

    def table(self, fields):
        """Writes a table of (number, kind, value); kind is a scalar's name, or "offset"."""
        self.builder.StartObject(12)
        for number, kind, value in fields:
            if kind == "offset":
                self.builder.PrependUOffsetTRelativeSlot(number, value, 0)
            else:
                getattr(self.builder, f"Prepend{kind}Slot")(number, value, 99)
        return self.builder.EndObject()

    def tables(self, offsets):
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return self.builder.EndVector()

    def numbers(self, values, dtype=np.int32):
        return self.builder.CreateNumpyVector(np.ascontiguousarray(values, dtype).ravel())

    def write(self, first, outputs):
        """Returns the file of the network that takes the tensor `first`."""
        buffers, tensors, operators = [self.table([])], [], []
        for shape, array in self.tensors:
            kind = 0
            if array is not None:
                data = self.numbers(np.frombuffer(array.tobytes(), np.uint8), np.uint8)
                buffers.append(self.table([(0, "offset", data)]))
                kind = TYPES[str(array.dtype)]
            number = 0 if array is None else len(buffers) - 1
            tensors.append(self.table([(0, "offset", self.numbers(shape)), (1, "Int8", kind), (2, "Uint32", number)]))
        names = sorted({name for name, *_ in self.operators})
        for name, inputs, output, options in self.operators:
            fields = [(0, "Uint32", names.index(name))]
            if options:
                fields.append((4, "offset", self.table([(k, *value) for k, value in options.items()])))
            fields += [(1, "offset", self.numbers(inputs)), (2, "offset", self.numbers([output]))]
            operators.append(self.table(fields))
        codes = [self.table([(0, "Int8", CODES[name]), (3, "Int32", CODES[name])]) for name in names]
        subgraph = self.table([
            (0, "offset", self.tables(tensors)), (1, "offset", self.numbers([first])),
            (2, "offset", self.numbers(outputs)), (3, "offset", self.tables(operators)),
        ])  # fmt: skip
        lists = [(1, codes), (2, [subgraph]), (4, buffers)]
        model = self.table([(0, "Uint32", 3), *((k, "offset", self.tables(offsets)) for k, offsets in lists)])
        self.builder.Finish(model, b"TFL3")
        return bytes(self.builder.Output())
