"""Metrics from names and paths, with our own networks, without a download."""

import json

import jax
import numpy as np
import pytest

import sdgan_jax
from sdgan_jax import model as model_lib
from sdgan_jax import pictures, pretrained
from sdgan_jax.data import rendered
from sdgan_jax.evaluation import metric_inputs, metric_names
from sdgan_jax.evaluation.metric_inputs import Inputs
from sdgan_jax.metrics import frechet
from sdgan_jax.networks import make_networks
from sdgan_jax.training.gan import weights
from tests.evaluation import small_sets
from tests.training import tiny

DATASET = "megn/rendered_32_n240"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "sdgan_jax" / "statistics"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("data"))


def classifier_distance(x, y):
    classify = jax.jit(pretrained.attribute_classifier())
    return frechet.frechet_distance(*(classify(pictures.to_float(images))[1] for images in (x, y)))


@pytest.mark.slow
def test_a_folder_against_a_data_set(tmp_path, data_dir, cache):
    fake = small_sets.pixels(12, side=32)
    folder = str(small_sets.write_folder(tmp_path / "fake", fake))
    inputs = Inputs(["classifier_fid50k", "identity_kid2k"], fake=folder, real=DATASET, split="test", data_dir=data_dir)
    results = metric_inputs.evaluate(inputs, tmp_path / "out", quiet=True)
    real = rendered.read(DATASET, "test", data_dir).images
    found = results["metrics"]["classifier_fid50k"]
    assert found["value"] == pytest.approx(classifier_distance(fake, real), rel=1e-4)
    assert (found["fake"], found["real"], found["convention"]) == (12, len(real), "sdgan-jax")
    assert results["metrics"]["identity_kid2k"]["value"] > 0
    assert len(results["notes"]) == 3 and results["real"] == f"{DATASET}, test"
    assert json.loads((tmp_path / "out" / "image_metrics.json").read_text()) == {
        "made_by": "sdgan-jax evaluate"
    } | json.loads(json.dumps(results))
    assert "classifier_fid50k" in (tmp_path / "out" / "image_metrics.txt").read_text()
    names = sorted(path.name for path in cache.iterdir())
    assert len(names) == 4 and any(name.startswith("classifier-of-megn-rendered-32-n240-test-") for name in names)


def test_a_folder_against_another(tmp_path):
    sets = small_sets.pixels(9, side=32), small_sets.pixels(8, side=32, seed=1, low=100)
    fake, real = (str(small_sets.write_folder(tmp_path / str(i), images)) for i, images in enumerate(sets))
    results = metric_inputs.evaluate(Inputs(["classifier_fid8"], fake=fake, real=real), tmp_path / "out", quiet=True)
    found = results["metrics"]["classifier_fid8"]
    assert (found["fake"], found["real"]) == (8, 8) and found["value"] > 0
    assert results["notes"] == []


@pytest.mark.slow
def test_a_model_against_its_own_data_set(tmp_path, data_dir, monkeypatch):
    """The tiny generator at 32 pixels; FID and PPL on our own networks."""
    names = ("none", "mask", "eyeglasses", "sunglasses", "beard", "mustache")
    model = tiny_model(dataset=DATASET, resolution=32, attributes=names, data_dir=data_dir)
    monkeypatch.setattr(model_lib, "load", lambda path: model)
    inputs = Inputs(["classifier_fid32", "perceptual_ppl4"], model="tiny", seed=2)
    results = metric_inputs.evaluate(inputs, tmp_path / "out", quiet=True)
    assert results == metric_inputs.evaluate(inputs, tmp_path / "out", quiet=True)
    found = results["metrics"]["classifier_fid32"]
    assert found["value"] > 0 and (found["fake"], found["real"]) == (32, 32)
    assert results["metrics"]["perceptual_ppl4"]["distance"] == "perceptual"
    assert results["real"] == f"{DATASET}, train" and results["fake"] == "tiny"


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (
            "fid2k",
            "fid2k needs --inception=DIR .*, made by .*pt_inception-2015-12-05-6726825d.pth.*classifier_fid needs no",
        ),
        ("is", "is needs --inception=DIR .--config.inception=DIR in a training."),
        ("ppl", "ppl needs --lpips=DIR .*, made by .*; perceptual_ppl needs no download"),
    ],
)
def test_missing_networks_name_the_file_they_are_made_of(tmp_path, metric, message):
    with pytest.raises(FileNotFoundError, match=message):
        metric_inputs.evaluate(Inputs([metric]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_mistakes_are_refused_before_anything_is_computed(tmp_path):
    folder = str(small_sets.write_folder(tmp_path / "fake", small_sets.pixels(2)))
    with pytest.raises(ValueError, match="unknown metric 'fld'"):
        metric_inputs.evaluate(Inputs(["fld"]), tmp_path / "out")
    with pytest.raises(ValueError, match="give --real, a data set or a folder"):
        metric_inputs.evaluate(Inputs(["classifier_fid2"], fake=folder), tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        metric_inputs.evaluate(Inputs(["classifier_fid2"], fake=folder, real="./missing"), tmp_path / "out")
    (tmp_path / "image_metrics.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="image_metrics.txt exists"):
        metric_inputs.evaluate(Inputs(["classifier_fid2"], fake=folder, real=folder), tmp_path)


def test_a_folder_of_results_that_cannot_be_made_is_refused_before_anything_is_computed(tmp_path, cache):
    folder = str(small_sets.write_folder(tmp_path / "fake", small_sets.pixels(2)))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError, match="file/out"):
        metric_inputs.evaluate(Inputs(["classifier_fid2"], fake=folder, real=folder), tmp_path / "file" / "out")
    assert not cache.exists()


def tiny_model(**fields):
    config = tiny.config(**fields)
    state = tiny.random_state(config)
    return sdgan_jax.Model(make_networks(config), {name: getattr(state, name) for name in weights.FIELDS})


def test_a_model_that_is_compared_with_nothing_needs_no_data_set():
    model = tiny_model(dataset="no_such_set")
    alone, compared = metric_names.parse(["is10", "ppl2"]), metric_names.parse(["is10", "fid2"])
    assert metric_inputs.open_labels(alone, Inputs([]), model) is None
    with pytest.raises(ValueError, match="config.dataset is 'no_such_set'"):
        metric_inputs.open_labels(compared, Inputs([]), model)


def test_a_folder_is_told_from_a_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    told = {name: metric_inputs._is_folder(name) for name in ("photos", "./x", "/x", "~/x", "gs://b/x", "megn/x", "")}
    assert told == dict(zip(told, [True, True, True, True, True, False, False], strict=True))


def test_the_side_of_a_folder_is_that_of_its_images(tmp_path):
    folder = small_sets.write_folder(tmp_path, np.zeros((1, 24, 20, 3), np.uint8))
    assert metric_inputs._side(metric_inputs.image_sources.open_folder(folder)) == 20
