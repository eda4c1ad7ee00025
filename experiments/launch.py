"""What the launchers share: the --config flag, flag values, and how a mistake reaches the user.

CONFIG = launch.define_config()

def main(argv):
    train(CONFIG.value, ...)

if __name__ == "__main__":
    launch.run(main)
"""

from __future__ import annotations

import dataclasses
import difflib
import dis
import io
import math
import os
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from absl import app, flags, logging
from ml_collections import config_flags

from sdgan_jax import config as config_lib
from sdgan_jax.config import networks, ranges

# The flags defined here belong to the launcher that asks for them, so that its --help shows them.
flags.disclaim_key_flags()

_PRESETS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "configs")
_PACKAGES = ("__main__", "experiments", "sdgan_jax", "tfds_megn")
# Kinds of config that a preset may return, and what checks them.
_KINDS: dict[type, Callable[[Any], Any]] = {
    config_lib.Config: config_lib.validate,
    networks.PRNetConfig: networks.validate,
    networks.IdentityConfig: networks.validate,
    networks.ClassifierConfig: networks.validate,
}
MAX_SEED = 2**32 - 1  # jax.random.key takes 32 bits; a larger seed would be the same as a smaller one
_OVERRIDE = re.compile(r"--?config\.([^=]+)(=.*)?$", re.DOTALL)


def define_config(default: str = "quickstart") -> flags.FlagHolder[Any]:
    """Defines `--config=<preset file>` and `--config.<field>=<value>`.

    Args:
        default: name of the preset that is used when `--config` is not given.

    Returns:
        The flag; its `value` is the config with all overrides, validated once `run` has called `main`.
    """
    for kind in (part for whole in _KINDS for part in _dataclasses_of(whole)):
        # config_flags picks the parser of a field by its type, which postponed annotations leave as text.
        hints = typing.get_type_hints(kind)
        for field in dataclasses.fields(kind):
            hint = hints[field.name]
            field.type = type(typing.get_args(hint)[0]) if typing.get_origin(hint) is typing.Literal else hint
    # Without a default here: config_flags would read it, and the overrides, before `run` can catch errors.
    holder = config_flags.DEFINE_config_file(
        "config",
        help_string="preset: a Python file with get_config(). --config.<field>=<value> overrides one field, "
        "e.g. --config.batch_size=8 or --config.losses.r1=1.0",
    )
    flags.FLAGS["config"].default_as_str = os.path.join(_PRESETS, f"{default}.py")
    return holder


class _PathParser(flags.ArgumentParser):
    """Reads a path; `~` is the home folder, which a shell leaves alone in `--flag=~/folder`."""

    def parse(self, argument: str) -> str:
        """Returns the path."""
        if "\0" in argument:
            raise ValueError("a path cannot hold a NUL character")
        return os.path.expanduser(argument)

    def flag_type(self) -> str:
        """Returns what a value is."""
        return "path"


def define_path(name: str, default: str | None, help: str, required: bool = False) -> flags.FlagHolder[Any]:
    """Defines a flag that takes the path of a file or folder, local or remote; `~` is expanded."""
    return flags.DEFINE(_PathParser(), name, default, help, required=required)


def define_seed(name: str, default: int, help: str) -> flags.FlagHolder[Any]:
    """Defines a flag that takes a random seed."""
    return flags.DEFINE_integer(name, default, help, lower_bound=0, upper_bound=MAX_SEED)


