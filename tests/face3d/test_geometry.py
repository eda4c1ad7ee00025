"""Landmarks, normals and pose against closed forms, scipy's rotations, and the parameters of rendered faces."""

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import tfds_megn
from sdgan_jax.face3d import geometry, layout
from tests.face3d.surfaces import sphere

SIZE = 64
LAYOUT = layout.megn(SIZE)
POSE = jax.jit(geometry.pose)


def test_sampling_a_ramp_is_exact():
    table = np.stack(np.meshgrid(np.arange(7.0), 3 * np.arange(5.0)), -1).astype(np.float32)  # [5,7,2]
    uv = np.random.default_rng(0).uniform(0.1, 0.9, (20, 2)).astype(np.float32)
    expected = uv * [7, 5] - 0.5
    np.testing.assert_allclose(jax.jit(geometry.sample)(table, uv), expected * [1, 3], atol=1e-5)


def test_landmarks_are_those_of_the_dataset():
    params = tfds_megn.sample_params(3, 1)
    found = jax.jit(geometry.landmarks)(tfds_megn.position_map(params, 256), layout.megn(256))
    np.testing.assert_allclose(found, tfds_megn.landmarks(params, 256), atol=0.3)
    box = jax.jit(geometry.face_box)(tfds_megn.position_map(params, 256), layout.megn(256))
    truth = tfds_megn.landmarks(params, 256)[:, :2]
    np.testing.assert_allclose(box, [*truth.min(0), *truth.max(0)], atol=0.3)


def test_normals_of_a_sphere_point_outwards():
    points, expected = sphere(48, 1.2, 20.0, (30, 30, 5))
    found = jax.jit(geometry.normals)(points)
    np.testing.assert_allclose(found[2:-2, 1:-1], expected[2:-2, 1:-1], atol=2e-3)


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0.5, -0.2, 0.1), (-1.0, 0.3, -0.6)])
def test_the_pose_of_the_mean_head_is_exact(yaw, pitch, roll):
    turn = Rotation.from_euler("ZXY", [roll, -pitch, yaw]).as_matrix()  # pitch is positive downwards
    found = POSE((23.0 * LAYOUT.head @ turn.T + [30, 31, 4]).astype(np.float32), LAYOUT)
    np.testing.assert_allclose(found.rotation, turn, atol=1e-4)
    np.testing.assert_allclose([found.yaw, found.pitch, found.roll], [yaw, pitch, roll], atol=1e-4)
    np.testing.assert_allclose([found.scale, *found.translation], [23, 30, 31, 4], rtol=1e-4)


def test_the_pose_of_rendered_faces_is_that_of_their_parameters():
    off = []
    for k in range(12):
        params = tfds_megn.sample_params(k, 2)
        truth = dict(zip(tfds_megn.PARAM_NAMES, params))
        found = POSE(tfds_megn.position_map(params, SIZE), LAYOUT)
        off.append([float(getattr(found, name)) - truth[name] for name in ("yaw", "pitch", "roll")])
        assert float(found.scale) == pytest.approx(truth["scale"] * SIZE / 2, rel=0.08)
        np.testing.assert_allclose(found.translation[0], (truth["shift_x"] + 1) * SIZE / 2 - 0.5, atol=0.04 * SIZE)
    # A face of another shape than the mean looks a little turned.
    assert np.abs(np.rad2deg(off)).max(0) == pytest.approx([0, 0, 0], abs=4.0)


def test_head_and_picture_are_each_others_inverse():
    found = POSE(tfds_megn.position_map(tfds_megn.sample_params(1), SIZE), LAYOUT)
    points = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    there = geometry.to_picture(points, found)
    np.testing.assert_allclose(there, float(found.scale) * points @ found.rotation.T + found.translation, rtol=1e-5)
    np.testing.assert_allclose(geometry.to_head(there, found), points, atol=1e-5)
