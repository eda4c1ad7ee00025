"""Colours and lines of the bare face against closed forms."""

import numpy as np

from tfds_megn import skin
from tfds_megn.params import as_face, sample_params


def test_linear_is_the_square():
    np.testing.assert_allclose(skin.linear(0.0, 0.5, 1.0), [0.0, 0.25, 1.0])


def test_blending_moves_a_colour_by_its_share():
    colour = np.zeros((3, 2), np.float32)
    skin.blend(colour, np.array([1.0, 0.5, 0.0], np.float32), np.array([0.5, 1.0], np.float32))
    np.testing.assert_allclose(colour, [[0.5, 1.0], [0.25, 0.5], [0.0, 0.0]])


def test_the_corners_of_a_smiling_mouth_are_raised():
    face = as_face(sample_params(0))
    face.smile = 1.0
    half = face.mouth_width * 1.14
    x, line = skin.lip_line(face, np.array([-half, 0.0, half]))
    np.testing.assert_allclose(x, [-1, 0, 1], atol=1e-6)
    np.testing.assert_allclose(line, face.mouth_height + np.array([-0.05, 0.012, -0.05]), atol=1e-6)


def test_lids_and_lips_meet_at_their_corners():
    face = as_face(sample_params(2))
    _, top, bottom = skin.lid_lines(face, np.array([-1.0, 0.0, 1.0]))
    np.testing.assert_allclose(top[[0, 2]], bottom[[0, 2]], atol=1e-6)
    assert top[1] < bottom[1]
    upper, lower, gap = skin.lip_reach(face, np.array([-1.0, 1.0]))
    assert not upper.any() and not lower.any() and not gap.any()


def test_the_skin_is_painted_with_its_colour_and_lips_with_theirs():
    face = as_face(sample_params(1))
    face.blush = face.freckles = face.age = face.stubble = face.mouth_open = 0.0
    s, t, q = (np.array(v, np.float32) for v in ([0.0, 0.0], [-0.5, face.mouth_height + 0.04], [0.7, 0.7]))
    albedo, gloss = skin.paint(face, s, t, q, 0.001)
    np.testing.assert_allclose(albedo[:, 0], skin.linear(face.skin_r, face.skin_g, face.skin_b), rtol=0.05)
    lip = skin.linear(face.lip_r, face.lip_g, face.lip_b)
    ratio = albedo[:, 1] / albedo[1, 1]
    np.testing.assert_allclose(ratio, lip / lip[1], rtol=0.25)
    assert gloss[1] > gloss[0]
