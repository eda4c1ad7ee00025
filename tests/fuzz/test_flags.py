"""Configs, lists of attributes and other flags, as anything may be typed: taken, or refused in one line."""

import dataclasses
import functools
import json

import hypothesis
import hypothesis.strategies as st
import pytest
from absl import flags
from ml_collections import config_flags

from experiments import launch, presets
from sdgan_jax import config as config_lib
from sdgan_jax import latents
from sdgan_jax.config import networks
from sdgan_jax.face3d.attire import styles
from sdgan_jax.photos import finders, looks
from tests.fuzz.limits import Refused, Tally, cases
from tests.fuzz.mutations import changed_json, damaged
from tfds_megn.params import ATTRIBUTES

KINDS = (config_lib.Config, networks.PRNetConfig, networks.IdentityConfig, networks.ClassifierConfig)
FIELDS = [name for name, _ in presets.list_fields(config_lib.Config())]
# Values as users type them, and as no user does; long numbers and deep brackets make Python's parsers give up.
WORDS = st.sampled_from(
    ["", "0", "1", "-1", "nan", "inf", "-inf", "1e400", "true", "False", "None", "()", "('none',)", "('none','mask')",
     "(1,2)", "{}", "[]", "mask", "mask,", "mask=0.5", "-beard", "mask=nan", "9" * 5000, "(" * 300, "[" * 10_000,
     "-" * 2000 + "1", "~", "~nobody/x", "\0", "a\nb", "\ud800", "é", "1_0", "０", "0x10", "1,", "w", "z"]
)  # fmt: skip
TYPED = WORDS | st.text(max_size=12) | st.integers(-(2**70), 2**70).map(str) | st.floats(allow_subnormal=False).map(str)
PRESET = b"""
from sdgan_jax.config import Config


def get_config():
    return Config(dataset="megn/rendered_32", resolution=32)
"""


@pytest.fixture(autouse=True)
def refusals_are_raised(monkeypatch):
    def fail(message):
        raise Refused(message)

    monkeypatch.setattr(launch, "_fail", fail)


def parse(monkeypatch, *arguments):
    """Parses the flags of a launcher with a config, as `launch.run` does."""
    with monkeypatch.context() as patch:
        values = flags.FlagValues()
        patch.setattr(flags, "FLAGS", values)
        define = functools.partial(config_flags.DEFINE_config_file, flag_values=values)
        patch.setattr(config_flags, "DEFINE_config_file", define)
        patch.setattr("sys.argv", ["launcher"])
        presets.define_config()
        flags.DEFINE_string("verbosity", "0", "", flag_values=values)
        flags.DEFINE_list("attribute", [], "", flag_values=values)
        launch._parse(["launcher", *arguments])
        presets.validate(values["config"].value)


def test_overrides(monkeypatch):
    with Tally("--config.x=y") as tally:
        names = (
            st.sampled_from(FIELDS) | st.text(max_size=10) | st.sampled_from(["losses", "generator.", ".", "seed.x"])
        )
        override = st.tuples(names, TYPED).map(lambda pair: f"--config.{pair[0]}={pair[1]}")

        @cases(15, 30)
        @hypothesis.given(st.lists(override | TYPED.map("--config.{}".format) | TYPED, max_size=3))
        def run(arguments):
            tally.run(lambda: parse(monkeypatch, *arguments), (Refused, ValueError), most=50_000)

        run()


def test_preset_files(monkeypatch, tmp_path):
    file = tmp_path / "preset.py"
    with Tally("preset files") as tally:

        @cases(5, 10)
        @hypothesis.given(damaged(PRESET))
        def run(data):
            file.write_bytes(data)
            tally.run(lambda: parse(monkeypatch, f"--config={file}"), (Refused, ValueError), ["preset.py", "config"])

        run()


def test_lists_of_attributes():
    lists = st.lists(st.sampled_from(ATTRIBUTES) | TYPED, max_size=4)
    known = [kind for kinds in styles.KINDS.values() for kind in kinds]
    styles_of = st.lists(st.sampled_from(known) | TYPED, max_size=2)
    colours = st.lists(st.sampled_from(["#7fb2d9", "#000", "red"]) | TYPED, max_size=2)
    with Tally("--attribute, --remove, --style, --colour") as tally:

        @cases(30, 60)
        @hypothesis.given(lists, lists, styles_of, colours, st.integers(1, 3))
        def run(worn, removed, kinds, chosen, per_image):
            tally.run(lambda: latents.attribute_weights(worn, ATTRIBUTES, 1, removed), ValueError, most=50_000)
            tally.run(lambda: looks.read(worn, kinds, chosen, (), 3, per_image), ValueError, most=50_000)

        run()


def test_seeds_and_numbers_of_faces():
    with Tally("--seeds, --faces") as tally:

        @cases(20, 60)
        @hypothesis.given(TYPED | st.text("0123456789-, ", max_size=20))
        def run(text):
            tally.run(lambda: launch.parse_seeds(text), ValueError, ["--seeds"], 50_000)
            tally.run(lambda: finders.read_most(text), ValueError, ["--faces"], 50_000)

        run()


@pytest.mark.parametrize("kind", KINDS)
def test_stored_configs(kind):
    """The JSON of a `config.json`; `test_archives` has the files."""
    with Tally(f"config.json of {kind.__name__}") as tally:

        @cases(5, 20)
        @hypothesis.given(changed_json(dataclasses.asdict(kind())))
        def run(data):
            tally.run(lambda: config_lib.from_values(json.loads(data), kind), ValueError, ["config"])

        run()
