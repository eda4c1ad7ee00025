"""Rays against spheres, and layers against the arithmetic of opacity."""

import numpy as np
import pytest

from tfds_megn import head, scene
from tfds_megn.params import as_face, sample_params


@pytest.fixture
def frame():
    face = as_face(sample_params(0))
    face.yaw = face.pitch = face.roll = face.shift_x = face.shift_y = 0.0
    return scene.Frame(face, head.build(face, 48), 24, 2)


def test_rays_meet_an_ellipsoid_where_its_equation_says(frame):
    centre, axes = np.array([0.2, -0.1, 0.3]), np.array([0.3, 0.5, 0.4])
    rows, z, normal, _ = scene.meet_ellipsoid(frame, tuple(centre), tuple(axes))
    on = (np.stack([frame.x[rows], frame.y[rows], z], -1) - centre) / axes
    np.testing.assert_allclose((on**2).sum(-1), 1.0, atol=1e-4)
    assert (z >= centre[2] - 1e-4).all()  # the near side
    gradient = on / axes
    np.testing.assert_allclose(
        np.stack(normal, -1), gradient / np.linalg.norm(gradient, axis=-1, keepdims=True), atol=1e-3
    )
    area = len(rows) * (frame.xs[1] - frame.xs[0]) ** 2
    assert area == pytest.approx(np.pi * axes[0] * axes[1], rel=0.05)


def test_layers_mix_by_opacity_and_mark_what_they_change(frame):
    rows = np.array([3, 5, 8])
    frame.put(rows, np.zeros(3, np.float32), np.full((3, 3), 0.4, np.float32))
    touched = np.zeros(frame.side**2, bool)
    frame.over(rows, np.full((3, 1), 0.8, np.float32), np.array([0.0, 0.5, 1.0], np.float32), touched)
    np.testing.assert_allclose(frame.colour[:, rows], np.tile([0.4, 0.6, 0.8], (3, 1)), rtol=1e-6)
    frame.darken(rows, np.array([0.25, 0.0, 0.5], np.float32), touched)
    np.testing.assert_allclose(frame.colour[:, rows], np.tile([0.3, 0.6, 0.4], (3, 1)), rtol=1e-6)
    assert np.flatnonzero(touched).tolist() == rows.tolist()


def test_a_stroke_is_as_wide_as_it_says_and_hidden_by_what_is_nearer(frame):
    touched = np.zeros(frame.side**2, bool)
    path = np.array([[-0.5, 0.1, 0.0], [0.5, 0.1, 0.0]], np.float32)
    frame.z[frame.x > 0] = 1.0
    frame.stroke(path, 0.3, np.array([0.5, 0.5, 0.5], np.float32), touched)
    assert not touched[frame.x > 0].any()
    area = touched.sum() * (frame.xs[1] - frame.xs[0]) ** 2
    assert area == pytest.approx(0.5 * 0.3 + np.pi * 0.15**2 / 2, rel=0.25)  # half of a bar, and its round end
