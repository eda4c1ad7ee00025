"""Names of metrics."""

import pytest

from sdgan_jax.evaluation import metric_names
from sdgan_jax.evaluation.metric_names import Metric


def test_names_are_features_kind_and_number():
    assert metric_names.parse(["fid50k", " kid2k", "pr500", "is", "fid50k"]) == [
        Metric("fid50k", "fid", "inception", 50_000),
        Metric("kid2k", "kid", "inception", 2000),
        Metric("pr500", "pr", "inception", 500),
        Metric("is", "is", "inception", 50_000),
    ]
    assert metric_names.parse(["classifier_fid2k", "identity_pr", "dc6"]) == [
        Metric("classifier_fid2k", "fid", "classifier", 2000),
        Metric("identity_pr", "pr", "identity", 50_000),
        Metric("dc6", "dc", "inception", 6),
    ]
    assert metric_names.parse(["ppl", "ppl_zfull2k", "perceptual_ppl_wend10"]) == [
        Metric("ppl", "ppl", "lpips", 50_000, "w", "end"),
        Metric("ppl_zfull2k", "ppl", "lpips", 2000, "z", "full"),
        Metric("perceptual_ppl_wend10", "ppl", "perceptual", 10, "w", "end"),
    ]


@pytest.mark.parametrize("name", ["fld", "fid50m", "classifier_is", "ppl_x", "identity_ppl", "fid-2", ""])
def test_unknown_names_are_refused_with_the_known_ones(name):
    with pytest.raises(
        ValueError, match=f"unknown metric '{name}'; the metrics are fid50k, kid50k, pr50k, dc50k, is50k"
    ):
        metric_names.parse([name])


@pytest.mark.parametrize(
    ("name", "least"), [("fid1", 2), ("pr3", 4), ("dc5", 6), ("is9", 10), ("kid0", 2), ("ppl0", 1)]
)
def test_numbers_that_are_too_small_are_refused(name, least):
    with pytest.raises(ValueError, match=f"{name}: at least {least} images"):
        metric_names.parse([name])


@pytest.mark.parametrize("number", ["10001k", "10000001", "999999999k", 5000 * "9", 5000 * "9" + "k"])
def test_numbers_that_are_too_large_are_refused(number):
    with pytest.raises(ValueError, match="^ppl9|^ppl1") as raised:
        metric_names.parse([f"ppl{number}"])
    assert "at most 10,000,000 images can be asked for, such as 50k" in str(raised.value)
    assert len(str(raised.value)) < 120


def test_the_largest_number():
    assert metric_names.parse(["fid10000k", "fid10000000"])[1].number == 10_000_000
