"""The decomposition against its formula in numpy."""

import jax
import numpy as np
import pytest

from sdgan_jax import latents
from tests.random_arrays import noise

NAMES = ("none", "mask", "beard", "glasses")
N, LAYERS, DIM = 5, 4, 6


@pytest.fixture
def basis():
    return np.concatenate((np.zeros((1, DIM)), noise(len(NAMES) - 1, DIM, seed=9))).astype(np.float32)


@pytest.fixture
def worn():
    """Nothing, one, another, two at once, all three."""
    return np.float32([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 1, 1, 0], [0, 1, 1, 1]])


def direction(basis):
    """B[y] of `worn`, written out."""
    _, mask, beard, glasses = basis
    return np.stack((0 * mask, mask, glasses, mask + beard, mask + beard + glasses))


def test_attributes_are_split_the_largest_first_and_those_to_take_off_too():
    weights = np.float32([[0, -1, 0, 0.5], [1, 0, 0, 0], [0, 0, 1, -1]])
    first, second = latents.single_attributes(weights, 2)
    np.testing.assert_array_equal(first, [[0, -1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]])
    np.testing.assert_array_equal(second, [[0, 0, 0, 0.5], [0, 0, 0, 0], [0, 0, 0, -1]])


def test_random_basis_has_unit_rows_and_none_is_zero():
    rows = np.asarray(latents.random_basis(jax.random.key(0), 6, 512))
    assert rows.shape == (6, 512) and not rows[0].any()
    np.testing.assert_allclose(np.linalg.norm(rows[1:], axis=1), 1.0, rtol=1e-5)
    cosines = rows[1:] @ rows[1:].T - np.eye(5)
    assert np.abs(cosines).max() < 5 / np.sqrt(512)  # independent directions: N(0, 1 / D), within 5 sigma


def test_an_edit_tells_what_faces_wear():
    """An attribute that is taken off is worn; it excludes the others of an exclusive model; the rest is unknown."""
    edit, unknown = np.float32([[0, 1, -1, 0], [1, 0, 0, 0], [0, -1, 0, -1]]), [np.nan] * 4
    np.testing.assert_array_equal(latents.known_attributes(edit, True), [[0, 0, 1, 0], unknown, [0, 1, 0, 1]])
    several = [[np.nan, np.nan, 1, np.nan], unknown, [np.nan, 1, np.nan, 1]]
    np.testing.assert_array_equal(latents.known_attributes(edit, False), several)


def test_edit_of_z_and_of_w_plus(basis, worn):
    latent, offset = noise(N, DIM), noise(N, DIM, seed=1)
    expected = latent + 0.7 * (direction(basis) + offset)
    np.testing.assert_allclose(latents.edit(latent, worn, basis, offset, 0.7), expected, atol=1e-6)
    latent, offset = noise(N, LAYERS, DIM), noise(N, LAYERS, DIM, seed=1)
    expected = latent + 0.7 * (direction(basis)[:, None] + offset)
    np.testing.assert_allclose(latents.edit(latent, worn, basis, offset, 0.7), expected, atol=1e-6)


def test_edit_without_strength_or_attribute_changes_nothing(basis, worn):
    latent = noise(N, DIM)
    np.testing.assert_array_equal(latents.edit(latent, worn, basis, noise(N, DIM), 0.0), latent)
    np.testing.assert_array_equal(latents.edit(latent, worn, basis)[0], latent[0])


def test_truncate():
    w, average = noise(N, DIM), noise(DIM, seed=1)
    np.testing.assert_allclose(latents.truncate(w, average, 0.3), 0.7 * average + 0.3 * w, atol=1e-6)
    np.testing.assert_allclose(latents.truncate(w, average, 1.0), w, atol=1e-6)


def test_truncation_cutoff_leaves_the_later_layers():
    w_plus, average = noise(N, LAYERS, DIM), noise(DIM, seed=1)
    pulled = np.asarray(latents.truncate(w_plus, average, 0.3, cutoff=3))
    np.testing.assert_allclose(pulled[:, :3], 0.7 * average + 0.3 * w_plus[:, :3], atol=1e-6)
    np.testing.assert_array_equal(pulled[:, 3:], w_plus[:, 3:])


