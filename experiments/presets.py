"""The --config flag: a preset file with get_config(), and --config.<field>=<value> to override its fields."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import traceback
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import flags
from ml_collections import config_flags

from sdgan_jax import config as config_lib
from sdgan_jax import outputs
from sdgan_jax.config import networks, ranges

# The flag defined here belongs to the launcher that asks for it, so that its --help shows it.
flags.disclaim_key_flags()

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "configs")
# Kinds of config that a preset may return, and the function that checks each.
_KINDS: dict[type, Callable[[Any], Any]] = {
    config_lib.Config: config_lib.validate,
    networks.PRNetConfig: networks.validate,
    networks.IdentityConfig: networks.validate,
    networks.ClassifierConfig: networks.validate,
}
_OVERRIDE = re.compile(r"--?config\.([^=]*)(=.*)?$", re.DOTALL)


def define_config(default: str = "quickstart") -> flags.FlagHolder[Any]:
    """Defines `--config=<preset file>` and `--config.<field>=<value>`.

    Args:
        default: name of the preset that is used when `--config` is not given.

    Returns:
        The flag; its `value` is the config with all overrides, validated once `launch.run` has called `main`.
    """
    for kind in (part for whole in _KINDS for part in _dataclasses_of(whole)):
        # config_flags picks the parser of a field by its type, which postponed annotations leave as text.
        hints = typing.get_type_hints(kind)
        for field in dataclasses.fields(kind):
            hint = hints[field.name]
            field.type = type(typing.get_args(hint)[0]) if typing.get_origin(hint) is typing.Literal else hint
    # No default here: config_flags would read it, and the overrides, before `launch.run` can catch errors.
    holder = config_flags.DEFINE_config_file(
        "config",
        help_string="preset: a Python file with get_config(). --config.<field>=<value> overrides one field, "
        "e.g. --config.batch_size=8 or --config.losses.r1=1.0",
    )
    flags.FLAGS["config"].default_as_str = os.path.join(FOLDER, f"{default}.py")
    return holder


def move_to_front(argv: Sequence[str]) -> list[str]:
    """Returns the arguments with `--config=<path of an existing preset>` first, where config_flags looks for it.

    Raises:
        ValueError: the file does not exist or is no preset.
    """
    rest, path = list(argv), ""
    for arg, following in zip(argv[1:], [*argv[2:], ""]):
        if match := re.fullmatch(r"--?config(=.*)?", arg, re.DOTALL):
            path = match[1][1:] if match[1] else following
            if not path:
                raise ValueError("--config needs the path of a preset")
            rest.remove(arg)
            if not match[1] and following in rest:
                rest.remove(following)
    path = os.path.expanduser(path or str(flags.FLAGS["config"].default_as_str))
    path, colon, argument = path.partition(".py:")  # preset.py:argument
    path += ".py" if colon else ""
    # The presets are installed with the package, so their names also work outside of a checkout.
    installed = os.path.join(FOLDER, os.path.basename(path))
    if not os.path.isfile(path) and path.startswith("experiments/configs/") and os.path.isfile(installed):
        path = installed
    if not os.path.isfile(path):
        names = sorted(name[:-3] for name in os.listdir(FOLDER) if re.fullmatch(r"[a-z]\w*\.py", name))
        raise ValueError(f"--config={path}: no such file; the presets in experiments/configs/ are {', '.join(names)}")
    with open(path, encoding="utf-8", errors="replace") as file:
        source = file.read()
    if "get_config" not in source:
        raise ValueError(f"--config={path}: not a preset; it must be a Python file with get_config()")
    if colon and "def get_config()" in source:
        raise ValueError(f"--config={path}:{argument}: this preset takes no argument; write --config={path}")
    return [rest[0], f"--config={path}{':' if colon else ''}{argument}", *rest[1:]]


def load(argv: Sequence[str]) -> Any:
    """Returns the config of the preset that `move_to_front` put first, without overrides.

    Raises:
        ValueError: the preset ends with an error; the message has its line.
    """
    given = argv[1]
    try:
        config = flags.FLAGS["config"].parser.parse(given.removeprefix("--config="))
    except Exception as error:  # a preset is a program, which can raise anything
        raise ValueError(f"{given}: {_describe_failure(given, error)}") from error
    if not dataclasses.is_dataclass(config):
        raise ValueError(f"{given}: get_config() returned a {type(config).__name__}; it must return a config")
    return config


def _describe_failure(given: str, error: BaseException) -> str:
    """Returns an error of a preset in one line; a ValueError is written for the user, others need their place."""
    if str(error).startswith("Error whilst parsing config file") and error.__context__ is not None:
        error = error.__context__  # config_flags puts the whole traceback into the message
    if isinstance(error, ValueError) and not isinstance(error, UnicodeError):
        return str(error)
    file = os.path.basename(given.partition("=")[2].partition(".py")[0] + ".py")
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if _file_of(frame) == file]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    what = str(error.msg if isinstance(error, SyntaxError) else error)[:300]
    return f"{f'line {line}: ' if line else ''}{type(error).__name__}: {what}"


def _file_of(frame: types.FrameType) -> str:
    return os.path.basename(frame.f_code.co_filename)


def check_overrides(preset: Any, argv: Sequence[str]) -> None:
    """Checks that each `--config.<field>` names a field of the preset that can be set.

    Raises:
        ValueError: a field does not exist (fields with similar names are listed), is a group of fields, or is a bool
            without a value.
    """
    for arg in argv[1:]:
        if match := _OVERRIDE.match(arg):
            _check_override(preset, match[1], match[2])


def _check_override(preset: Any, path: str, value: str | None) -> None:
    """Checks one override; `path` is such as "losses.r1", `value` the rest of the argument from "=" on."""
    node = preset
    for depth, name in enumerate(parts := path.split(".")):
        fields = [field.name for field in dataclasses.fields(node)] if dataclasses.is_dataclass(node) else []
        if name not in fields:
            whole = [field for field, _ in list_fields(preset)]
            near = difflib.get_close_matches(name, fields, n=3, cutoff=0.6)
            near = [".".join([*parts[:depth], field]) for field in near]
            near += [leaf for leaf in whole if leaf.split(".")[-1] == name]
            near = near or difflib.get_close_matches(path, whole, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(map(repr, near[:3]))}?" if near else "--help lists the fields"
            raise ValueError(f"config has no field {path!r}; {hint}")
        node = getattr(node, name)
    if dataclasses.is_dataclass(node):
        inside = ", ".join(f"{path}.{field.name}" for field in dataclasses.fields(node))
        raise ValueError(f"config.{path} is a group of fields; set one of {inside}")
    if isinstance(node, bool) and value is None:
        raise ValueError(f"--config.{path} needs a value: --config.{path}=true or --config.{path}=false")


def validate(config: Any) -> None:
    """Expands `~` in the paths of a config and checks its values.

    Raises:
        ValueError: a value is out of range, or the config is of a kind that no launcher takes.
    """
    if type(config) not in _KINDS:
        names = " or ".join(kind.__name__ for kind in _KINDS)
        raise ValueError(f"--config: get_config() returned a {type(config).__name__}; it must return a {names}")
    ranges.expand_paths(config)
    for _, value in list_fields(config):
        if isinstance(value, str):
            outputs.check_scheme(value)
    _KINDS[type(config)](config)


def explain(error: Exception, preset: Any) -> str:
    """Returns the message of a flag error, in terms of the config's fields where it concerns one.

    Args:
        error: the error from parsing the flags.
        preset: the config without overrides, None when no preset has been found.
    """
    match = re.match(r"flag --config\.([\w.]+)=(.*?): ", str(error), re.DOTALL)
    if not match:
        return str(error)
    node = preset
    for name in match[1].split("."):
        node = getattr(node, name)
    kinds = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        tuple: "a list such as \"('a', 'b')\"",
    }
    return f"config.{match[1]} is {match[2]!r}; it must be {kinds.get(type(node), 'text')}"


def list_fields(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the dotted name and the value of every field of a config that is not a group."""
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        if dataclasses.is_dataclass(value):
            yield from list_fields(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, value


def _dataclasses_of(kind: type) -> Iterator[type]:
    """Yields a dataclass type and those of its fields."""
    yield kind
    for hint in typing.get_type_hints(kind).values():
        if isinstance(hint, type) and not isinstance(hint, types.GenericAlias) and dataclasses.is_dataclass(hint):
            yield from _dataclasses_of(hint)