def parse_seeds(text: str) -> list[int]:
    """Reads seed numbers such as `"0-15"` or `"0,3,5-7"`.

    Args:
        text: numbers and ranges (both ends included), separated by commas.

    Returns:
        The numbers, in the order given.

    Raises:
        ValueError: when the text is not such a list.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if not match:
            raise ValueError(f"--seeds={text}: {part!r} is not a number or a range; write e.g. 0-15 or 0,3,5-7")
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if last > MAX_SEED:
            raise ValueError(f"--seeds={text}: {last} is too large; seeds go up to {MAX_SEED}")
        if last < first:
            raise ValueError(f"--seeds={text}: the range {part.strip()} runs backwards; write {last}-{first}")
        if last - first >= 1_000_000:
            raise ValueError(f"--seeds={text}: the range {part.strip()} has more than a million seeds")
        seeds.extend(range(first, last + 1))
    return seeds


def run(main: Callable[[Sequence[str]], Any]) -> NoReturn:
    """Parses the flags, calls `main`, and ends the process.

    A user's mistake ends it with `error: <one line>` on stderr and exit code 1: a flag that cannot be parsed,
    a file that cannot be read or written, and every ValueError or RuntimeError that this program raises on
    purpose. Anything else is a bug and keeps its traceback. Ctrl-C ends it with exit code 130.

    Args:
        main: takes the arguments that are not flags (there are none but the program's name).
    """
    # A file name may hold bytes that are not UTF-8.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app.run(lambda argv: _guarded(main, argv), flags_parser=_parse)
    raise AssertionError("app.run does not return")


def open_devices() -> None:
    """Starts JAX on the devices that it is told to use. `run` does so; a launcher with `--distributed` after joining.

    Raises:
        RuntimeError: there are no such devices.
    """
    import jax  # not above: a mistake in the flags is answered without loading it

    # Everything here is float32; with 64 bits, constants would make the trees of a state disagree with their targets.
    jax.config.update("jax_enable_x64", False)
    try:
        jax.devices()
    except Exception as error:  # RuntimeError, or a bare AssertionError where the plugin of the platform is missing
        wanted, reason = os.environ.get("JAX_PLATFORMS", ""), f" ({error})" if str(error) else ""
        raise RuntimeError(
            f"JAX finds no device of JAX_PLATFORMS={wanted}{reason}; unset JAX_PLATFORMS to use what there is, or "
            "install the wheels of your GPU or TPU: pip install -e '.[cuda]' or '.[tpu]'"
        ) from error


def _guarded(main: Callable[[Sequence[str]], Any], argv: Sequence[str]) -> Any:
    """Calls main and turns the user's mistakes into one line."""
    try:
        if "config" in flags.FLAGS:
            config = flags.FLAGS["config"].value
            if type(config) not in _KINDS:
                names = " or ".join(kind.__name__ for kind in _KINDS)
                raise ValueError(f"--config: get_config() returned a {type(config).__name__}; it must return a {names}")
            ranges.expand_paths(config)
            _KINDS[type(config)](config)
        if "distributed" not in flags.FLAGS:
            open_devices()
        return main(argv)
    except KeyboardInterrupt as interrupt:
        print(f"\n{interrupt}" if str(interrupt) else "\ninterrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if not _is_mistake(error):
            raise
        if isinstance(error, OSError) and error.filename and error.strerror:
            _fail(f"{error.filename}: {error.strerror}")
        _fail(str(error))


def _is_mistake(error: Exception) -> bool:
    """Whether the message of an error is meant for the user."""
    if isinstance(error, OSError):
        return True
    if not isinstance(error, ValueError | RuntimeError | ImportError | FloatingPointError):
        return False
    # Raised on purpose, by a raise statement of this program; not something that fell out of a call.
    place = error.__traceback__
    while place and place.tb_next:
        place = place.tb_next
    if place is None:
        return False
    package = place.tb_frame.f_globals.get("__name__", "").split(".")[0]
    return package in _PACKAGES and place.tb_frame.f_code.co_code[place.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def _fail(message: str) -> NoReturn:
    """Prints the message as one line and ends the process."""
    print("error:", " ".join(message.split()), file=sys.stderr)
    sys.exit(1)


def _parse(argv: Sequence[str]) -> list[str]:
    """Parses the flags; ends the process for --help and for flags that cannot be parsed."""
    values = flags.FLAGS
    if "config" in values:
        argv = _find_preset(argv)
        sys.argv = list(argv)  # config_flags looks for the overrides there
    if any(arg in ("--help", "-help", "-h", "-?", "--helpshort") for arg in argv[1:]):
        print(_help(argv))
        sys.exit(0)
    overrides = [match for arg in argv[1:] if (match := _OVERRIDE.match(arg))]
    preset = _preset(argv) if overrides else None
    try:
        for match in overrides:
            _check_override(preset, match[1], match[2])
        rest = values(argv)
        _check_values()
    except (flags.Error, ValueError) as error:
        _fail(_explain(error, preset))
    if values["verbosity"].using_default_value:
        # app.run would choose INFO, at which Orbax and TFDS tell their lives.
        values.verbosity = logging.ERROR  # type: ignore[assignment]
    if len(rest) > 1:
        _fail(f"unexpected argument {rest[1]!r}; every flag starts with --, see --help")
    return rest


def _check_values() -> None:
    """Refuses what no flag of a launcher can mean: an empty value, as an unset shell variable gives, and NaN."""
    for flag in flags.FLAGS.get_key_flags_for_module(sys.argv[0]):
        if not flag.present:
            continue
        items = flag.value if isinstance(flag.value, list) else [flag.value]
        if not items or any(isinstance(item, str) and not item.strip() for item in items):
            text = ",".join(map(str, items))
            raise ValueError(f"--{flag.name}={text}: a value is empty; give one, or leave the flag out")
        if any(isinstance(item, float) and not math.isfinite(item) for item in items):
            raise ValueError(f"--{flag.name}={flag.value}: it must be a finite number")


def _find_preset(argv: Sequence[str]) -> list[str]:
    """Puts --config=<path of an existing file> first, where config_flags wants it; or ends the process."""
    found, path = list(argv), ""
    for arg, following in zip(argv[1:], [*argv[2:], ""]):
        if match := re.fullmatch(r"--?config(=.*)?", arg, re.DOTALL):
            path = match[1][1:] if match[1] else following
            if not path:
                _fail("--config needs the path of a preset")
            found.remove(arg)
            if not match[1] and following in found:
                found.remove(following)
    path = os.path.expanduser(path or str(flags.FLAGS["config"].default_as_str))
    path, colon, argument = path.partition(".py:")  # preset.py:argument
    path += ".py" if colon else ""
    # The presets are installed with the package, so their names also work where the checkout is not.
    installed = os.path.join(_PRESETS, os.path.basename(path))
    if not os.path.isfile(path) and path.startswith("experiments/configs/") and os.path.isfile(installed):
        path = installed
    if not os.path.isfile(path):
        names = sorted(name[:-3] for name in os.listdir(_PRESETS) if re.fullmatch(r"[a-z]\w*\.py", name))
        _fail(f"--config={path}: no such file; the presets in experiments/configs/ are {', '.join(names)}")
    with open(path, encoding="utf-8", errors="replace") as file:
        source = file.read()
    if "get_config" not in source:
        _fail(f"--config={path}: not a preset; it must be a Python file with get_config()")
    if colon and "def get_config()" in source:
        _fail(f"--config={path}:{argument}: this preset takes no argument; write --config={path}")
    return [found[0], f"--config={path}{':' if colon else ''}{argument}", *found[1:]]


def _preset(argv: Sequence[str]) -> Any:
    """The config of the preset that `_find_preset` put first, without overrides."""
    try:
        return flags.FLAGS["config"].parser.parse(argv[1].removeprefix("--config="))
    except Exception:  # whatever a preset may do wrong is reported when the flags are parsed
        return config_lib.Config()


def _check_override(preset: Any, path: str, value: str | None) -> None:
    """Checks that `--config.<path>` names a field of the preset that can be set."""
    node = preset
    for depth, name in enumerate(parts := path.split(".")):
        fields = [field.name for field in dataclasses.fields(node)] if dataclasses.is_dataclass(node) else []
        if name not in fields:
            whole = [".".join(names) for names, _ in _leaves(preset)]
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


def _explain(error: Exception, preset: Any) -> str:
    """The message of a flag error, in the words of the config where it is about one of its fields."""
    if missing := re.findall(r"Flag --(\w+) must have a value other than None", str(error)):
        return "give " + " and ".join(f"--{name} ({flags.FLAGS[name].help})" for name in missing)
    if match := re.match(r"flag (--config=.*?): Error whilst parsing config file:\s", str(error)):
        return f"{match[1]}: {str(error).strip().splitlines()[-1].removeprefix('ValueError: ')}"
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


def _help(argv: Sequence[str]) -> str:
    """The launcher's docstring, its flags, and the fields of the config with their defaults."""
    values = flags.FLAGS
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    name = f"python -m {spec.name}" if spec else f"python {sys.argv[0]}"
    lines = [(main.__doc__ or "").strip(), "", f"usage: {name} [--flag=value ...]", "", "flags:"]
    for flag in sorted(values.get_key_flags_for_module(sys.argv[0]), key=lambda flag: flag.name):
        default = _shorten(flag.default_as_str or "")
        default = f" (default: {default})" if default else ""
        lines += [f"  --{flag.name}", flags.text_wrap(f"{flag.help}{default}", 100, "      ")]
    if "config" in values:
        lines += ["", f"config fields, with the values of {_shorten(argv[1].removeprefix('--config='))}:"]
        lines += [f"  --config.{'.'.join(names)}={value}" for names, value in _leaves(_preset(argv))]
    return "\n".join(lines)


def _shorten(default: str) -> str:
    """A flag's default as one types it."""
    return default.strip("'").removeprefix(os.path.dirname(os.path.dirname(_PRESETS)) + os.sep)


def _leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yields the path and the value of every field that is not a group."""
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        if dataclasses.is_dataclass(value):
            yield from _leaves(value, (*path, field.name))
        else:
            yield (*path, field.name), value


def _dataclasses_of(kind: type) -> Iterator[type]:
    """Yields a dataclass type and those of its fields."""
    yield kind
    for hint in typing.get_type_hints(kind).values():
        if isinstance(hint, type) and not isinstance(hint, types.GenericAlias) and dataclasses.is_dataclass(hint):
            yield from _dataclasses_of(hint)
