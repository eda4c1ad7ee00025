"""Features of images of whole numbers: those of the networks themselves."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax import losses, pictures, pretrained
from sdgan_jax.evaluation import feature_networks
from sdgan_jax.evaluation.extraction import FEATURES, LOGITS
from sdgan_jax.evaluation.image_sources import open_folder
from tests.evaluation import small_sets

IMAGES = small_sets.pixels(3, side=32)


def features_of(network):
    return jax.jit(network.apply)(network.variables, IMAGES.astype(np.float32))


@pytest.mark.slow
def test_our_own_features_are_those_of_the_shipped_networks():
    found = features_of(feature_networks.classifier_features())
    expected = jax.jit(pretrained.attribute_classifier())(pictures.to_float(IMAGES))[1]
    np.testing.assert_allclose(found[FEATURES], expected, rtol=1e-5, atol=1e-5)
    found = features_of(feature_networks.identity_features())
    expected = jax.jit(pretrained.identity_network())(pictures.to_float(IMAGES))
    np.testing.assert_allclose(found[FEATURES], expected, rtol=1e-4, atol=1e-5)


def test_a_pixel_that_is_not_a_number_is_not_lost():
    network = feature_networks.classifier_features()
    broken = IMAGES.astype(np.float32)
    broken[1, 4, 4] = np.nan
    found = np.asarray(jax.jit(network.apply)(network.variables, broken)[FEATURES])
    assert np.isnan(found[1]).all() and np.isfinite(found[[0, 2]]).all()


@pytest.mark.parametrize(("convention", "ddof"), [("nvlabs", 0), ("torch-fidelity", 1), ("clean-fid", 1)])
def test_inception_sees_images_of_299_pixels_from_minus_1_to_1(convention, ddof):
    @dataclasses.dataclass(frozen=True)
    class Stub:
        variables: dict

        def __call__(self, images):
            assert images.shape == (3, 299, 299, 3)
            return self.variables["scale"] * images.mean((1, 2)), images[:, 0, 0]

    network = feature_networks.inception_features(Stub({"scale": jnp.float32(2.0)}), convention)
    assert (network.convention, network.ddof) == (convention, ddof)
    found = features_of(network)
    means = (IMAGES.astype(np.float64).mean((1, 2)) - 128) / 128
    np.testing.assert_allclose(found[FEATURES], 2 * means, atol=0.03)  # a resize nearly keeps the mean
    assert np.abs(found[LOGITS]).max() <= 1


def test_the_key_names_all_that_features_depend_on(tmp_path):
    source = open_folder(small_sets.write_folder(tmp_path, IMAGES))
    network = small_sets.mean_colours()
    key = feature_networks.feature_task(source, network).key
    assert key["source"] == source.key and (key["features"], key["convention"]) == ("inception", "nvlabs")
    network.variables["scale"] = jnp.float32(0.25)
    assert feature_networks.feature_task(source, network).key["network"] != key["network"]


def test_images_that_are_not_square_are_for_inception_alone(tmp_path):
    source = open_folder(small_sets.write_folder(tmp_path / "wide", IMAGES[:, :24]))
    rows = source.read(np.arange(2))
    for name in ("classifier", "identity"):
        task = feature_networks.feature_task(source, small_sets.mean_colours(name))
        with pytest.raises(ValueError, match=f"wide: the images are 32 x 24 pixels, and the features {name} are those"):
            task.function(task.params, rows)
    task = feature_networks.feature_task(source, small_sets.mean_colours())
    assert task.function(task.params, rows)[FEATURES].shape == (2, 3)


@pytest.mark.slow
def test_the_perceptual_distance_is_that_of_the_losses():
    distance = feature_networks.perceptual_distance()
    a = pictures.to_float(small_sets.pixels(2, side=64, seed=1))
    b = 0.5 * a
    features = pretrained.perceptual_network()
    expected = losses.perceptual(features(jnp.asarray(a)), features(jnp.asarray(b)))
    np.testing.assert_allclose(jax.jit(distance.apply)(distance.variables, a, b), expected, rtol=1e-3)


def test_lpips_takes_images_as_they_are():
    @dataclasses.dataclass(frozen=True)
    class Stub:
        variables: dict

        def __call__(self, a, b):
            return self.variables["scale"] * jnp.square(a - b).mean((1, 2, 3))

    distance = feature_networks.lpips_distance(Stub({"scale": jnp.float32(2.0)}))
    a = pictures.to_float(IMAGES)
    found = distance.apply({"scale": jnp.float32(3.0)}, a, -a)
    np.testing.assert_allclose(found, 12 * np.square(a).mean((1, 2, 3)), rtol=1e-5)
