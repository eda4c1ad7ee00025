"""Crops of faces: drawn faces with known proportions, moved by known similarities, and rendered faces."""

import numpy as np
import pytest

import tfds_megn
from sdgan_jax.face3d import alignment, cutting, face_crop, finding, layout

RNG = np.random.default_rng(0)


def face(eyes=60.0, mouth=80.0):
    """Landmarks of an upright face: eyes on y = 0, mouth corners on y = `mouth`, the other points between and around.

    Its box is 200 wide and 180 high, from (-100, -60).
    """
    points = RNG.uniform([-90, -50], [90, 110], (68, 2))
    points[36:42] = [-eyes / 2, 0] + np.array([[-9, 0], [-3, -4], [3, -4], [9, 0], [3, 4], [-3, 4]])
    points[42:48] = points[36:42] + [eyes, 0]
    points[48], points[54] = (-25, mouth), (25, mouth)
    points[0], points[16], points[8], points[24] = (-100, 0), (100, 0), (0, 120), (30, -60)
    return points


def moved(points, scale, degrees, shift):
    """Turns points clockwise (y points down), scales and shifts them."""
    turn = np.exp(1j * np.deg2rad(degrees))
    complex_points = (points[:, 0] + 1j * points[:, 1]) * turn * scale
    return np.stack([complex_points.real, complex_points.imag], 1) + shift


SIMILARITIES = [(1.0, 0.0, (0, 0)), (2.5, 30.0, (300, 40)), (0.3, -75.0, (-9, 70)), (1.0, 170.0, (5, 5))]


@pytest.mark.parametrize("kind", ["megn", "ffhq"])
@pytest.mark.parametrize(("scale", "degrees", "shift"), SIMILARITIES)
def test_a_crop_moves_with_its_face(kind, scale, degrees, shift):
    points = face()
    first, second = (face_crop.CROPS[kind](p) for p in (points, moved(points, scale, degrees, shift)))
    assert first.degrees == pytest.approx(0, abs=1e-9) and second.degrees == pytest.approx(-degrees)
    np.testing.assert_allclose(second.square[:2], moved(first.square[None, :2], scale, degrees, shift)[0], atol=1e-6)
    assert second.square[2] == pytest.approx(scale * first.square[2])
    np.testing.assert_allclose(second.corners(), moved(first.corners(), scale, degrees, shift), atol=1e-6)


@pytest.mark.parametrize(("eyes", "mouth", "half"), [(60.0, 80.0, 144.0), (80.0, 60.0, 160.0)])
def test_an_ffhq_square_by_hand(eyes, mouth, half):
    """Half a side is 1.8 · 80 or 2 · 80; the centre lies a tenth of the way from the eyes to the mouth."""
    crop = face_crop.ffhq(face(eyes, mouth))
    np.testing.assert_allclose(crop.square, [0.0, 0.1 * mouth, 2 * half], atol=1e-9)
    np.testing.assert_allclose(crop.corners(), crop.square[:2] + half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]))


@pytest.mark.parametrize(("scale", "degrees", "shift"), SIMILARITIES)
def test_the_box_lies_as_in_rendered_pictures(scale, degrees, shift):
    points = moved(face(), scale, degrees, shift)
    crop = face_crop.megn(points)
    at = alignment.to_square(np.pad(points, ((0, 0), (0, 1))), crop.square, 64, crop.degrees)[:, :2]
    at = (at + 0.5) / 64  # in sides
    assert (np.ptp(at, axis=0)).mean() == pytest.approx(finding.MEGN.share)
    np.testing.assert_allclose(0.5 * (at.min(0) + at.max(0)), [finding.MEGN.x, finding.MEGN.y], atol=1e-9)


def test_the_crop_of_a_rendered_face_is_the_picture():
    """On average; scale, place and roll of the rendered faces differ."""
    texels = layout.megn(64).landmark_texels
    maps = [tfds_megn.position_map(tfds_megn.sample_params(person), 64) for person in range(60)]
    crops = [face_crop.megn((one * 1.0)[texels][:, :2]) for one in maps]
    squares = np.array([(*(crop.square[:2] + 0.5) / 64, crop.square[2] / 64) for crop in crops])
    np.testing.assert_allclose(squares.mean(0), [0.5, 0.5, 1.0], atol=0.03)
    assert 1.0 < np.std([crop.degrees for crop in crops]) < 6.0


def test_a_turned_ramp_is_cut_upright():
    """Red falls from the eyes to the chin of a face that lies on its side: from top to bottom in the cut."""
    x = np.arange(200)
    photo = np.zeros((200, 200, 3), np.uint8)
    photo[..., 0] = x  # the face's forehead is to the right: it lies turned clockwise by a quarter
    crop = face_crop.ffhq(moved(face(), 0.3, 90.0, (100, 100)))
    cut = crop.cut(cutting.halvings(photo), 32).astype(int)
    assert (np.diff(cut[:, 16, 0]) < 0).all() and np.ptp(cut[16, 4:-4, 0]) <= 1
    assert np.abs(cut[15:17, 16, 0].mean() - crop.square[0]) < 1.5


def test_points_at_one_place_give_a_square():
    for crop in (make(np.full((68, 2), 7.0)) for make in face_crop.CROPS.values()):
        assert crop.square[2] > 0 and np.isfinite(crop.corners()).all()
