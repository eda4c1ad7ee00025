"""Attribute classifiers: written, read, and applied to each image alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax import pretrained
from sdgan_jax.nets.classifier import Classifier
from sdgan_jax.pretrained import AttributeClassifier


@pytest.fixture(scope="module")
def network():
    variables = jax.jit(Classifier().init)(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    return AttributeClassifier(Classifier(), variables, 16, 0.75, 40)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(-1, 1, (5, 16, 16, 3)).astype(np.float32)


def test_an_image_is_judged_alone(network, images):
    classify = jax.jit(network)
    together = classify(images)[0]
    alone = np.concatenate([classify(image[None])[0] for image in images])
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_images_of_any_size_are_judged(network, images):
    """By jax.image, to the side of the network."""
    large = np.repeat(np.repeat(images, 2, 1), 2, 2)
    small = np.asarray(jax.image.resize(large, (5, 16, 16, 3), "linear", antialias=True))
    np.testing.assert_allclose(jax.jit(network)(large)[0], jax.jit(network)(small)[0], atol=1e-5)
    with pytest.raises(ValueError, match=r"images must be \[N,R,R,3\]"):
        network(np.zeros((1, 64, 32, 3), np.float32))


def test_a_written_classifier_is_read(network, images, tmp_path):
    settings = {"resolution": 16, "held_out_accuracy": 0.75, "held_out_images": 40}
    pretrained.write(tmp_path, "classifier", settings, network.variables)
    read = pretrained.attribute_classifier(tmp_path)
    assert (read.resolution, read.held_out_accuracy, read.held_out_images) == (16, 0.75, 40)
    jax.tree.map(np.testing.assert_array_equal, jax.jit(read)(images), jax.jit(network)(images))


@pytest.mark.parametrize("change", [{"held_out_accuracy": 2.0}, {"resolution": 0}, {"held_out_images": "many"}])
def test_settings_that_describe_no_classifier_are_refused(network, tmp_path, change):
    settings = {"resolution": 16, "held_out_accuracy": 0.75, "held_out_images": 40} | change
    pretrained.write(tmp_path, "classifier", settings, network.variables)
    with pytest.raises(ValueError, match="network.json describes no network"):
        pretrained.attribute_classifier(tmp_path)
