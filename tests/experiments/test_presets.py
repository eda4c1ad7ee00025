import dataclasses
import functools
import json
import os

import pytest
from absl import flags
from ml_collections import config_flags

from experiments import presets
from experiments.configs import quickstart
from sdgan_jax.config import Config
from sdgan_jax.config.networks import IdentityConfig
from sdgan_jax.pretrained import SHIPPED_MODEL


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "preset.py").write_text("def get_config():\n    pass\n")
    (tmp_path / "sized.py").write_text("def get_config(size):\n    pass\n")
    (tmp_path / "notes.txt").write_text("nothing")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "moved"),
    [
        (["--steps=3", "--config=preset.py", "--do"], ["--config=preset.py", "--steps=3", "--do"]),
        (["--steps=3", "--config", "preset.py", "--do"], ["--config=preset.py", "--steps=3", "--do"]),
        (["-config=preset.py"], ["--config=preset.py"]),
        (["--config=sized.py:64"], ["--config=sized.py:64"]),
        (["--config.seed=1", "--config=preset.py"], ["--config=preset.py", "--config.seed=1"]),
    ],
)
def test_the_preset_goes_first(folder, arguments, moved):
    assert presets.move_to_front(["launcher", *arguments]) == ["launcher", *moved]


def test_installed_presets_are_found_outside_of_a_checkout(folder):
    (_, found) = presets.move_to_front(["launcher", "--config=experiments/configs/quickstart.py"])
    assert os.path.samefile(found.removeprefix("--config="), os.path.join(presets.FOLDER, "quickstart.py"))


def test_the_quickstart_has_the_networks_of_the_model_that_it_starts_from():
    """Of other sizes, layers would silently be trained from scratch."""
    preset, model = dataclasses.asdict(quickstart.get_config()), json.loads((SHIPPED_MODEL / "config.json").read_text())
    for part in ("resolution", "latent_space", "generator", "discriminator", "encoder", "fusion"):
        assert json.loads(json.dumps(preset[part])) == model[part], part


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("--config=nowhere.py", "--config=nowhere.py: no such file; the presets in experiments/configs/ are "),
        ("--config=notes.txt", "--config=notes.txt: not a preset; it must be a Python file with get_config()"),
        ("--config=preset.py:64", "--config=preset.py:64: this preset takes no argument; write --config=preset.py"),
        ("--config", "--config needs the path of a preset"),
    ],
)
def test_files_that_are_no_presets_are_refused(folder, argument, line):
    with pytest.raises(ValueError) as raised:
        presets.move_to_front(["launcher", argument])
    assert str(raised.value).startswith(line)


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("--config.batchsize=3", "config has no field 'batchsize'; did you mean 'batch_size'?"),
        ("--config.r1=3", "config has no field 'r1'; did you mean 'losses.r1'?"),
        ("--config.losses.r2=3", "config has no field 'losses.r2'; did you mean 'losses.r1'"),
        ("--config.qqq=3", "config has no field 'qqq'; --help lists the fields"),
        ("--config.seed.low=3", "config has no field 'seed.low'; did you mean "),
        ("--config.losses=3", "config.losses is a group of fields; set one of losses.attribute_kind, "),
    ],
)
def test_unknown_fields_and_groups_are_refused(argument, line):
    with pytest.raises(ValueError) as raised:
        presets.check_overrides(Config(), ["launcher", "--config=x.py", argument])
    assert str(raised.value).startswith(line)


def test_a_bool_needs_a_value():
    @dataclasses.dataclass
    class Switch:
        on: bool = False

    presets.check_overrides(Switch(), ["launcher", "--config.on=true", "--other"])
    with pytest.raises(ValueError, match="--config.on needs a value: --config.on=true or --config.on=false"):
        presets.check_overrides(Switch(), ["launcher", "--config.on"])


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("batch_size", "a whole number"),
        ("losses.r1", "a number"),
        ("attributes", "a list such as \"('a', 'b')\""),
        ("dataset", "text"),
    ],
)
def test_a_value_of_another_type_is_explained(field, kind):
    error = ValueError(f"flag --config.{field}=x: whatever absl says")
    assert presets.explain(error, Config()) == f"config.{field} is 'x'; it must be {kind}"


def test_other_errors_stay_as_they_are():
    assert presets.explain(ValueError("Unknown command line flag 'x'"), None) == "Unknown command line flag 'x'"


def test_configs_are_validated_by_their_kind(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    config = Config(data_dir="~/data")
    presets.validate(config)
    assert config.data_dir == "/somewhere/data"
    presets.validate(IdentityConfig())
    with pytest.raises(ValueError, match="get_config.. returned a dict; it must return a Config or PRNetConfig or"):
        presets.validate({})


def test_fields_are_listed_by_their_dotted_names():
    fields = dict(presets.list_fields(Config(seed=7)))
    assert fields["seed"] == 7 and fields["losses.r1"] == Config().losses.r1 and "losses" not in fields


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("def get_config(\n", "line 1: SyntaxError: '(' was never closed"),
        (
            "import nothing_here\n\ndef get_config():\n    pass\n",
            "line 1: ModuleNotFoundError: No module named 'nothing_",
        ),
        ("def get_config():\n    return 1 / 0\n", "line 2: ZeroDivisionError: division by zero"),
        ("def get_config():\n    return int('a')\n", "invalid literal for int() with base 10: 'a'"),
        ("def get_config():\n    return 3\n", "get_config() returned a int; it must return a config"),
    ],
)
def test_a_preset_that_fails_is_one_line(tmp_path, monkeypatch, text, line):
    values = flags.FlagValues()
    monkeypatch.setattr(flags, "FLAGS", values)
    define = functools.partial(config_flags.DEFINE_config_file, flag_values=values)
    monkeypatch.setattr(config_flags, "DEFINE_config_file", define)
    presets.define_config()
    given = f"--config={tmp_path / 'preset.py'}"
    (tmp_path / "preset.py").write_text(text)
    with pytest.raises(ValueError) as raised:
        presets.load(["launcher", given])
    assert str(raised.value).startswith(f"{given}: {line}") and "\n" not in str(raised.value)