def test_mix_takes_the_layers_from_the_crossover_on_from_the_other():
    first, second = noise(N, LAYERS, DIM), noise(N, LAYERS, DIM, seed=1)
    mixed = np.asarray(latents.mix(first, second, np.array([1, 2, 3, 4, 4])))
    for n, crossover in enumerate([1, 2, 3, 4, 4]):
        np.testing.assert_array_equal(mixed[n, :crossover], first[n, :crossover])
        np.testing.assert_array_equal(mixed[n, crossover:], second[n, crossover:])
    np.testing.assert_array_equal(latents.mix(first, second, 1)[:, 1:], second[:, 1:])


def test_broadcast_layers():
    w = noise(N, DIM)
    w_plus = np.asarray(latents.broadcast_layers(w, LAYERS))
    assert w_plus.shape == (N, LAYERS, DIM)
    for layer in range(LAYERS):
        np.testing.assert_array_equal(w_plus[:, layer], w)


def mapping(z):
    return np.tanh(2 * z) + z**2  # far from linear, so that the order of the steps matters


def test_to_w_plus_in_z_moves_then_maps_then_truncates(basis, worn):
    z, offset, average = noise(N, DIM), noise(N, 1, DIM, seed=1), noise(DIM, seed=2)
    mapped = mapping(z + 0.7 * (direction(basis) + offset[:, 0]))
    edit = dict(space="z", mapping=mapping, num_layers=LAYERS, offset=offset, strength=0.7)
    for psi, expected in ((1.0, mapped), (0.4, average + 0.4 * (mapped - average))):
        w_plus = latents.to_w_plus(z, worn, basis, **edit, w_avg=average, truncation=psi)
        np.testing.assert_allclose(w_plus, np.repeat(expected[:, None], LAYERS, 1), atol=1e-5)
    without = latents.to_w_plus(z, worn, basis, **edit | {"offset": None})
    np.testing.assert_allclose(without[:, 2], mapping(z + 0.7 * direction(basis)), atol=1e-5)


