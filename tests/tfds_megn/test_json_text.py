"""Damaged JSON is a `ValueError`, whatever the damage; and no other reader of JSON files is in the code."""

import pathlib
import re

import pytest

from tfds_megn import json_text

ROOT = pathlib.Path(__file__).parents[2]
# A cache with a checksum, a reader that catches everything, and what a process gives its own child.
OTHERS = {"sdgan_jax/memo.py", "sdgan_jax/pretrained/archive.py", "experiments/fatal_log.py", "tfds_megn/json_text.py"}


@pytest.mark.parametrize("text", ["", "{", "[1,]", b"\xff\xfe\x00", "[" * 100_000, '{"a":' * 100_000])
def test_damage_is_a_value_error(text):
    with pytest.raises(ValueError):
        json_text.parse(text)


def test_json_is_read():
    assert json_text.parse(b'{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}


def test_no_other_module_parses_json():
    files = [file for folder in ("sdgan_jax", "experiments", "tfds_megn") for file in (ROOT / folder).rglob("*.py")]
    found = {str(file.relative_to(ROOT)) for file in files if re.search(r"\bjson\.loads?\(", file.read_text())}
    assert found == OTHERS
