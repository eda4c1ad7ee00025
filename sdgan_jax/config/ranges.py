"""Types of config fields with the values that a field may have, and the check of a config against them.

A field is declared as `batch_size: Count = 16`: an int for Python, an int of at least 1 for `check`. `Literal` lists
the values of a field that has only a few.
"""

from __future__ import annotations

import dataclasses
import math
import os
import sys
import typing
from typing import Annotated, Any, Literal


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `least` to `most`.

    Attributes:
        least: the smallest number.
        most: the largest number.
        open_least: whether `least` itself is excluded.
        open_most: whether `most` itself is excluded.
    """

    least: float
    most: float = math.inf
    open_least: bool = False
    open_most: bool = False

    def __contains__(self, value: float) -> bool:
        """Returns whether a number lies in the range; NaN and infinities never do."""
        above = value > self.least if self.open_least else value >= self.least
        below = value < self.most if self.open_most else value <= self.most
        return above and below and abs(value) <= sys.float_info.max  # whole numbers may be larger than any float

    def __str__(self) -> str:
        """Returns such as "at least 1" or "above 0 and at most 1"."""
        low = f"above {self.least:g}" if self.open_least else f"at least {self.least:g}"
        if self.most == math.inf:
            return low
        return f"{low} and {'below' if self.open_most else 'at most'} {self.most:.12g}"


@dataclasses.dataclass(frozen=True)
class PathMark:
    """A text that names a file or folder."""

    def __contains__(self, value: object) -> bool:
        """Returns whether a text can be the name of a file."""
        return "\0" not in str(value)

    def __str__(self) -> str:
        """Returns "a path", for messages."""
        return "a path"


_SHOWN = 200  # characters of a value in a message

Count = Annotated[int, Range(1, 2**31 - 1)]
Natural = Annotated[int, Range(0, 2**31 - 1)]
Seed = Annotated[int, Range(0, 2**32 - 1)]  # jax.random.key takes 32 bits
NonNegative = Annotated[float, Range(0)]
Positive = Annotated[float, Range(0, open_least=True)]
Share = Annotated[float, Range(0, 1)]
BelowOne = Annotated[float, Range(0, 1, open_most=True)]  # decay rates: 1 would freeze the average
Path = Annotated[str, PathMark()]


def check(config: Any, path: str = "config") -> None:
    """Checks type and value of every field of a config, fields of its groups included.

    Args:
        config: a dataclass.
        path: name of the config in messages.

    Raises:
        ValueError: naming the first field that does not fit, its value, and the values that are allowed.
    """
    for name, kind in _hints(type(config)).items():
        value, where = getattr(config, name), f"{path}.{name}"
        if dataclasses.is_dataclass(value):
            check(value, where)
        elif typing.get_origin(kind) is tuple:
            if not isinstance(value, tuple):
                raise ValueError(f"{where} is {shown(value)}; it must be a list such as \"('a', 'b')\"")
            for item in value:
                _check_value(where, item, typing.get_args(kind)[0])
        else:
            _check_value(where, value, kind)


def shown(value: Any) -> str:
    """Returns a value of a config, which may come from a damaged file, as text of at most 200 characters."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # deep nesting; a number of more digits than Python writes
        return f"a {type(value).__name__} that is too large to show"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"


def expand_paths(config: Any) -> None:
    """Replaces `~` in every path of a config by the home folder, in place."""
    for name, kind in _hints(type(config)).items():
        value = getattr(config, name)
        if dataclasses.is_dataclass(value):
            expand_paths(value)
        elif kind == Path:
            setattr(config, name, os.path.expanduser(value))


def _hints(kind: type) -> dict[str, Any]:
    """Returns the declared type of every field, with its range."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _check_value(where: str, value: Any, kind: Any) -> None:
    """Checks one value against a declared type."""
    if typing.get_origin(kind) is Literal:
        known = typing.get_args(kind)
        if (type(value), value) not in [(type(one), one) for one in known]:  # 3.0 and True equal integers
            names = ", ".join(str(choice) or "''" for choice in known)
            raise ValueError(f"{where} is {shown(value)}; it must be one of {names}")
        return
    plain, *limits = typing.get_args(kind) if typing.get_origin(kind) is Annotated else (kind,)
    accepted = {int: (int,), float: (int, float), bool: (bool,), str: (str,)}[plain]
    if not isinstance(value, accepted) or (isinstance(value, bool) and plain is not bool):
        what = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[plain]
        raise ValueError(f"{where} is {shown(value)}; it must be {what}")
    for limit in limits:
        if value not in limit:
            raise ValueError(f"{where} is {shown(value)}; it must be {limit}")
