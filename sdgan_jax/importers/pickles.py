"""Reader of pickles that executes nothing.

A pickle is a program: its opcodes GLOBAL and REDUCE name functions and call them, which is how a file of "weights" can
run `os.system`. Here `pickletools.genops` of the standard library parses the opcodes, and each call becomes a record: a
`Call` of a `Name` with its arguments. Nothing is imported or called. `arrays` converts the few records that describe
arrays; all other names are refused.

The size of the file bounds the memory: an opcode makes one small object or refers to bytes of the file, there are at
most `MAX_OPCODES`. Names and the keys of dictionaries are plain: a few lists that contain one another have a text of
gigabytes, and hashing a deeply nested tuple would end the process.
"""

from __future__ import annotations

import dataclasses
import io
import pickletools
from typing import Any, BinaryIO, cast

MAX_OPCODES = 2_000_000  # a StyleGAN2 of 1024 pixels with D, two G and optimisers has 60,000

# The functions and classes that files of weights name. They are recorded, not called.
KNOWN = frozenset(
    {
        ("collections", "OrderedDict"),
        ("argparse", "Namespace"),  # rosinality's training options
        ("_codecs", "encode"),  # bytes, in pickles that Python 2 can read
        ("copyreg", "_reconstructor"),
        ("dnnlib", "EasyDict"),
        ("dnnlib.util", "EasyDict"),
        ("dnnlib.tflib.network", "Network"),
        ("torch_utils.persistence", "_reconstruct_persistent_obj"),
        ("torch._utils", "_rebuild_tensor"),
        ("torch._utils", "_rebuild_tensor_v2"),
        ("torch._utils", "_rebuild_parameter"),
        ("torch.storage", "_load_from_bytes"),
        ("torch", "Size"),
        ("torch", "device"),
    }
    | {(module, name) for module in ("builtins", "__builtin__") for name in ("set", "frozenset", "object")}
    | {("numpy", name) for name in ("ndarray", "dtype")}
    | {(f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")}
    | {(f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")}
    | {
        ("torch", f"{kind}Storage")
        for kind in ("Float", "Half", "Double", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
    }
)
KNOWN_MODULES = ("torch.nn.modules.",)  # layers that are pickled as objects

_VALUES = frozenset(  # opcodes that push their argument
    "BININT BININT1 BININT2 INT LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict, "EMPTY_SET": list}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class FileError(ValueError):
    """A file cannot be read; the message is one line for the user that names the file."""


@dataclasses.dataclass(frozen=True)
class Name:
    """Name of a function or class in a pickle."""

    module: str
    name: str

    def __str__(self) -> str:
        return printable(f"{self.module}.{self.name}")


@dataclasses.dataclass(eq=False)
class Call:
    """Record of a call in a pickle.

    Attributes:
        name: the function or class.
        args: its arguments.
        state: argument of `__setstate__` of the resulting object, None without.
        items: items that are set on the resulting object (`OrderedDict`, `EasyDict`).
    """

    name: Name
    args: tuple[Any, ...]
    state: Any = None
    items: dict[Any, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(eq=False)
class Persistent:
    """Reference to an object outside of the pickle, such as a storage of torch."""

    key: Any


def printable(value: Any, length: int = 80) -> str:
    """Returns a value of a file as text for a message: control characters escaped, at most `length` characters."""
    if not isinstance(value, str):
        small = value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**15)
        return str(value) if small else f"a {type(value).__name__}"
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value[:length])
    return text if len(value) <= length else f"{text} …"


def read(file: BinaryIO, source: str, references: list[Persistent] | None = None) -> Any:
    """Reads one pickle from the file's position.

    Args:
        file: binary file; its position is after the pickle when this returns.
        source: name of the file in messages.
        references: list that all references out of the pickle are appended to, in order.

    Returns:
        Numbers, text, bytes, lists, tuples and dicts as they are, sets as lists, and records for everything else.

    Raises:
        FileError: the pickle names a function that no file of weights needs, is cut off, or is not a pickle.
    """
    machine = _Machine(source, [] if references is None else references)
    opcodes = pickletools.genops(cast(BinaryIO, _Bounded(file)))  # genops calls read, readline and tell
    for _ in range(MAX_OPCODES):
        try:
            opcode, argument, _ = next(opcodes)
        except (ValueError, OverflowError, StopIteration) as error:
            # pickletools fails in two cases: at an unknown opcode, and at an argument that is cut off.
            what = "is damaged" if "unknown" in str(error) else "is cut off or damaged"
            raise FileError(f"{source} {what}; download it again") from error
        except MemoryError as error:
            raise FileError(f"{source} holds more than fits in memory") from error
        if opcode.name == "STOP":
            return machine.pop()
        machine.step(opcode.name, argument)
    raise FileError(f"{source} has more than {MAX_OPCODES} pickle opcodes; a StyleGAN2 has fewer")


def _is_plain(key: Any) -> bool:
    """Returns whether a key has a short hash and text; Python refuses the text of an integer of many digits."""
    return key is None or isinstance(key, str | float) or (isinstance(key, int) and key.bit_length() <= 64)


class _Bounded:
    """Limits reads to the size of the file, because a read allocates any length that a pickle states."""

    def __init__(self, file: BinaryIO):
        self.tell, self.readline, self._file = file.tell, file.readline, file
        position = file.tell()
        self._size = file.seek(0, io.SEEK_END)
        file.seek(position)

    def read(self, count: int) -> bytes:
        """Reads at most `count` bytes."""
        return self._file.read(min(count, self._size - self._file.tell()))


class _Machine:
    """Pickle machine: the stack, the marks on it, and the memo."""

    def __init__(self, source: str, references: list[Persistent]):
        self.source = source
        self.references = references
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> None:
        """Executes one opcode."""
        if opcode in _VALUES:
            self.stack.append(argument)
        elif opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode])
        elif opcode in _EMPTY:
            self.stack.append(_EMPTY[opcode]())
        elif opcode in _TUPLES:
            self.stack.append(tuple(self.take(_TUPLES[opcode])))
        elif opcode == "MARK":
            self.marks.append(len(self.stack))
        elif opcode in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[len(self.memo) if argument is None else argument] = self.top()
        elif opcode in ("GET", "BINGET", "LONG_BINGET"):
            if argument not in self.memo:
                raise self.damaged()
            self.stack.append(self.memo[argument])
        elif opcode not in ("PROTO", "FRAME"):
            self.build(opcode, argument)

    def build(self, opcode: str, argument: Any) -> None:
        """Executes one of the opcodes that build objects."""
        if opcode in ("GLOBAL", "STACK_GLOBAL"):
            parts = self.take(2) if opcode == "STACK_GLOBAL" else argument.split(" ", 1)
            self.stack.append(self.name(*parts))
        elif opcode in ("REDUCE", "NEWOBJ"):
            name, args = self.take(2)
            self.stack.append(self.call(name, args))
        elif opcode == "BUILD":
            state = self.pop()
            if not isinstance(self.top(), Call):
                raise self.damaged()
            self.top().state = state
        elif opcode in ("TUPLE", "LIST", "FROZENSET"):
            items = self.take_marked()
            self.stack.append(tuple(items) if opcode == "TUPLE" else items)
        elif opcode in ("DICT", "SETITEM", "SETITEMS"):
            items = self.take(2) if opcode == "SETITEM" else self.take_marked()
            if opcode == "DICT":
                self.stack.append({})
            self.set_items(items)
        elif opcode in ("APPEND", "APPENDS", "ADDITEMS"):
            items = self.take(1) if opcode == "APPEND" else self.take_marked()
            if not isinstance(self.top(), list):
                raise self.damaged()
            self.top().extend(items)
        elif opcode == "BINPERSID":
            self.references.append(Persistent(self.pop()))
            self.stack.append(self.references[-1])
        else:
            raise FileError(f"{self.source} uses the pickle opcode {opcode}, which no file of weights needs")

    def name(self, module: Any, name: Any) -> Name:
        """Returns the record of a function or class; unknown ones are refused."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise self.damaged()
        found = Name(module, name)
        if (found.module, found.name) not in KNOWN and not found.module.startswith(KNOWN_MODULES):
            raise FileError(f"{self.source} wants to call {found}; it is refused: files of weights hold only arrays")
        return found

    def call(self, name: Any, args: Any) -> Call:
        """Returns the record of a call."""
        if not isinstance(name, Name) or not isinstance(args, tuple):
            raise self.damaged()
        return Call(name, args)

    def set_items(self, items: list[Any]) -> None:
        """Sets alternating keys and values on the dict or record on top of the stack."""
        target = self.top().items if isinstance(self.top(), Call) else self.top()
        keys, values = items[::2], items[1::2]
        if not isinstance(target, dict) or len(keys) != len(values) or not all(map(_is_plain, keys)):
            raise self.damaged()
        target.update(zip(keys, values, strict=True))

    def top(self) -> Any:
        """Returns the object on top of the stack."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise self.damaged()
        return self.stack[-1]

    def pop(self) -> Any:
        """Removes the object on top of the stack and returns it."""
        self.top()
        return self.stack.pop()

    def take(self, count: int) -> list[Any]:
        """Removes the last `count` objects from the stack and returns them."""
        if len(self.stack) - (self.marks[-1] if self.marks else 0) < count:
            raise self.damaged()
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def take_marked(self) -> list[Any]:
        """Removes the last mark and the objects above it from the stack and returns the objects."""
        if not self.marks:
            raise self.damaged()
        first = self.marks.pop()
        items = self.stack[first:]
        del self.stack[first:]
        return items

    def damaged(self) -> FileError:
        """Returns the error for a malformed pickle."""
        return FileError(f"{self.source} is damaged: it is not a well-formed pickle; download it again")
