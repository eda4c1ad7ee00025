"""The classifier's network, training and storage, on synthetic pictures that take seconds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.data import rendered
from sdgan_jax.nets.classifier import Classifier
from sdgan_jax.training.networks import classifier as classifier_lib


def make_split(config, split, data_dir=None):
    """Noise with a bright bar whose row is the class; one number per picture tells the bar's column."""
    rng = np.random.default_rng({"train": 0, "validation": 1, "test": 2}[split])
    labels = np.arange(120) % 6
    columns = rng.integers(0, 20, 120)
    images = rng.integers(0, 120, (120, 32, 32, 3), dtype=np.uint8)
    for image, label, column in zip(images, labels, columns, strict=True):
        image[5 * label + 1 : 5 * label + 4, column : column + 12] = 250
    return images, labels.astype(np.int32), columns[:, None].astype(np.float32)


def make_faces(config, split, data_dir=None):
    images, labels, columns = make_split(config, split)
    return rendered.Faces(images, labels, labels, columns)


@pytest.fixture(scope="module")
def params():
    return classifier_lib.train(*make_split("rendered_32", "train"), steps=60)


def test_learns_and_generalises(params):
    images, labels, columns = make_split("rendered_32", "test")
    classifier = classifier_lib.TrainedClassifier(params, 32, 0.0, 0)
    logits, features = classifier(images / np.float32(127.5) - 1)
    assert logits.shape == (120, 6) and features.shape == (120, 128)
    assert np.mean(logits.argmax(axis=1) == labels) > 0.9  # 1/6 by chance
    # The features tell the second task's number apart within a class, more than by chance.
    design = np.concatenate([features, np.ones((120, 1))], axis=1)
    fit = np.linalg.lstsq(design[:, :], columns, rcond=1e-2)[0]
    assert np.corrcoef((design @ fit)[:, 0], columns[:, 0])[0, 1] > 0.5
    np.testing.assert_allclose(features.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(np.square(features).sum(axis=1), 128, rtol=1e-3)


def test_an_image_is_judged_alone(params):
    images = make_split("rendered_32", "test")[0][:7] / np.float32(127.5) - 1
    classifier = classifier_lib.TrainedClassifier(params, 32, 0.0, 0)
    together = classifier(images)[0]
    alone = np.concatenate([classifier(image[None])[0] for image in images])
    np.testing.assert_allclose(alone, together, atol=1e-5)
    with pytest.raises(ValueError, match="trained at 32 px"):
        classifier(np.zeros((1, 64, 64, 3), np.float32))


@pytest.mark.parametrize("resolution", [8, 32, 64, 256])
def test_any_power_of_two(resolution):
    images = jax.ShapeDtypeStruct((2, resolution, resolution, 3), jnp.float32)
    (logits, features), _ = jax.eval_shape(Classifier().init_with_output, jax.random.key(0), images)
    assert logits.shape == (2, 6) and features.shape == (2, 128)


@pytest.mark.parametrize("shape", [(1, 24, 24, 3), (1, 32, 16, 3), (1, 4, 4, 3), (32, 32, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError):
        Classifier().init(jax.random.key(0), jnp.zeros(shape))


def test_augmentation_is_mild_and_differs_per_image():
    images = np.full((200, 32, 32, 3), 160, np.uint8)  # 0.255 in [-1, 1]
    changed = np.asarray(classifier_lib.augment(jax.random.key(0), jnp.asarray(images)))
    means = changed.mean(axis=(1, 2, 3))
    assert abs(means.mean() - 0.255) < 0.05 and 0.02 < means.std() < 0.3
    # A single bright pixel stays one blob near its place and keeps its light, up to contrast and offset.
    images = np.zeros((200, 32, 32, 3), np.uint8)
    images[:, 16, 16] = 255
    changed = np.asarray(classifier_lib.augment(jax.random.key(1), jnp.asarray(images))).sum(axis=-1)
    peaks = np.array([np.unravel_index(image.argmax(), image.shape) for image in changed])
    assert np.abs(peaks - 16).max() <= 2 and len(np.unique(peaks, axis=0)) > 4


def test_stored_beside_the_data(tmp_path, monkeypatch):
    monkeypatch.setattr(rendered, "read", make_faces)
    monkeypatch.setattr(classifier_lib, "STEPS", 2)
    trained = []
    train = classifier_lib.train
    monkeypatch.setattr(classifier_lib, "train", lambda *args, **kwargs: trained.append(1) or train(*args, **kwargs))
    first = classifier_lib.load_or_train("rendered_32", tmp_path)
    second = classifier_lib.load_or_train("rendered_32", tmp_path)
    assert len(trained) == 1
    jax.tree.map(np.testing.assert_array_equal, first.params, second.params)
    assert (second.resolution, second.held_out_images) == (32, 120)
    assert second.held_out_accuracy == first.held_out_accuracy

    images, labels, _ = make_split("rendered_32", "test")
    right = second(images / np.float32(127.5) - 1)[0].argmax(axis=1) == labels
    assert second.held_out_accuracy == pytest.approx(right.mean())

    (path,) = (tmp_path / "megn_classifier").iterdir()
    whole = path.read_bytes()
    method = whole.index(b"PK\x01\x02") + 10  # of compression, in the zip file's directory; there is none numbered 99
    path.write_bytes(whole[:method] + b"\x63" + whole[method + 1 :])  # a damaged file is made again
    third = classifier_lib.load_or_train("rendered_32", tmp_path)
    assert len(trained) == 2
    jax.tree.map(np.testing.assert_array_equal, first.params, third.params)


def test_a_classifier_that_cannot_be_stored_is_used_and_that_is_said(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(rendered, "read", make_faces)
    monkeypatch.setattr(classifier_lib, "STEPS", 2)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "file").write_text("")
    assert classifier_lib.load_or_train("rendered_32", "~/file").held_out_images == 120
    lines = [line for line in capfd.readouterr().err.split("\n") if "not kept" in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"the classifier is not kept for the next time: {tmp_path}/file")
    assert "cannot be written (Not a directory); set --config.data_dir" in lines[0]
