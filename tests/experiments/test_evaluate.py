"""Flags of `python -m experiments.evaluate`."""

import pytest
from absl import flags
from absl.testing import flagsaver

from experiments import evaluate


@pytest.fixture(autouse=True)
def parsed():
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["evaluate", "--out=out"])
    with flagsaver.flagsaver():
        yield


def test_variants_are_names_and_directories(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert evaluate.parse_variants(["no_3d=runs/a", " half=~/b=c"]) == {"no_3d": "runs/a", "half": "/home/me/b=c"}
    assert evaluate.parse_variants([]) == {}


@pytest.mark.parametrize("items", [["no_3d"], ["=runs/a"], ["no_3d="], ["a=b", "a=c"]])
def test_other_variants_are_refused(items):
    with pytest.raises(ValueError, match="must be NAME=DIR, each name once"):
        evaluate.parse_variants(items)


@pytest.mark.parametrize("flag", [{"variants": ["no_3d=runs/a"]}, {"input": "photos"}])
def test_flags_of_the_edits_are_refused_without_them(flag):
    with flagsaver.flagsaver(out="out", **flag), pytest.raises(ValueError, match="belong to --benchmark=edits"):
        evaluate.main(["evaluate"])
