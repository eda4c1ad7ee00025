"""Evaluation: a model that hands out real images must score as real images do."""

import json
import types

import jax
import numpy as np
import pytest

import tfds_megn
from sdgan_jax import config as config_lib
from sdgan_jax import pictures, pretrained
from sdgan_jax.data import rendered
from sdgan_jax.evaluation import attributes, samples
from sdgan_jax.model import Model
from sdgan_jax.nets.classifier import Classifier
from sdgan_jax.networks import make_networks
from sdgan_jax.training.gan import weights
from sdgan_jax.training.gan.state import init_state

NAMES = tfds_megn.ATTRIBUTES


def stub_classifier(images):
    """Reads the class from the first pixel's red, the features from the rest of the first row."""
    ids = np.round((images[:, 0, 0, 0] + 1) * 127.5).astype(int)
    return np.eye(6)[ids], images[:, 0, 1:5].reshape(len(images), -1).astype(np.float64)


def stub_is_face(images):
    """Takes those for a face whose second pixel of the first row is not black."""
    return images[:, 0, 1].any(axis=-1)


def measure(generated, reals, references):
    return attributes.measure_attributes(generated, reals, references, stub_classifier, stub_is_face)


def stub_images(rng, count, label, mean=128, spread=20):
    images = np.clip(rng.normal(mean, spread, (count, 8, 8, 3)), 0, 255).astype(np.uint8)
    images[:, 0, 0, 0] = label
    return images


def stub_set(seed, count=20, **kwargs):
    rng = np.random.default_rng(seed)
    return {name: stub_images(rng, count, i, **kwargs) for i, name in enumerate(NAMES)}


def test_measure_counts_what_the_classifier_sees():
    generated = stub_set(0)
    generated["mask"][:5, 0, 0, 0] = 0  # five of twenty look like 'none'
    results = measure(generated, stub_set(1), stub_set(2))
    scores = results["attribute_accuracy"]
    assert scores["overall"] == pytest.approx(115 / 120) and scores["real"] == 1.0
    assert scores["per_class"] == {name: 0.75 if name == "mask" else 1.0 for name in NAMES}
    assert results["confusion_matrix"][1] == [5, 15, 0, 0, 0, 0]
    kinds = ("generated", "real", "reference", "in_distances", "looked_at")
    assert results["images"] == dict.fromkeys(kinds, 120)


def test_measure_counts_what_is_taken_for_a_face():
    """80 of 100 images are looked at; of the generated masks a half are faces, of the real ones three in four."""
    generated, real = stub_set(0, count=100), stub_set(1, count=100)
    generated["mask"][:40, 0, 1] = 0
    generated["mask"][80:, 0, 1] = 0
    real["mask"][:20, 0, 1] = 0
    real["beard"][:, 0, 1] = 0
    results = measure(generated, real, stub_set(2, count=100))
    share = results["face_share"]
    assert share["per_class"]["none"] == {"generated": 1.0, "real": 1.0, "ratio": 1.0}
    assert share["per_class"]["mask"] == {"generated": 0.5, "real": 0.75, "ratio": 0.5 / 0.75}
    assert share["per_class"]["beard"] == {"generated": 1.0, "real": 0.0, "ratio": None}
    expected = {"generated": 5.5 / 6, "real": 4.75 / 6, "ratio": 5.5 / 4.75}
    assert share["overall"] == pytest.approx(expected)
    assert results["images"]["looked_at"] == 480


def test_measure_of_shuffled_labels_is_chance():
    images = np.concatenate(list(stub_set(0, count=200).values()))
    images = images[np.random.default_rng(3).permutation(len(images))]
    shuffled = dict(zip(NAMES, np.split(images, 6), strict=True))
    results = measure(shuffled, stub_set(1), stub_set(2))
    assert abs(results["attribute_accuracy"]["overall"] - 1 / 6) < 4 * np.sqrt(5 / 36 / 1200)  # 4 sigma


