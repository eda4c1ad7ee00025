"""Flag parsing and error reporting shared by the launchers.

CONFIG = presets.define_config()
OUT = launch.define_path("out", None, "folder for the results", required=True)

def main(argv):
    train(CONFIG.value, OUT.value)

if __name__ == "__main__":
    launch.run(main)
"""

from __future__ import annotations

import errno
import gc
import io
import linecache
import math
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import jax
from absl import app, flags, logging

from experiments import USUAL_COLLECTIONS, compile_cache, presets, processes
from sdgan_jax import outputs
from tfds_megn import listing

# The flags defined here belong to the launcher that asks for them, so that its --help shows them.
flags.disclaim_key_flags()

# Until the flags are parsed, which sets the level: Grain warns of an older jaxlib as soon as it is imported.
logging.get_absl_logger().setLevel("CRITICAL")

# Numbers of errors of disks and connections, which another start may not meet.
_PASSING = frozenset({
    errno.EAGAIN, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH,
    errno.EIO, errno.ENETDOWN, errno.ENETRESET, errno.ENETUNREACH, errno.ENOLCK, errno.ENOTCONN, errno.EPIPE,
    errno.ESTALE, errno.ETIMEDOUT,
})  # fmt: skip
_PACKAGES = ("__main__", "experiments", "sdgan_jax", "tfds_megn")
MAX_SEED = 2**32 - 1  # jax.random.key takes 32 bits; a larger seed would equal a smaller one


class _PathParser(flags.ArgumentParser):
    """Reads a path and expands `~`, which a shell leaves alone in `--flag=~/folder`."""

    def parse(self, argument: str) -> str:
        """Returns the path."""
        if "\0" in argument:
            raise ValueError("a path cannot hold a NUL character")
        outputs.check_scheme(argument)
        return os.path.expanduser(argument)


def define_path(name: str, default: str | None, help: str, required: bool = False) -> flags.FlagHolder[Any]:
    """Defines a flag that takes the path of a file or folder, local or remote; `~` is expanded."""
    return flags.DEFINE(_PathParser(), name, default, help, required=required)


def define_model() -> flags.FlagHolder[Any]:
    """Defines the flag that takes the model, for `sdgan_jax.load`."""
    return define_path(
        "model", "", "training workdir, one of its checkpoints, or model directory; the project's own model by default"
    )


def define_network() -> flags.FlagHolder[Any]:
    """Defines the flag that takes the network which finds faces, for `finders.read_finder`."""
    return define_path(
        "network",
        "",
        "position network directory, a PRNet or a face mesh; the one that comes with the project by default",
    )


def define_seed(name: str, default: int, help: str) -> flags.FlagHolder[Any]:
    """Defines a flag that takes a random seed."""
    return flags.DEFINE_integer(name, default, help, lower_bound=0, upper_bound=MAX_SEED)


