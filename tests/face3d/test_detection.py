"""Anchors, boxes and regions, beside facts of MediaPipe's graphs and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np

from sdgan_jax.face3d import detection


def test_anchors_are_those_of_mediapipe():
    anchors = detection.anchors()
    assert anchors.shape == (896, 2)
    # MediaPipe's ssd_anchors_calculator: strides 8, 16, 16, 16 at 128 pixels, two anchors of each stride, offset 0.5.
    np.testing.assert_allclose(anchors[[0, 1, 2, 31, 32]] * 32, [[1, 1], [1, 1], [3, 1], [31, 1], [1, 3]])
    np.testing.assert_allclose(anchors[[512, 517, 518, 895]] * 16, [[1, 1], [1, 1], [3, 1], [15, 15]])


def test_boxes_are_relative_to_their_anchors():
    numbers = np.zeros((896, 16), np.float32)
    numbers[512] = [8, -8, 32, 64, *range(12)]  # pixels of 128
    boxes, points = detection.decode(jnp.asarray(numbers))
    middle = np.array([1 / 16 + 8 / 128, 1 / 16 - 8 / 128])
    np.testing.assert_allclose(boxes[512], [*(middle - [1 / 8, 1 / 4]), *(middle + [1 / 8, 1 / 4])], atol=1e-6)
    np.testing.assert_allclose(points[512], 1 / 16 + np.arange(12).reshape(6, 2) / 128, atol=1e-6)


def test_a_turned_region_is_cut_upright():
    y, x = np.mgrid[:60, :80].astype(np.float32)
    image = jnp.asarray(np.stack([x, y, 0 * x], -1))  # each pixel contains its own place
    eyes = jnp.array([[20.0, 20.0], [40.0, 40.0]])  # 45 degrees clockwise
    region = detection.region_around(eyes, *eyes)
    np.testing.assert_allclose(region, [30, 30, 1.5 * 20, np.pi / 4], atol=1e-5)
    cut = detection.cut(image, region, 8)
    across = cut[0, 7] - cut[0, 0]
    np.testing.assert_allclose(across[:2], np.full(2, 30 * 7 / 8 / np.sqrt(2)), atol=1e-3)
    np.testing.assert_allclose(cut.mean((0, 1))[:2], [30, 30], atol=1e-3)
    back = detection.from_region(jnp.array([[0.5 / 8, 0.5 / 8, 0.25]]), region)[0]
    np.testing.assert_allclose(back[:2], cut[0, 0, :2], atol=1e-3)
    np.testing.assert_allclose(back[2], 30 * 0.25, atol=1e-5)


def test_gradients_are_finite_where_the_eyes_coincide():
    slope = jax.grad(lambda p: detection.region_around(p, p[0], p[1]).sum())(jnp.ones((2, 2)))
    assert np.isfinite(slope).all()


def test_of_overlapping_boxes_the_best_remains():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30], [8, 0, 18, 10]], np.float32)
    assert detection.suppress(boxes, np.array([0.6, 0.9, 0.7, 0.8])) == [1, 3, 2]
    assert detection.suppress(np.zeros((0, 4)), np.zeros(0)) == []
    parts = np.array([[0, 0, 10, 10], [4, 4, 8, 8], [8, 0, 12, 4]], np.float32)  # the second inside, half of the third
    assert detection.suppress(parts, np.array([0.9, 0.8, 0.7])) == [0, 1, 2]
    assert detection.suppress(parts, np.array([0.9, 0.8, 0.7]), inside=0.6) == [0, 2]
    assert detection.suppress(parts, np.array([0.9, 0.8, 0.7]), known=1) == [0, 2]
