"""The decomposition against its formula in numpy."""

import jax
import numpy as np
import pytest

from sdgan_jax import latents

NAMES = ("none", "mask", "beard", "glasses")
N, LAYERS, DIM = 5, 4, 6


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture
def basis():
    return np.concatenate((np.zeros((1, DIM)), draw(len(NAMES) - 1, DIM, seed=9))).astype(np.float32)


@pytest.fixture
def worn():
    """Nothing, one, another, two at once, all three."""
    return np.float32([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 1, 1, 0], [0, 1, 1, 1]])


def direction(basis):
    """B[y] of `worn`, written out."""
    _, mask, beard, glasses = basis
    return np.stack((0 * mask, mask, glasses, mask + beard, mask + beard + glasses))


def test_random_basis_has_unit_rows_and_none_is_zero():
    rows = np.asarray(latents.random_basis(jax.random.key(0), 6, 512))
    assert rows.shape == (6, 512) and not rows[0].any()
    np.testing.assert_allclose(np.linalg.norm(rows[1:], axis=1), 1.0, rtol=1e-5)
    cosines = rows[1:] @ rows[1:].T - np.eye(5)
    assert np.abs(cosines).max() < 5 / np.sqrt(512)  # independent directions: N(0, 1 / D), within 5 sigma


def test_edit_of_z_and_of_w_plus(basis, worn):
    latent, offset = draw(N, DIM), draw(N, DIM, seed=1)
    expected = latent + 0.7 * (direction(basis) + offset)
    np.testing.assert_allclose(latents.edit(latent, worn, basis, offset, 0.7), expected, atol=1e-6)
    latent, offset = draw(N, LAYERS, DIM), draw(N, LAYERS, DIM, seed=1)
    expected = latent + 0.7 * (direction(basis)[:, None] + offset)
    np.testing.assert_allclose(latents.edit(latent, worn, basis, offset, 0.7), expected, atol=1e-6)


def test_edit_without_strength_or_attribute_changes_nothing(basis, worn):
    latent = draw(N, DIM)
    np.testing.assert_array_equal(latents.edit(latent, worn, basis, draw(N, DIM), 0.0), latent)
    np.testing.assert_array_equal(latents.edit(latent, worn, basis)[0], latent[0])


def test_truncate():
    w, average = draw(N, DIM), draw(DIM, seed=1)
    np.testing.assert_allclose(latents.truncate(w, average, 0.3), 0.7 * average + 0.3 * w, atol=1e-6)
    np.testing.assert_allclose(latents.truncate(w, average, 1.0), w, atol=1e-6)


def test_truncation_cutoff_leaves_the_later_layers():
    w_plus, average = draw(N, LAYERS, DIM), draw(DIM, seed=1)
    pulled = np.asarray(latents.truncate(w_plus, average, 0.3, cutoff=3))
    np.testing.assert_allclose(pulled[:, :3], 0.7 * average + 0.3 * w_plus[:, :3], atol=1e-6)
    np.testing.assert_array_equal(pulled[:, 3:], w_plus[:, 3:])


def test_mix_takes_the_layers_from_the_crossover_on_from_the_other():
    first, second = draw(N, LAYERS, DIM), draw(N, LAYERS, DIM, seed=1)
    mixed = np.asarray(latents.mix(first, second, np.array([1, 2, 3, 4, 4])))
    for n, crossover in enumerate([1, 2, 3, 4, 4]):
        np.testing.assert_array_equal(mixed[n, :crossover], first[n, :crossover])
        np.testing.assert_array_equal(mixed[n, crossover:], second[n, crossover:])
    np.testing.assert_array_equal(latents.mix(first, second, 1)[:, 1:], second[:, 1:])


def test_broadcast_layers():
    w = draw(N, DIM)
    w_plus = np.asarray(latents.broadcast_layers(w, LAYERS))
    assert w_plus.shape == (N, LAYERS, DIM)
    for layer in range(LAYERS):
        np.testing.assert_array_equal(w_plus[:, layer], w)


def mapping(z):
    return np.tanh(2 * z) + z**2  # far from linear, so that the order of the steps matters


