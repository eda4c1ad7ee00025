"""The losses against closed forms in numpy and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from sdgan_jax import losses
from tests.random_arrays import noise


def test_logistic_is_binary_cross_entropy_of_the_sigmoid():
    real, fake = 3 * noise(7), 3 * noise(7, seed=1)

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
    logits = 2 * noise(4, 3)
    worn = np.float32([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]])  # the last face wears two
    log_p = scipy.special.log_softmax(logits.astype(np.float64), axis=1)
    expected = -(log_p[0, 0] + log_p[1, 1] + log_p[2, 2] + (log_p[3, 1] + log_p[3, 2]) / 2) / 4
    np.testing.assert_allclose(losses.attribute(logits, worn, "softmax"), expected, rtol=1e-6)


def test_attribute_sigmoid_is_binary_cross_entropy_of_every_attribute():
    logits = 2 * noise(4, 3)
    worn = np.float32([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]])
    probability = scipy.special.expit(logits.astype(np.float64))
    expected = -np.where(worn == 1, np.log(probability), np.log1p(-probability)).mean()
    np.testing.assert_allclose(losses.attribute(logits, worn, "sigmoid"), expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(5, 8), (2, 4, 4, 3)])
def test_identity_is_the_negative_cosine_along_the_last_axis(shape):
    a, b = noise(*shape), noise(*shape, seed=1)
    rows = zip(a.reshape(-1, shape[-1]), b.reshape(-1, shape[-1]), strict=True)
    cosines = [np.dot(x, y) / np.linalg.norm(x) / np.linalg.norm(y) for x, y in rows]
    np.testing.assert_allclose(losses.identity(a, b), -np.mean(cosines), atol=1e-6)
    np.testing.assert_allclose(losses.identity(a, 3 * a), -1.0, atol=1e-6)
    assert losses.identity(np.zeros(shape, np.float32), b) == 0.0  # a black pixel has no direction


def at_angles(angles):
    """Embeddings f32[N,2] at these angles to prototype 0 of [3,2], whose prototypes lie at 0, 1.9 and -1.2."""
    embeddings = np.stack([np.cos(angles), np.sin(angles)], 1)
    places, lengths = np.array([0.0, 1.9, -1.2]), np.array([[0.5], [2.0], [1.0]])
    return np.float32(embeddings), np.float32(lengths * np.stack([np.cos(places), np.sin(places)], 1)), places


@pytest.mark.parametrize("angle", [0.3, 1.0, 2.0, 2.6, 2.7, 3.0])
@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_arcface_at_an_angle(angle, margin):
    embeddings, prototypes, places = at_angles(np.array([angle]))
    cosines = np.cos(angle - places)
    fits = angle + margin <= np.pi
    cosines[0] = np.cos(angle + margin) if fits else np.cos(angle) - margin * np.sin(margin)
    expected = -scipy.special.log_softmax(10 * cosines)[0]
    loss = jax.jit(losses.arcface, static_argnums=(3, 4))(embeddings, prototypes, np.array([0]), margin, 10.0)
    np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-6)


def test_arcface_takes_the_mean_over_faces_of_several_people():
    angles, identities = np.array([0.4, 1.5, -2.0, 0.1]), np.array([0, 1, 2, 1])
    embeddings, prototypes, places = at_angles(angles)
    theta = np.arccos(np.cos(angles[:, None] - places))  # of every prototype, in [0, pi]
    theta[np.arange(4), identities] += 0.3
    expected = -scipy.special.log_softmax(8 * np.cos(theta), axis=1)[np.arange(4), identities].mean()
    np.testing.assert_allclose(losses.arcface(embeddings, prototypes, identities, 0.3, 8.0), expected, rtol=1e-5)


def test_arcface_grows_with_the_angle():
    angles = np.linspace(0, np.pi, 60)
    others = np.float32([[1, 0, 0], [0, 0, 0.1]])  # the second logit is 0 at every angle
    embeddings = np.float32(np.stack([np.cos(angles), np.sin(angles), np.zeros(60)], 1))
    loss = jax.vmap(lambda e: losses.arcface(e[None], others, np.array([0])))
    # Compiled as for users: without optimisations logits of 64 are rounded otherwise, by 4e-6, where the loss is 0.
    values = jax.jit(loss, compiler_options={"xla_backend_optimization_level": 3})(embeddings)
    assert np.all(np.diff(values) >= 0) and values[-1] > 64


def test_arcface_has_the_derivative_of_finite_differences():
    embeddings, prototypes, _ = at_angles(np.array([0.4, 2.5, 2.9]))
    identities, h = np.array([0, 0, 0]), 1e-5
    with jax.enable_x64(True):
        f = jax.jit(lambda e: losses.arcface(e, jnp.asarray(prototypes, jnp.float64), identities))
        e = embeddings.astype(np.float64)
        gradient = jax.jit(jax.grad(f))(jnp.asarray(e))
        for place in np.ndindex(e.shape):
            step = np.zeros_like(e)
            step[place] = h
            difference = (f(jnp.asarray(e + step)) - f(jnp.asarray(e - step))) / (2 * h)
            np.testing.assert_allclose(gradient[place], difference, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("angle", [0.0, np.pi])
def test_arcface_has_a_finite_derivative_at_the_ends(angle):
    embeddings, prototypes, _ = at_angles(np.array([angle]))
    value, gradient = jax.jit(jax.value_and_grad(losses.arcface))(jnp.asarray(embeddings), prototypes, np.array([0]))
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_reconstruction_is_the_mean_absolute_difference():
    a, b = np.float32([[0.0, 1.0], [2.0, 3.0]]), np.float32([[1.0, 1.0], [0.0, 6.0]])
    assert losses.reconstruction(a, b) == 6.0 / 4


@pytest.mark.parametrize(("error", "by_numpy"), [(jnp.abs, np.abs), (jnp.square, np.square)])
def test_pyramid_averages_over_scales(error, by_numpy):
    a, b = noise(3, 16, 16, 3), noise(3, 16, 16, 3, seed=1)
    expected = []
    for size in (16, 8, 4):
        cells = (a - b).reshape(3, size, 16 // size, size, 16 // size, 3).mean((2, 4))
        expected.append(by_numpy(cells).mean((1, 2, 3)))
    np.testing.assert_allclose(losses.pyramid(a, b, error), np.mean(expected, 0), rtol=1e-5)


def test_pyramid_is_l1_by_default():
    image = np.zeros((1, 4, 4, 3), np.float32)
    assert losses.pyramid(image, image - 0.5) == 0.5


def test_perceptual_is_two_minus_twice_the_cosine():
    """|a - b|² = 2 - 2 cos(a, b) for unit vectors, averaged over positions and then over layers."""
    a, b = ([noise(2, 4, 4, 5, seed=s), noise(2, 2, 2, 7, seed=s + 1)] for s in (0, 2))
    layers = []
    for x, y in zip(a, b, strict=True):
        cosine = (x * y).sum(-1) / (np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1))
        layers.append((2 - 2 * cosine).mean((1, 2)))
    np.testing.assert_allclose(losses.perceptual(a, b), np.mean(layers, 0), rtol=1e-5)


def test_perceptual_distances_go_from_0_to_4_and_ignore_lengths():
    a = [noise(2, 4, 4, 5), noise(2, 2, 2, 7)]
    np.testing.assert_allclose(losses.perceptual(a, [3 * x for x in a]), 0.0, atol=1e-6)
    np.testing.assert_allclose(losses.perceptual(a, [-2 * x for x in a]), 4.0, rtol=1e-6)


def test_r1_of_a_quadratic_discriminator():
    """D(x) = <a, x²> + <b, x> has the gradient 2ax + b."""
    images, a, b = noise(3, 4, 4, 3), noise(4, 4, 3, seed=1), noise(4, 4, 3, seed=2)
    expected = np.square(2 * a * images + b).sum((1, 2, 3)).mean()
    penalty = losses.r1(lambda x: jnp.sum(a * x * x + b * x, (1, 2, 3)), images)
    np.testing.assert_allclose(penalty, expected, rtol=1e-5)


def test_r1_adds_the_gradients_of_all_that_is_seen():
    """D(x, [f]) = <a, x> + <c, f²>, with a logit of each position of f: the gradients are a and 2cf."""
    images, features = noise(3, 4, 4, 3), noise(3, 2, 2, 5, seed=3)
    a, c = noise(4, 4, 3, seed=1), noise(2, 2, 5, seed=2)
    expected = np.square(a).sum() + np.square(2 * c * features).sum((1, 2, 3)).mean()

    def logits(x, seen):
        return jnp.concatenate((jnp.sum(a * x, (1, 2, 3))[:, None], (c * seen[0] ** 2).sum((2, 3))), -1)

    np.testing.assert_allclose(losses.r1(logits, images, [features]), expected, rtol=1e-5)


def test_path_lengths_of_a_linear_generator():
    """G(w) = sum over layers of A w[l]: J^T y is A^T y for every layer, whatever w."""
    a, y, w_plus = noise(5, 4 * 4 * 3), noise(2, 4, 4, 3, seed=1), noise(2, 3, 5, seed=2)
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


def test_perceptual_weights_places():
    """Weights of an image in which one half counts alone: the distance of that half."""
    a, b = ([noise(2, 8, 8, 5, seed=seed), noise(2, 4, 4, 3, seed=seed + 1)] for seed in (0, 7))
    left = np.zeros((2, 16, 16), np.float32)
    left[..., :8] = 1
    actual = losses.perceptual(a, b, left)
    expected = []
    for x, y in zip(a, b, strict=True):
        x, y = (z / np.linalg.norm(z, axis=-1, keepdims=True) for z in (x, y))
        shares = left.reshape(2, x.shape[1], -1, x.shape[1], 16 // x.shape[1]).mean((2, 4))
        expected.append((np.square(x - y).sum(-1) * shares).sum((1, 2)) / shares.sum((1, 2)))
    np.testing.assert_allclose(actual, np.mean(expected, 0), rtol=0.15)  # the halves meet softly
    np.testing.assert_allclose(losses.perceptual(a, b, np.full((2, 16, 16), 3.0)), losses.perceptual(a, b), rtol=1e-5)