def test_to_w_plus_in_w_truncates_the_face_and_not_the_edit(basis, worn):
    z, offset, average = noise(N, DIM), noise(N, LAYERS, DIM, seed=1), noise(DIM, seed=2)
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
        (("glasses",), [0, 0, 0, 1]),
        ([], [1, 0, 0, 0]),
    ],
)
def test_attribute_weights_of_names(asked, row):
    weights = latents.attribute_weights(asked, NAMES, 2)
    assert weights.dtype == np.float32
    np.testing.assert_array_equal(weights, [row, row])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["mask", "beard", "mask"], "mask, beard, mask: name each attribute once, and 'none' alone"),
        (["mask", "none"], "mask, none: name each attribute once, and 'none' alone"),
        (None, "attribute is None; give a name, or several: none, mask, beard, glasses"),
    ],
)
def test_attributes_that_contradict_themselves_are_refused(asked, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        latents.attribute_weights(asked, NAMES, 2)


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


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def planted(count=4000, dim=8, distance=1.5):
    """Gaussian latents of three classes; classes 1 and 2 are moved along two directions that are not orthogonal."""
    rng = np.random.default_rng(3)
    axes = np.zeros((3, dim), np.float32)
    axes[1, 0], axes[2, :2] = 1.0, (0.6, 0.8)
    labels = np.arange(count) % 3
    return (rng.standard_normal((count, dim)) + distance * axes[labels]).astype(np.float32), labels, axes


def test_means_basis_is_the_difference_of_means():
    latents_, labels, axes = planted()
    rows, lengths = latents.means_basis(latents_, labels, 3)
    assert not rows[0].any() and lengths[0] == 0
    for attribute in (1, 2):
        difference = latents_[labels == attribute].mean(0) - latents_[labels == 0].mean(0)
        np.testing.assert_allclose(rows[attribute], difference / np.linalg.norm(difference), atol=1e-5)
        assert lengths[attribute] == pytest.approx(np.linalg.norm(difference), rel=1e-4)
        assert cosine(rows[attribute], axes[attribute]) > 0.99 and lengths[attribute] == pytest.approx(1.5, abs=0.15)


def test_an_attribute_that_is_hardly_seen_has_no_direction():
    latents_, labels, _ = planted(60)
    labels = np.where(labels == 2, -1, labels)
    labels[:2] = 2  # fewer than FEWEST
    scores = np.stack((latents_[:, 3], latents_[:, 0], latents_[:, 1]), 1)
    svm, accuracy = latents.svm_basis(latents_, scores, labels)
    for rows, lengths in (latents.means_basis(latents_, labels, 3), svm):
        assert rows[1].any() and not rows[2].any() and lengths[2] == 0
    assert np.isnan(accuracy[[0, 2]]).all() and np.isfinite(accuracy[1])
    with pytest.raises(ValueError, match="needs at least 8 latents; there are 7"):
        latents.svm_basis(latents_[:7], scores[:7], labels[:7])


def test_svm_basis_of_two_points_is_the_line_between_them():
    """The boundary of the largest margin between two points is perpendicular to their difference."""
    points = np.float32([[1, 2, 0], [4, -2, 12]])  # the difference has length 13
    high = np.arange(400) % 2
    scores = np.stack((np.zeros(400), high - 0.5), 1)
    (rows, lengths), accuracy = latents.svm_basis(points[high], scores, high)
    np.testing.assert_allclose(rows[1], np.float32([3, -4, 12]) / 13, atol=1e-5)
    assert lengths[1] == pytest.approx(13, rel=1e-5) and accuracy[1] == 1


def test_svm_basis_sees_two_per_cent_on_either_side():
    """Of 1000 latents in the order of their scores, 20 at either end; the others may lie anywhere."""
    latents_, labels = noise(1000, DIM), np.arange(1000) % 2
    scores = np.stack((np.zeros(1000), np.arange(1000.0)), 1)
    (rows, _), _ = latents.svm_basis(latents_, scores, labels)
    for moved, same in ((slice(20, -20), True), (slice(19, -20), False), (slice(20, -19), False)):
        others = latents_.copy()
        others[moved] = noise(*others[moved].shape, seed=1)
        (found, _), _ = latents.svm_basis(others, scores, labels)
        assert np.allclose(found, rows, atol=1e-6) == same


def test_svm_basis_finds_the_direction_that_the_scores_follow():
    latents_, labels, axes = planted(20000)
    rng = np.random.default_rng(0)
    scores = np.stack((latents_[:, 5], latents_ @ axes[1], rng.standard_normal(20000)), 1)
    (rows, lengths), accuracy = latents.svm_basis(latents_, scores, labels, seed=1)
    assert cosine(rows[1], axes[1]) > 0.97 and accuracy[1] == 1
    assert 0.3 < accuracy[2] < 0.7  # scores without a relation to the latents: 240 held-out latents, 6 sigma
    moved = latents_ @ rows[1]
    assert lengths[1] == pytest.approx(moved[labels == 1].mean() - moved[labels == 0].mean(), rel=1e-4)


def test_paired_basis_is_the_mean_difference():
    plain, labels = noise(300, DIM), np.arange(300) % 3
    shift = np.float32([[0] * DIM, [3, 4, 0, 0, 0, 0], [0, 0, 0, 0, 0, -2]])
    spread = noise(300, DIM, seed=1)
    for attribute in range(3):
        spread[labels == attribute] -= spread[labels == attribute].mean(0)
    rows, lengths = latents.paired_basis(plain + shift[labels] + spread, plain, labels, 4)
    np.testing.assert_allclose(rows[:3], [[0] * DIM, [0.6, 0.8, 0, 0, 0, 0], [0, 0, 0, 0, 0, -1]], atol=1e-5)
    np.testing.assert_allclose(lengths, [0, 5, 2, 0], atol=1e-5)
    assert not rows[3].any()  # no pair of it


def test_project_out_one_direction():
    direction, other = np.float32([0.6, 0.8, 0.0]), np.float32([[1, 0, 0]])
    np.testing.assert_allclose(latents.project_out(direction, other), [0, 1, 0], atol=1e-6)


def test_project_out_several_directions_as_least_squares_does():
    direction, others = noise(40), noise(4, 40, seed=2)
    others[3] = 2 * others[0] - others[1]  # a singular Gram matrix
    result = latents.project_out(direction, np.concatenate((others, np.zeros((1, 40), np.float32))))
    q, _ = np.linalg.qr(others[:3].T)
    expected = direction - q @ (q.T @ direction)
    np.testing.assert_allclose(result, expected / np.linalg.norm(expected), atol=1e-5)
    np.testing.assert_allclose(others @ result, 0, atol=1e-4)
    assert not latents.project_out(others[0] - others[2], others).any()


def test_conditional_basis_leaves_nothing_of_the_other_directions():
    latents_, labels, axes = planted()
    plain = latents.Directions(axes, np.float32([0, 1.5, 1.5]))
    rows, lengths = latents.conditional_basis(plain, latents_, labels)
    np.testing.assert_allclose(rows[:, :2], [[0, 0], [0.8, -0.6], [0, 1]], atol=1e-6)
    assert lengths == pytest.approx([0, 1.5 * 0.8, 1.5 * 0.8], abs=0.15)
