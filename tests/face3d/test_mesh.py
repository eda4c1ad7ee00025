"""The map from the face mesh to MEGN's UV square, on meshes made of the mean head."""

import numpy as np
import pytest

from sdgan_jax.face3d import geometry, layout, mesh


@pytest.fixture(scope="module")
def vertices():
    """A mesh of points on the mean head, y up; the numbered ones are at their landmarks."""
    megn, rng = layout.megn(256), np.random.default_rng(0)
    at = rng.uniform([0.1, 0.2], [0.9, 0.8], (mesh.VERTICES, 2))
    at[list(mesh.INNER)] = megn.landmarks[17:]
    jaw = np.linspace(0, 16, len(mesh.CONTOUR))
    at[list(mesh.CONTOUR)] = np.stack([np.interp(jaw, np.arange(17), megn.landmarks[:17, k]) for k in range(2)], -1)
    return np.asarray(geometry.sample(megn.head, at.astype(np.float32))) * [1, -1, 1]


@pytest.fixture(scope="module")
def weights(vertices):
    return mesh.texel_weights(vertices, 64)


def test_numbers_are_of_distinct_vertices_on_both_sides():
    assert len(set(mesh.INNER)) == 51 and len(set(mesh.CONTOUR)) == 21
    assert set(mesh.INNER) | set(mesh.CONTOUR) <= set(range(mesh.VERTICES))


def test_landmarks_of_the_mesh_are_those_of_the_layout(vertices):
    place = mesh.place(vertices)
    np.testing.assert_allclose(place[list(mesh.INNER)], layout.megn(256).landmarks[17:], atol=1e-4)
    turned = vertices[:, [2, 1, 0]] * [7.0, 7.0, -7.0] + 3.0  # a similarity changes nothing
    np.testing.assert_allclose(mesh.place(turned), place, atol=1e-3)


def test_a_head_that_is_moved_and_stretched_is_moved_and_stretched_everywhere(vertices, weights):
    megn, rng = layout.megn(64), np.random.default_rng(1)
    matrix, shift = rng.normal(size=(3, 3)), rng.normal(size=3)
    # A spline with an affine part gives affine maps exactly, beyond the edge of the mesh too.
    knots = mesh._on_head(mesh.place(vertices))
    found = mesh.position_maps((knots @ matrix + shift).astype(np.float32), weights)
    np.testing.assert_allclose(found, megn.head @ matrix + shift, atol=2e-3)


def test_the_map_goes_through_the_landmarks(vertices, weights):
    points = np.asarray(vertices * [1, -1, 1], np.float32) * 100
    points += 5 * np.sin(points / 30)  # no affine map
    found = mesh.position_maps(np.append(points, np.zeros((10, 3)), 0), weights)
    landmarks = geometry.landmarks(found, layout.megn(64))
    errors = np.linalg.norm(landmarks[17:] - points[list(mesh.INNER)], axis=-1)
    assert np.median(errors) < 1.0  # of a head 200 high
