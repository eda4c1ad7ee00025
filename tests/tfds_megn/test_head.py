"""Shadows of simple heads, and the pose against Rodrigues' formula."""

import numpy as np
import pytest

from tests.tfds_megn.rotations import rotation
from tfds_megn import head, surface
from tfds_megn.params import as_face, sample_params


def test_a_sphere_throws_no_shadow_on_its_bright_side_and_a_spike_does():
    grid = surface.directions(112)
    light = np.array([1.0, 0.0, 0.0], dtype=np.float32)
    ball = np.full((112, 112), 0.8, dtype=np.float32)
    bright = (grid.d[0] > 0.3) & (grid.d[2] > 0.1)
    assert head.cast_shadow(ball, grid, light)[bright].min() > 0.99
    spike = ball + 0.4 * np.exp(-((grid.d[0] - 0.5) ** 2 + grid.d[1] ** 2) / 0.005).astype(np.float32) * (grid.d[2] > 0)
    behind = (np.abs(grid.d[0] - 0.28) < 0.04) & (np.abs(grid.d[1]) < 0.04) & (grid.d[2] > 0)
    assert head.cast_shadow(spike, grid, light)[behind].max() < 0.3


@pytest.mark.parametrize("name,axis", [("yaw", (0, 1, 0)), ("pitch", (-1, 0, 0)), ("roll", (0, 0, 1))])
def test_each_angle_turns_about_its_own_axis(name, axis):
    face = as_face(sample_params(0))
    face.yaw = face.pitch = face.roll = 0.0
    setattr(face, name, 0.3)
    np.testing.assert_allclose(head.pose_matrix(face), rotation(axis, 0.3), atol=1e-6)


def test_the_pose_is_yaw_then_pitch_then_roll():
    face = as_face(sample_params(0))
    face.yaw, face.pitch, face.roll = 0.5, -0.2, 0.1
    expected = rotation((0, 0, 1), 0.1) @ rotation((-1, 0, 0), -0.2) @ rotation((0, 1, 0), 0.5)
    np.testing.assert_allclose(head.pose_matrix(face), expected, atol=1e-6)