def test_to_w_plus_in_z_moves_then_maps_then_truncates(basis, worn):
    z, offset, average = draw(N, DIM), draw(N, 1, DIM, seed=1), draw(DIM, seed=2)
    mapped = mapping(z + 0.7 * (direction(basis) + offset[:, 0]))
    edit = dict(space="z", mapping=mapping, num_layers=LAYERS, offset=offset, strength=0.7)
    for psi, expected in ((1.0, mapped), (0.4, average + 0.4 * (mapped - average))):
        w_plus = latents.to_w_plus(z, worn, basis, **edit, w_avg=average, truncation=psi)
        np.testing.assert_allclose(w_plus, np.repeat(expected[:, None], LAYERS, 1), atol=1e-5)
    without = latents.to_w_plus(z, worn, basis, **edit | {"offset": None})
    np.testing.assert_allclose(without[:, 2], mapping(z + 0.7 * direction(basis)), atol=1e-5)


def test_to_w_plus_in_w_truncates_the_face_and_not_the_edit(basis, worn):
    z, offset, average = draw(N, DIM), draw(N, LAYERS, DIM, seed=1), draw(DIM, seed=2)
    edit = dict(space="w", mapping=mapping, num_layers=LAYERS, offset=offset, strength=0.7)
    move = 0.7 * (direction(basis)[:, None] + offset)
    for psi in (1.0, 0.4, 0.0):
        w_plus = latents.to_w_plus(z, worn, basis, **edit, w_avg=average, truncation=psi)
        face = average + psi * (mapping(z) - average)
        np.testing.assert_allclose(w_plus, face[:, None] + move, atol=1e-5)


@pytest.mark.parametrize(
    ("asked", "row"),
    [
        ("none", [1, 0, 0, 0]),
        ("beard", [0, 0, 1, 0]),
        (["mask", "glasses"], [0, 1, 0, 1]),
        (("glasses", "none"), [0, 0, 0, 1]),
        ([], [1, 0, 0, 0]),
    ],
)
def test_attribute_weights_of_names(asked, row):
    weights = latents.attribute_weights(asked, NAMES, 2)
    assert weights.dtype == np.float32
    np.testing.assert_array_equal(weights, [row, row])


@pytest.mark.parametrize(
    ("asked", "remove", "row"),
    [
        ("none", "beard", [0, 0, -1, 0]),
        ([], ["mask", "glasses"], [0, -1, 0, -1]),
        ("glasses", ("mask",), [0, -1, 0, 1]),
        ("none", [], [1, 0, 0, 0]),
    ],
)
def test_attribute_weights_of_a_removal(asked, remove, row):
    np.testing.assert_array_equal(latents.attribute_weights(asked, NAMES, 2, remove), [row, row])


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("hat", "unknown attribute 'hat'; the known ones are none, mask, beard, glasses"),
        ("none", "'none' cannot be removed; the attributes are mask, beard, glasses"),
        (["beard", "mask"], "'mask' cannot be added and removed at once"),
    ],
)
def test_attribute_weights_refuses_removals(remove, message):
    with pytest.raises(ValueError, match=message):
        latents.attribute_weights("mask", NAMES, 2, remove)


def test_attribute_weights_of_ids():
    weights = latents.attribute_weights(np.array([3, 0, 1]), NAMES, 3)
    np.testing.assert_array_equal(weights, [[0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("moustache", "unknown attribute 'moustache'; the known ones are none, mask, beard, glasses"),
        (["mask", "hat"], "unknown attribute 'hat'; the known ones are none, mask, beard, glasses"),
        (np.array([0, 4]), "attribute ids must be from 0 to 3; got 0 to 4"),
        (np.array([-1, 0]), "attribute ids must be from 0 to 3; got -1 to 0"),
        (np.array([0, 1, 2]), r"attribute ids must be int\[2\], one a sample; got int64\[3\]"),
        (np.array([0.0, 1.0]), r"attribute ids must be int\[2\], one a sample; got float64\[2\]"),
    ],
)
def test_attribute_weights_refuses(asked, message):
    with pytest.raises(ValueError, match=message) as raised:
        latents.attribute_weights(asked, NAMES, 2)
    assert "\n" not in str(raised.value)
