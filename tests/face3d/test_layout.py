"""Layouts: the square of the rendered faces, and another one through its landmarks."""

import numpy as np
import pytest

from sdgan_jax.face3d import layout


def test_regions_share_the_face():
    square = layout.megn(64)
    assert ((square.regions.sum(-1) == 1) == square.face).all()
    assert set(np.unique(square.weights)) == {0.0, 3.0, 4.0, 16.0}
    assert (square.weights[square.face] > 0).all() and (square.weights == 16).sum() <= 68
    assert not square.weights[-8:, :8].any()  # the neck


def test_landmarks_lie_in_their_regions():
    square = layout.megn(256)
    j, i = (square.landmarks * 256).astype(int).T
    parts = [layout.REGIONS[k] for k in square.regions[i, j].argmax(-1)]
    assert set(parts[36:48]) == {"eyes"} and set(parts[31:36]) == {"nose"} and set(parts[48:68]) == {"mouth"}
    assert square.face[i, j][17:].all()


def test_networks_are_trained_to_the_jaw_and_its_neighbours():
    square = layout.megn(64)
    j, i = np.floor(square.landmarks * 64 - 0.5).astype(int).T  # the four texels that a landmark is read from
    assert np.min([square.weights[i + a, j + b] for a in (0, 1) for b in (0, 1)]) >= 3


def test_mean_landmarks_are_the_symmetric_ones_of_the_dataset():
    marks = layout.mean_landmarks()
    np.testing.assert_allclose(marks[30], (0.0, 0.325), atol=1e-4)  # the tip of the nose, by tfds_megn's mean face
    np.testing.assert_allclose(marks[36:42].mean(0)[0], -0.272, atol=1e-3)
    np.testing.assert_allclose(marks[0] * [-1, 1], marks[16], atol=1e-5)


def test_another_square_gets_its_coordinates_through_its_landmarks():
    """The same square, squeezed and turned upside down, as a layout of its own: each texel is the same point."""
    known = layout.megn(256)
    other = layout.prnet(np.stack([known.landmarks[:, 0], 1 - known.landmarks[:, 1]], -1), known.face[::-1])
    inside = known.regions[..., :4].sum(-1) > 0  # far from landmarks, as on the forehead, the spline is a guess
    off = np.abs(other.coordinates[::-1] - known.coordinates)[inside]
    assert off.max() < 0.025
    assert (other.weights[::-1] == known.weights)[inside].mean() > 0.97
    np.testing.assert_allclose(other.head[::-1][inside], known.head[inside], atol=0.06)


def test_the_mean_head_looks_forward():
    square = layout.megn(64)
    eyes = [square.head[tuple((square.landmarks[k] * 64).astype(int)[::-1])] for k in (39, 42)]
    np.testing.assert_allclose(eyes[0] * [-1, 1, 1], eyes[1], atol=0.03)
    i, j = np.unravel_index(square.head[..., 2].argmax(), square.face.shape)
    assert square.regions[i, j, layout.REGIONS.index("nose")] == 1


@pytest.mark.parametrize("marks", [np.zeros((5, 2)), np.full((68, 2), 100.0)])
def test_bad_landmarks_are_refused(marks):
    with pytest.raises(ValueError, match="68,2"):
        layout.prnet(marks, np.ones((256, 256)))
