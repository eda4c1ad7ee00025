"""Flags of `python -m experiments.evaluate`."""

import pytest
from absl import flags
from absl.testing import flagsaver

from experiments import evaluate as evaluate_lib
from sdgan_jax.evaluation import metric_inputs


@pytest.fixture(autouse=True)
def parsed():
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["evaluate", "--out=out"])
    with flagsaver.flagsaver():
        yield


def test_variants_are_names_and_directories(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert evaluate_lib.parse_variants(["no_3d=runs/a", " half=~/b=c"]) == {"no_3d": "runs/a", "half": "/home/me/b=c"}
    assert evaluate_lib.parse_variants([]) == {}


@pytest.mark.parametrize("items", [["no_3d"], ["=runs/a"], ["no_3d="], ["a=b", "a=c"]])
def test_other_variants_are_refused(items):
    with pytest.raises(ValueError, match="must be NAME=DIR, each name once"):
        evaluate_lib.parse_variants(items)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ({"variants": ["no_3d=runs/a"]}, "--variants belongs to --benchmark=edits; add it"),
        ({"variants": ["no_3d=runs/a"], "benchmark": "inversion"}, "--variants belongs to --benchmark=edits; add it"),
        ({"input": "photos"}, "--input belongs to --benchmark=edits or --benchmark=inversion; add it"),
        ({"seed": 3, "benchmark": "edits"}, "--seed belongs to --benchmark=attributes; add it, or leave --seed out"),
        ({"seed": 3, "benchmark": "inversion"}, "--seed belongs to --benchmark=attributes; add it"),
        ({"classifier": "judge", "benchmark": "inversion"}, "--classifier belongs to --benchmark=attributes or "),
    ],
)
def test_flags_of_a_benchmark_are_refused_without_it(flag, message):
    with flagsaver.flagsaver(out="out", **flag), pytest.raises(ValueError, match=message):
        evaluate_lib.main(["evaluate"])


def test_metrics_are_passed_on(monkeypatch, capsys):
    passed = {}

    def evaluate(inputs, out):
        passed.update(vars(inputs), out=out)
        return {
            "fake": "f",
            "real": "r",
            "notes": [],
            "metrics": {"fid2": {"value": 1.5, "convention": "clean-fid", "fake": 2}},
        }

    monkeypatch.setattr(metric_inputs, "evaluate", evaluate)
    given = {"fake": "a", "real": "b", "split": "test", "convention": "clean-fid", "inception": "i", "seed": 3}
    with flagsaver.flagsaver(out="out", metrics=["fid2"], data_dir="d", classifier="c", lpips="l", **given):
        evaluate_lib.main(["evaluate"])
    expected = given | {
        "metrics": ["fid2"],
        "data_dir": "d",
        "classifier": "c",
        "lpips": "l",
        "model": "",
        "out": "out",
    }
    assert passed == expected
    assert "fid2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"metrics": ["fid2"], "benchmark": "edits"}, "do not go with --metrics"),
        ({"metrics": ["fid2"], "num_images": 12}, "do not go with --metrics"),
        ({"metrics": ["fid2"], "fake": "a", "model": "b"}, "--fake takes the place of --model"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(given, message):
    with flagsaver.flagsaver(out="out", **given), pytest.raises(ValueError, match=message):
        evaluate_lib.main(["evaluate"])


def test_flags_of_metrics_are_refused_without_them():
    with flagsaver.flagsaver(out="out"), pytest.raises(ValueError, match="--real belong to --metrics"):
        flags.FLAGS["real"].parse("x")
        evaluate_lib.main(["evaluate"])
