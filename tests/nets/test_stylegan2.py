"""The generator and discriminator against the published PyTorch implementation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax import latents
from sdgan_jax.config import DiscriminatorConfig, GeneratorConfig
from sdgan_jax.nets.discriminator import Discriminator
from sdgan_jax.nets.generator import Generator
from tests.nets import golden


def close(actual, expected, bound):
    """Largest difference as a share of the largest expected value."""
    assert np.abs(np.asarray(actual) - expected).max() <= bound * np.abs(expected).max()


def nhwc(array):
    return array.transpose(0, 2, 3, 1)


@pytest.fixture(scope="module")
def generator():
    arrays, weights = golden.load("rosinality_g32")
    variables = golden.generator(weights)
    net = Generator(GeneratorConfig(), resolution=32)

    def draw(w_plus):
        return net.apply(variables, w_plus, "const", method="synthesize")[-1]

    return arrays, jax.jit(draw), jax.jit(lambda z: net.apply(variables, z, method="map"))


def test_initialised_tree_has_the_shapes_of_the_reference():
    _, weights = golden.load("rosinality_g32")
    net = Generator(GeneratorConfig(), resolution=32)
    made = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 512)))
    expected = jax.tree.map(jnp.shape, golden.generator(weights))
    assert jax.tree.map(lambda leaf: leaf.shape, made) == expected


def test_mapping_and_images(generator):
    arrays, draw, mapping = generator
    w = mapping(arrays["z"])
    close(w, arrays["w"], 1e-5)
    close(draw(latents.broadcast_layers(w, 8)), nhwc(arrays["img"]), 1e-5)
    close(draw(arrays["wplus"]), nhwc(arrays["img_wplus"]), 1e-5)


def test_truncation(generator):
    arrays, draw, mapping = generator
    w = latents.truncate(mapping(arrays["z"]), arrays["mean_latent"][0], 0.5)
    close(draw(latents.broadcast_layers(w, 8)), nhwc(arrays["img_trunc05"]), 1e-5)


@pytest.mark.slow
def test_gradient_with_respect_to_z(generator):
    arrays, draw, mapping = generator
    energy = lambda z: jnp.square(draw(latents.broadcast_layers(mapping(z), 8))).sum()  # noqa: E731
    close(jax.grad(energy)(arrays["z"]), arrays["dz"], 5e-4)


@pytest.fixture(scope="module")
def discriminator():
    arrays, weights = golden.load("rosinality_d32")
    variables = golden.discriminator(weights, num_attributes=6)
    net = Discriminator(DiscriminatorConfig(), num_attributes=6)
    return arrays, jax.jit(lambda images: net.apply(variables, images)[0])


def test_discriminator_logits(discriminator):
    arrays, judge = discriminator
    images, images8 = nhwc(arrays["images"]), nhwc(arrays["images8"])
    for logits, batch in (
        ("logits", images),
        ("logits_b8", images8),
        ("logits_b1", images[:1]),
        ("logits_b2", images[:2]),
    ):
        close(judge(batch), arrays[logits][:, 0], 1e-5)


@pytest.mark.slow
def test_discriminator_r1(discriminator):
    arrays, judge = discriminator
    gradient = jax.grad(lambda x: judge(x).sum())(nhwc(arrays["images"]))
    np.testing.assert_allclose(jnp.square(gradient).sum((1, 2, 3)), arrays["r1_per_sample"], rtol=1e-4)
