"""Published metrics of the checkpoints of a run."""

import dataclasses

import pytest

from sdgan_jax import model as model_lib
from sdgan_jax.data import stream
from sdgan_jax.evaluation import checkpoint_metrics, metric_inputs
from sdgan_jax.networks import make_networks
from sdgan_jax.training.gan import weights
from tests.training import tiny

DATASET = "megn/rendered_32_n240"
NAMES = ("none", "mask", "eyeglasses", "sunglasses", "beard", "mustache")


@pytest.mark.slow
def test_they_are_those_of_the_saved_model(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    metrics = ("classifier_fid32", "classifier_pr8", "perceptual_ppl4")
    config = tiny.config(
        dataset=DATASET, resolution=32, attributes=NAMES, data_dir=str(tmp_path / "data"), metrics=metrics
    )
    nets, state = make_networks(config), tiny.random_state(config)
    measure = checkpoint_metrics.make_measure(nets)
    values = measure.compute(state)
    opened = []
    with monkeypatch.context() as patched:  # later checkpoints open and read no data: statistics are stored
        patched.setattr(stream.Examples, "__init__", lambda *given: opened.append(given))
        patched.setattr(stream.Examples, "read", lambda *given: opened.append(given))
        assert measure.compute(state) == values and not opened
    model = model_lib.Model(nets, {name: getattr(state, name) for name in weights.FIELDS})
    monkeypatch.setattr(model_lib, "load", lambda path: model)
    saved = metric_inputs.evaluate(metric_inputs.Inputs(metrics), tmp_path / "out", quiet=True)["metrics"]
    worse = measure.compute(dataclasses.replace(state, ema_g=tiny.random_state(config, seed=1).ema_g))
    assert values["classifier_fid32"] == saved["classifier_fid32"]["value"]
    assert values["classifier_pr8_recall"] == saved["classifier_pr8"]["recall"]
    assert values["perceptual_ppl4"] == saved["perceptual_ppl4"]["value"]
    assert measure.rank(values) == -values["classifier_fid32"]
    assert worse["classifier_fid32"] != values["classifier_fid32"]  # the weights of the state are those measured


def test_the_first_metric_ranks():
    def rank(name, values):
        nets = make_networks(tiny.config(metrics=(name,)))
        return checkpoint_metrics.make_measure(nets).rank(values)

    assert rank("classifier_fid2k", {"classifier_fid2k": 3.0, "x": 9.0}) == -3.0
    assert rank("identity_dc2k", {"identity_dc2k_density": 0.5, "identity_dc2k_coverage": 0.25}) == 0.75
    assert rank("classifier_pr2k", {"classifier_pr2k_precision": 0.5, "classifier_pr2k_recall": 0.25}) == 0.75


def test_a_missing_network_is_named_before_the_training():
    with pytest.raises(FileNotFoundError, match="fid10k needs --inception=DIR .--config.inception=DIR in a training"):
        checkpoint_metrics.make_measure(make_networks(tiny.config(metrics=("fid10k",))))
