"""The losses against closed forms in numpy and scipy."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from sdgan_jax import losses


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_logistic_is_binary_cross_entropy_of_the_sigmoid():
    real, fake = 3 * draw(7), 3 * draw(7, seed=1)

    def log_p(logits, value):
        probability = scipy.special.expit(logits.astype(np.float64))
        return scipy.stats.bernoulli(probability).logpmf(value).mean()

    np.testing.assert_allclose(losses.adversarial_g(fake, "logistic"), -log_p(fake, 1), rtol=1e-6)
    expected = -log_p(real, 1) - log_p(fake, 0)
    np.testing.assert_allclose(losses.adversarial_d(real, fake, "logistic"), expected, rtol=1e-6)


def test_logistic_stays_finite_at_large_logits():
    large = np.float32([1000.0])
    np.testing.assert_allclose(losses.adversarial_d(large, large, "logistic"), 1000.0)
    np.testing.assert_allclose(losses.adversarial_g(large, "logistic"), 0.0)


def test_hinge():
    real, fake = np.float32([-1.0, 0.5, 3.0]), np.float32([-2.0, -0.5, 1.0])
    np.testing.assert_allclose(losses.adversarial_d(real, fake, "hinge"), (2.0 + 0.5) / 3 + (0.5 + 2.0) / 3)
    np.testing.assert_allclose(losses.adversarial_g(fake, "hinge"), 0.5)


def test_attribute_softmax_is_cross_entropy_against_the_normalised_attributes():
    logits = 2 * draw(4, 3)
    worn = np.float32([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]])  # the last face wears two
    log_p = scipy.special.log_softmax(logits.astype(np.float64), axis=1)
    expected = -(log_p[0, 0] + log_p[1, 1] + log_p[2, 2] + (log_p[3, 1] + log_p[3, 2]) / 2) / 4
    np.testing.assert_allclose(losses.attribute(logits, worn, "softmax"), expected, rtol=1e-6)


def test_attribute_sigmoid_is_binary_cross_entropy_of_every_attribute():
    logits = 2 * draw(4, 3)
    worn = np.float32([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]])
    probability = scipy.special.expit(logits.astype(np.float64))
    expected = -np.where(worn == 1, np.log(probability), np.log1p(-probability)).mean()
    np.testing.assert_allclose(losses.attribute(logits, worn, "sigmoid"), expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(5, 8), (2, 4, 4, 3)])
def test_identity_is_the_negative_cosine_along_the_last_axis(shape):
    a, b = draw(*shape), draw(*shape, seed=1)
    rows = zip(a.reshape(-1, shape[-1]), b.reshape(-1, shape[-1]), strict=True)
    cosines = [np.dot(x, y) / np.linalg.norm(x) / np.linalg.norm(y) for x, y in rows]
    np.testing.assert_allclose(losses.identity(a, b), -np.mean(cosines), atol=1e-6)
    np.testing.assert_allclose(losses.identity(a, 3 * a), -1.0, atol=1e-6)
    assert losses.identity(np.zeros(shape, np.float32), b) == 0.0  # a black pixel has no direction


def test_reconstruction_is_the_mean_absolute_difference():
    a, b = np.float32([[0.0, 1.0], [2.0, 3.0]]), np.float32([[1.0, 1.0], [0.0, 6.0]])
    assert losses.reconstruction(a, b) == 6.0 / 4


def test_r1_of_a_quadratic_discriminator():
    """D(x) = <a, x²> + <b, x> has the gradient 2ax + b."""
    images, a, b = draw(3, 4, 4, 3), draw(4, 4, 3, seed=1), draw(4, 4, 3, seed=2)
    expected = np.square(2 * a * images + b).sum((1, 2, 3)).mean()
    penalty = losses.r1(lambda x: jnp.sum(a * x * x + b * x, (1, 2, 3)), images)
    np.testing.assert_allclose(penalty, expected, rtol=1e-5)


def test_path_lengths_of_a_linear_generator():
    """G(w) = sum over layers of A w[l]: J^T y is A^T y for every layer, whatever w."""
    a, y, w_plus = draw(5, 4 * 4 * 3), draw(2, 4, 4, 3, seed=1), draw(2, 3, 5, seed=2)
    a, y = a.astype(np.float64), y.astype(np.float64)
    expected = np.linalg.norm(y.reshape(2, -1) @ a.T, axis=1) / 4  # sqrt(H W) = 4
    lengths = losses.path_lengths(lambda w: (w.sum(1) @ np.float32(a)).reshape(2, 4, 4, 3), w_plus, np.float32(y))
    np.testing.assert_allclose(lengths, expected, rtol=1e-5)
    # Layers that move the image by different amounts: the root of the mean over layers of the squared length.
    scale = np.float32([1.0, 2.0, 0.0])[None, :, None]
    lengths = losses.path_lengths(
        lambda w: ((w * scale).sum(1) @ np.float32(a)).reshape(2, 4, 4, 3), w_plus, np.float32(y)
    )
    np.testing.assert_allclose(lengths, expected * np.sqrt((1 + 4 + 0) / 3), rtol=1e-5)