def test_measure_of_the_same_distribution_of_another_and_of_one_face():
    reals, references = stub_set(1, count=100), stub_set(2, count=100)
    same = measure(stub_set(0, count=100), reals, references)
    assert same["diversity"]["mean_ratio"] == pytest.approx(1.0, abs=0.05)
    assert abs(same["classifier_kid"]["generated"]) < 0.01 and abs(same["classifier_kid"]["real"]) < 0.01
    distance = same["classifier_frechet_distance"]
    assert distance["generated"] == pytest.approx(distance["real"], rel=0.5)

    # Half the spread halves the distances between faces; brighter by 40 of 127.5 in 12 features: 12 * 0.098.
    other = measure(stub_set(0, 100, mean=168, spread=10), reals, references)
    assert other["diversity"]["mean_ratio"] == pytest.approx(0.5, abs=0.05)
    assert other["classifier_kid"]["generated"] > 0.1
    spread = 12 * (10 / 127.5) ** 2
    assert other["classifier_frechet_distance"]["generated"] == pytest.approx(12 * (40 / 127.5) ** 2 + spread, rel=0.1)

    one_face = {name: np.repeat(images[:1], 100, axis=0) for name, images in reals.items()}
    collapsed = measure(one_face, reals, references)
    assert collapsed["attribute_accuracy"]["overall"] == 1.0  # why accuracy alone says little
    assert collapsed["diversity"]["mean_ratio"] == 0.0


def test_measure_refuses_what_it_cannot_measure():
    with pytest.raises(ValueError, match="1 generated images of mask"):
        generated = stub_set(0)
        generated["mask"] = generated["mask"][:1]
        measure(generated, stub_set(1), stub_set(2))
    with pytest.raises(ValueError, match="the real images have the classes"):
        measure(stub_set(0), {"none": stub_set(1)["none"]}, stub_set(2))


class RealImages:
    """A model whose samples are real images of the test split; `turn` swaps its classes."""

    def __init__(self, data_dir, turn=0):
        self.config = config_lib.Config(dataset="megn/rendered_32_n240", resolution=32, data_dir=str(data_dir))
        faces = rendered.read("rendered_32_n240", "test", data_dir)
        self.images = {name: faces.images[faces.labels == (i + turn) % 6] for i, name in enumerate(NAMES)}
        self.drawn = dict.fromkeys(NAMES, 0)

    def generate(self, z, attribute):
        start = self.drawn[attribute]
        self.drawn[attribute] += len(z)
        return pictures.to_float(self.images[attribute][start : start + len(z)])


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def classifier(monkeypatch):
    """An untrained classifier of 16 pixels in the place of the one that comes with the project."""
    variables = jax.jit(Classifier().init)(jax.random.key(0), np.zeros((1, 16, 16, 3), np.float32))
    network = pretrained.AttributeClassifier(Classifier(), variables, 16, 0.75, 40)
    monkeypatch.setattr(pretrained, "attribute_classifier", lambda path="": network)
    return network


@pytest.mark.slow
def test_real_images_score_as_real_images(data_dir, tmp_path, monkeypatch, classifier):
    monkeypatch.setattr(attributes, "make_is_face", lambda network: stub_is_face)
    results = attributes.evaluate_model(RealImages(data_dir), tmp_path / "out", num_images=24)
    assert results["classifier"] == {"held_out_accuracy": 0.75, "held_out_images": 40}
    assert results["attribute_accuracy"]["overall"] == results["attribute_accuracy"]["real"]
    assert results["face_share"]["overall"] == {"generated": 1.0, "real": 1.0, "ratio": 1.0}
    assert results["diversity"]["mean_ratio"] == pytest.approx(1.0)
    assert results["classifier_frechet_distance"]["generated"] == pytest.approx(0.0, abs=1e-6)
    assert results["classifier_frechet_distance"]["real"] > 0.1

    turned = attributes.evaluate_model(RealImages(data_dir, turn=1), tmp_path / "turned", num_images=24)
    right = np.array(results["confusion_matrix"])
    np.testing.assert_array_equal(turned["confusion_matrix"], np.roll(right, -1, axis=0))

    out = tmp_path / "out"
    assert json.loads((out / "metrics.json").read_text()) == {"made_by": "sdgan-jax evaluate"} | results
    text = (out / "metrics.txt").read_text()
    accuracy = results["attribute_accuracy"]["real"]
    assert f"Attribute accuracy: {accuracy:.3f} (real images: {accuracy:.3f})" in text
    assert "megn/rendered_32_n240" in text and "Share of faces: 1.000 (real images: 1.000)" in text
    sheets = {"samples.png"} | {f"samples_{name}.png" for name in NAMES}
    assert {path.name for path in out.iterdir()} == {"metrics.txt", "metrics.json"} | sheets


