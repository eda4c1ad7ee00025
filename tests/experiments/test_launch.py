import json
import os
import subprocess
import sys
import textwrap

import pytest

from experiments import launch

PRESET = """
    from sdgan_jax.config import Config

    def get_config():
        return Config(dataset="megn/rendered_32", resolution=32, batch_size=4)
"""
SIZED = """
    from sdgan_jax.config import Config

    def get_config(size="16"):
        if not size.isdecimal():
            raise ValueError(f"{size} is no size")
        return Config(dataset="tiny", resolution=int(size), batch_size=4)
"""
LAUNCHER = """
    '''Shows what it was given.'''
    from absl import flags
    from experiments import launch, presets

    CONFIG = presets.define_config({preset!r})
    DO = flags.DEFINE_string("do", "show", "what to do")
    NAMES = flags.DEFINE_list("names", ["x"], "names")
    SHARE = flags.DEFINE_float("share", 0.5, "a share", lower_bound=0.0)
    FOLDER = launch.define_path("folder", "~/default", "a folder")
    SEED = launch.define_seed("seed", 0, "a seed")

    def main(argv):
        config = CONFIG.value
        if DO.value == "refuse":
            raise ValueError("the photo x.png is broken;\\n    remove it")
        if DO.value == "paths":
            print(FOLDER.value, config.data_dir)
        if DO.value == "surrogate":
            print("caf\\udce9.png")
        if DO.value == "x64":
            import jax.numpy as jnp
            print(jnp.zeros(1, float).dtype)
        if DO.value == "open":
            open("/no/such/file")
        if DO.value == "bug":
            first, second = range(3)
        if DO.value == "interrupt":
            raise KeyboardInterrupt
        if DO.value == "save":
            import jax.numpy as jnp
            from sdgan_jax.training import checkpoint

            class Batches:
                position, skipped, dataset = 0, (), "faces"

            with checkpoint.Checkpoints("run", config) as checkpoints:
                checkpoints.save(1, {{"x": jnp.zeros(3)}}, Batches())
                checkpoints.restore({{"x": jnp.zeros(3)}}, Batches())
        print(config.batch_size, config.losses.r1, config.attributes, config.dataset)

    if __name__ == "__main__":
        launch.run(main)
"""