def define_processes() -> Callable[[], None]:
    """Defines the flags of a launcher that can run in several processes.

    Returns:
        A function that joins the other processes, where the flags ask for it, and starts JAX (`open_devices`). It
        raises ValueError when it is not known who the others are.
    """
    distributed = flags.DEFINE_bool(
        "distributed", False, "join the other processes of a TPU pod or a GPU cluster, one command on every host"
    )
    coordinator = flags.DEFINE_string(
        "coordinator",
        None,
        "host:port of the first process; means --distributed, as do --num_processes and --process_id. TPU pods, Slurm "
        "and Open MPI 4 need none of the three, Open MPI 5 and MPICH only this one",
    )
    num_processes = flags.DEFINE_integer("num_processes", None, "how many processes there are", lower_bound=1)
    process_id = flags.DEFINE_integer("process_id", None, "which one this is, from 0", lower_bound=0)
    heartbeat = flags.DEFINE_integer(
        "heartbeat",
        processes.HEARTBEAT,
        "seconds without a sign of life after which a process counts as dead, and the others end",
        lower_bound=5,
    )

    def join() -> None:
        if distributed.value or any(flag.value is not None for flag in (coordinator, num_processes, process_id)):
            processes.join(coordinator.value, num_processes.value, process_id.value, heartbeat.value)
        open_devices()

    return join


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
        match = re.fullmatch(r"\s*(\d{1,99})\s*(?:-\s*(\d{1,99})\s*)?", part)  # Python refuses very long numbers
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

    A user's mistake ends it with `error: <one line>` on stderr and exit code 1: a flag that cannot be parsed, a file
    that cannot be read or written, and every ValueError, RuntimeError, ImportError or FloatingPointError that a raise
    statement of this program raises. Anything else is a bug and keeps its traceback. Ctrl-C ends it with exit code 130.

    Args:
        main: the function to call; its argument is a list with the program's name alone.
    """
    gc.freeze()  # the garbage collector leaves out what was imported
    gc.set_threshold(*USUAL_COLLECTIONS)
    # A file name may hold bytes that are not UTF-8.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app.run(lambda argv: _guarded(main, argv), flags_parser=_parse)
    raise AssertionError("app.run does not return")


def open_devices() -> None:
    """Starts JAX on the devices that JAX_PLATFORMS names.

    `run` calls it, except for a launcher with the flag `--distributed`: that one calls it after joining the others.

    Raises:
        RuntimeError: JAX finds no such device.
    """
    # All computations are in float32; with 64 bits, checkpoints would not fit the dtypes that restoring expects.
    jax.config.update("jax_enable_x64", False)
    compile_cache.enable()
    try:
        jax.devices()
    except Exception as error:  # RuntimeError, or a bare AssertionError where the plugin of the platform is missing
        wanted, reason = os.environ.get("JAX_PLATFORMS", ""), f" ({error})" if str(error) else ""
        raise RuntimeError(
            f"JAX finds no device of JAX_PLATFORMS={wanted}{reason}; unset JAX_PLATFORMS to use what there is, or "
            "install the wheels of your GPU or TPU: pip install -e '.[cuda]' or '.[tpu]'"
        ) from error


def _guarded(main: Callable[[Sequence[str]], Any], argv: Sequence[str]) -> Any:
    """Calls `main`; ends the process with one line after a user's mistake."""
    try:
        if "config" in flags.FLAGS:
            presets.validate(flags.FLAGS["config"].value)
        if "distributed" not in flags.FLAGS:
            open_devices()
        return main(argv)
    except KeyboardInterrupt as interrupt:
        print(f"\n{interrupt}" if str(interrupt) else "\ninterrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if "heartbeat" in flags.FLAGS and jax.distributed.is_initialized():
            _leave_others(error, flags.FLAGS.heartbeat)
        if not _is_mistake(error):
            raise
        _fail(_describe(error))


def _leave_others(error: Exception, heartbeat: int) -> NoReturn:
    """Says what ended this process of several, and ends it: with 1 after a mistake, which another start would repeat.

    When a connection between CPUs breaks, JAX says so at once, but only after the heartbeat which process died; it then
    ends this process by itself.
    """
    if "gloo" in str(error).lower() and not _is_mistake(error):
        print("The connection to another process broke:", listing.one_line(error)[:200], file=sys.stderr)
        resume = "see the logs of the others. Start all processes again: the same command resumes"
        processes.leave(processes.START_AGAIN, 2 * heartbeat + 10, f"error: another process has ended; {resume}")
    if _is_mistake(error):
        print("error:", _describe(error), file=sys.stderr)
        passing = isinstance(error, OSError) and error.errno in _PASSING
        processes.leave(processes.START_AGAIN if passing else 1, heartbeat)
    traceback.print_exception(error)
    processes.leave(processes.START_AGAIN, heartbeat)


def _describe(error: Exception) -> str:
    """Returns a user's mistake in one line."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return listing.one_line(error)


def _is_mistake(error: Exception) -> bool:
    """Returns whether the message of an error is meant for the user."""
    if isinstance(error, OSError):
        return True
    if not isinstance(error, ValueError | RuntimeError | ImportError | FloatingPointError):
        return False
    # A raise statement of this program is meant for the user; an error from any other statement is a bug.
    frame, line = list(traceback.walk_tb(error.__traceback__))[-1]
    package = frame.f_globals.get("__name__", "").split(".")[0]
    statement = linecache.getline(frame.f_code.co_filename, line, frame.f_globals).strip()
    return package in _PACKAGES and statement.split(" ")[0] == "raise"


def _fail(message: str) -> NoReturn:
    """Prints the message as one line and ends the process."""
    print("error:", listing.one_line(message), file=sys.stderr)
    sys.exit(1)


def _parse(argv: Sequence[str]) -> list[str]:
    """Parses the flags; ends the process for --help and for flags that cannot be parsed."""
    values, preset = flags.FLAGS, None
    try:
        if "config" in values:
            argv = presets.move_to_front(argv)
            sys.argv = list(argv)  # config_flags looks for the overrides there
            preset = presets.load(argv)
        if any(arg in ("--help", "-help", "-h", "-?", "--helpshort") for arg in argv[1:]):
            print(_help(argv, preset))
            sys.exit(0)
        if preset is not None:
            presets.check_overrides(preset, argv)
        rest = values(argv)
        _check_values()
    except RecursionError:  # of absl, which compares an unknown flag with all others
        _fail("an argument is far too long to be a flag; see --help")
    except (flags.Error, ValueError) as error:
        if missing := re.findall(r"Flag --(\w+) must have a value other than None", str(error)):
            _fail("give " + " and ".join(f"--{name} ({values[name].help})" for name in missing))
        _fail(presets.explain(error, preset))
    if values["verbosity"].using_default_value:
        # app.run would choose INFO, at which Orbax and TFDS log every step of their work. At ERROR, Orbax logs the
        # traceback of each error several times, besides raising it.
        values.verbosity = logging.FATAL  # type: ignore[assignment]
    if len(rest) > 1:
        _fail(f"unexpected argument {rest[1]!r}; every flag starts with --, see --help")
    return rest


def _check_values() -> None:
    """Refuses empty values, as an unset shell variable gives, and numbers that are not finite."""
    for flag in flags.FLAGS.get_key_flags_for_module(sys.argv[0]):
        if not flag.present:
            continue
        items = flag.value if isinstance(flag.value, list) else [flag.value]
        if not items or any(isinstance(item, str) and not item.strip() for item in items):
            text = ",".join(map(str, items))
            raise ValueError(f"--{flag.name}={text}: a value is empty; give one, or leave the flag out")
        if any(isinstance(item, float) and not math.isfinite(item) for item in items):
            raise ValueError(f"--{flag.name}={flag.value}: it must be a finite number")


def _help(argv: Sequence[str], preset: Any) -> str:
    """Returns the launcher's docstring, its flags, and the fields of the preset with their values."""
    values = flags.FLAGS
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    name = f"python -m {spec.name}" if spec else f"python {sys.argv[0]}"
    lines = [(main.__doc__ or "").strip(), "", f"usage: {name} [--flag=value ...]", "", "flags:"]
    for flag in sorted(values.get_key_flags_for_module(sys.argv[0]), key=lambda flag: flag.name):
        default = _shorten(flag.default_as_str or "")
        default = f" (default: {default})" if default else ""
        lines += [f"  --{flag.name}", flags.text_wrap(f"{flag.help}{default}", 100, "      ")]
    if preset is not None:
        lines += ["", f"config fields, with the values of {_shorten(argv[1].removeprefix('--config='))}:"]
        lines += [f"  --config.{field}={value}" for field, value in presets.list_fields(preset)]
    return "\n".join(lines)


def _shorten(default: str) -> str:
    """Returns a flag's default as a user would type it: presets relative to the checkout."""
    return default.strip("'").removeprefix(os.path.dirname(os.path.dirname(presets.FOLDER)) + os.sep)