@pytest.mark.slow
def test_score_is_minus_the_distance_that_evaluation_measures(data_dir, monkeypatch, classifier):
    monkeypatch.setattr(attributes, "SCORE_IMAGES", 24)
    config = config_lib.Config(dataset="megn/rendered_32_n240", resolution=32, data_dir=str(data_dir))
    for part in (config.generator, config.discriminator):
        part.channel_base, part.channel_max = 64, 4
    config.fusion.width = config.fusion.width_max = 4
    config.generator.latent_dim, config.generator.mapping_layers = 8, 1
    state = init_state(make_networks(config))
    score = attributes.make_score(make_networks(config))(state)

    model = Model(make_networks(config), {field: getattr(state, field) for field in weights.FIELDS})
    faces = rendered.read("rendered_32_n240", "validation", data_dir)
    reals = {name: faces.images[faces.labels == i][:4] for i, name in enumerate(NAMES)}
    drawn = samples.draw_samples(model, NAMES, 4)
    measured = attributes.measure_attributes(drawn, reals, reals, jax.jit(classifier), stub_is_face)
    assert score == pytest.approx(-measured["classifier_frechet_distance"]["generated"], rel=1e-4)


def test_other_attributes_and_too_few_images_are_refused(tmp_path):
    for names, message in ((("none", "hat"), "does not know hat; it knows none, mask"), (("none",), "model has none")):
        assert message in pretrained.attribute_refusal(names)
        config = config_lib.Config(attributes=names)
        with pytest.raises(ValueError, match=f"{message}.*; --metrics=classifier_fid2k measures such models"):
            attributes.evaluate_model(types.SimpleNamespace(config=config), tmp_path)
    with pytest.raises(ValueError, match="num_images is 6; at least 12"):
        attributes.evaluate_model(types.SimpleNamespace(config=config_lib.Config()), tmp_path, num_images=6)


def test_attributes_are_matched_by_name(classifier):
    faces = types.SimpleNamespace(labels=np.array([4, 0, 1, 4, 1, 4, 0]))
    rows = attributes._rows_by_class(faces, ("none", "beard"), 2)
    assert {name: some.tolist() for name, some in rows.items()} == {"none": [1, 6], "beard": [0, 3]}
    images = np.random.default_rng(0).uniform(-1, 1, (3, 16, 16, 3)).astype(np.float32)
    logits, features = attributes._make_classify(classifier, ("none", "beard", "mask"))(images)
    expected = jax.jit(classifier)(images)
    np.testing.assert_allclose(logits, np.asarray(expected[0])[:, [0, 4, 1]], rtol=1e-5)
    np.testing.assert_allclose(features, expected[1], rtol=1e-5)


@pytest.mark.parametrize("name", ["metrics.json", "metrics.txt", "samples.png", "samples_beard.png"])
def test_a_file_of_the_user_is_refused_before_anything_is_drawn(tmp_path, monkeypatch, name):
    monkeypatch.setattr(samples, "draw_samples", None)
    (tmp_path / name).write_text("mine")
    with pytest.raises(FileExistsError, match=f"{name} exists and was not written by sdgan-jax evaluate"):
        attributes.evaluate_model(types.SimpleNamespace(config=config_lib.Config()), tmp_path)
    assert (tmp_path / name).read_text() == "mine"