# Imports jax once; each line of its input is a call, which a fork of it makes.
SERVER = """
    import json, os, runpy, sys, warnings

    import experiments.launch

    for line in sys.stdin:
        arguments, variables = json.loads(line)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # jax warns of every fork; no device is open, so no thread is lost
            child = os.fork()
        if not child:
            break
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    else:
        os._exit(0)

    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.update(variables)
    sys.argv = ["show.py", *arguments]
    runpy.run_path("show.py", run_name="__main__")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("launcher")
    (folder / "preset.py").write_text(textwrap.dedent(PRESET))
    (folder / "sized.py").write_text(textwrap.dedent(SIZED))
    (folder / "notes.txt").write_text("nothing")
    # tensorboardX loads torch where it is installed, which takes half of the time of a call.
    (folder / "torch.py").write_text("raise ImportError('no torch in these tests')")
    (folder / "show.py").write_text(textwrap.dedent(LAUNCHER).format(preset=str(folder / "preset")))
    return folder


def environment(**variables):
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return {**os.environ, "PYTHONPATH": root, **variables}


@pytest.fixture(scope="module")
def launcher(folder):
    """Calls the launcher as a user does."""

    def call(*arguments, **variables):
        command = [sys.executable, "show.py", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment(**variables))

    return call


@pytest.fixture(scope="module")
def quick_launcher(folder):
    """Calls the launcher without the seconds that importing jax takes.

    What jax and Python read from the environment when they start, and what the imports print, only `launcher` shows.
    """
    command = [sys.executable, "-c", textwrap.dedent(SERVER)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, env=environment(), **pipes) as server:

        def call(*arguments, **variables):
            server.stdin.write(json.dumps([arguments, variables]) + "\n")
            server.stdin.flush()
            code = int(server.stdout.readline())
            printed = [(folder / name).read_text() for name in ("stdout", "stderr")]
            return subprocess.CompletedProcess(arguments, code, *printed)

        yield call


def test_fields_are_overridden_by_flags(launcher):
    result = launcher(
        "--config.losses.r1=2",
        "--config=preset.py",
        "--config.batch_size=8",
        "--config.attributes=('none','mask')",
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "8 2.0 ('none', 'mask') megn/rendered_32\n"


def test_a_preset_may_take_an_argument(quick_launcher):
    result = quick_launcher("--config", "sized.py:64")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith(" tiny\n")


def test_without_flags_the_default_preset_is_used(quick_launcher):
    result = quick_launcher()
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("4 0.0 ")


def test_the_libraries_underneath_stay_silent(launcher):
    result = launcher("--do=save")
    assert (result.returncode, result.stderr) == (0, "")
    assert "Restoring checkpoint" in launcher("--do=save", "--verbosity=0").stderr


def test_help_explains_flags_and_fields(quick_launcher):
    result = quick_launcher("--help")
    assert (result.returncode, result.stderr) == (0, "")
    for text in (
        "Shows what it was given.",
        "--do\n      what to do (default: show)",
        "--config\n",
        "--config.batch_size=4",
        "--config.losses.r1=0.0",
    ):
        assert text in result.stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--config.batchsize=3"], "config has no field 'batchsize'; did you mean 'batch_size'?"),
        (["--config.batch_size=many"], "config.batch_size is 'many'; it must be a whole number"),
        (["--config.resolution=33"], "config.resolution is 33; it must be a power of two"),
        (["--config=nowhere.py"], "--config=nowhere.py: no such file; the presets in experiments/configs/"),
        (["--config=sized.py:64x"], "--config=sized.py:64x: 64x is no size"),
        (["--doo=3"], "Unknown command line flag 'doo'. Did you mean: do"),
        (["show"], "unexpected argument 'show'"),
        (["--do=refuse"], "the photo x.png is broken; remove it"),
        (["--do=open"], "/no/such/file: No such file or directory"),
        (["--do="], "--do=: a value is empty; give one, or leave the flag out"),
        (["--names=mask,"], "--names=mask,: a value is empty"),
        (["--share=nan"], "--share=nan: it must be a finite number"),
        (["--seed=4294967296"], "flag --seed=4294967296: "),
    ],
)
def test_a_mistake_is_answered_by_one_line(quick_launcher, arguments, line):
    result = quick_launcher(*arguments)
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: {line}")
    assert result.stderr.count("\n") == 1 and result.stdout == ""


def test_home_folders_are_expanded(quick_launcher):
    result = quick_launcher("--do=paths", "--folder=~/faces", "--config.data_dir=~/data", HOME="/somewhere")
    assert result.stdout.splitlines()[0] == "/somewhere/faces /somewhere/data"
    assert quick_launcher("--do=paths", HOME="/somewhere").stdout.startswith("/somewhere/default ")


def test_a_missing_device_is_one_line(launcher):
    result = launcher(JAX_PLATFORMS="cuda")
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: JAX finds no device of JAX_PLATFORMS=cuda")


def test_numbers_stay_float32_whatever_the_environment_says(launcher):
    assert launcher("--do=x64", JAX_ENABLE_X64="1").stdout.startswith("float32")


def test_names_that_are_not_utf8_can_be_printed(launcher):
    assert launcher("--do=surrogate", PYTHONIOENCODING="utf-8").stdout.startswith("caf\\udce9.png")


def test_a_bug_keeps_its_traceback(quick_launcher):
    result = quick_launcher("--do=bug")
    assert result.returncode == 1
    assert result.stderr.startswith("Traceback") and "ValueError" in result.stderr


def _raise_in_two_lines():
    raise ValueError(
        "a message"
    )  # fmt: skip


def _raise_from():
    try:
        {}["x"]
    except KeyError as error:
        raise ValueError("a message") from error


@pytest.mark.parametrize(
    ("call", "is_mistake"),
    [
        (_raise_in_two_lines, True),
        (_raise_from, True),
        (lambda: open("/no/such/file"), True),
        (lambda: int("nonsense"), False),
        (lambda: [][1], False),
        (lambda: json.loads("{"), False),  # a raise statement of another package
    ],
)
def test_mistakes_are_told_from_bugs_by_the_raise_statement(monkeypatch, call, is_mistake):
    monkeypatch.setattr(launch, "_PACKAGES", (__name__.split(".")[0],))
    with pytest.raises(Exception) as raised:
        call()
    assert launch._is_mistake(raised.value) is is_mistake


def test_ctrl_c_ends_quietly(quick_launcher):
    result = quick_launcher("--do=interrupt")
    assert (result.returncode, result.stderr.strip()) == (130, "interrupted")


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("7", [7]),
        ("0-3", [0, 1, 2, 3]),
        ("0,3,5-7", [0, 3, 5, 6, 7]),
        (" 4 , 2 - 3 ", [4, 2, 3]),
        ("5-5", [5]),
    ],
)
def test_seeds(text, seeds):
    assert launch.parse_seeds(text) == seeds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not a number or a range"),
        ("1,,2", "'' is not a number"),
        ("a", "'a' is not a number"),
        ("-3", "'-3' is not a number"),
        ("1.5", "'1.5' is not a number"),
        ("9-3", "the range 9-3 runs backwards; write 3-9"),
        ("0-99999999", "more than a million"),
        ("4294967296", "too large; seeds go up to 4294967295"),
        ("18446744073709551616", "too large"),
    ],
)
def test_other_seeds_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        launch.parse_seeds(text)
