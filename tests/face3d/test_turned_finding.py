"""Faces at any angle: with a search that sees an arrow when it stands upright, and with the network for photos."""

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

import tfds_megn
from sdgan_jax.face3d import alignment, finding, layout, turned_finding
from sdgan_jax.face3d.finding import Found
from sdgan_jax.photos import finders
from tfds_megn import varied

LAYOUT = layout.megn(32)
THRESHOLD = 0.02
MIDDLE = np.unravel_index(np.linalg.norm(LAYOUT.head[..., :2], axis=-1).argmin(), LAYOUT.head.shape[:2])


def arrow(height, width, x, y, side, degrees=0.0):
    """A photo of a red disc above a blue one, turned clockwise about the middle between them."""
    picture = Image.new("RGB", (width, height), (60, 60, 60))
    pen, turn = ImageDraw.Draw(picture), np.deg2rad(degrees)
    for sign, colour in ((-1, (250, 0, 0)), (1, (0, 0, 250))):
        disc = np.array([x - sign * 0.4 * side * np.sin(turn), y + sign * 0.4 * side * np.cos(turn)])
        pen.ellipse([*(disc - 0.2 * side), *(disc + 0.2 * side)], fill=colour)
    return np.asarray(picture)


def face_at(x, y, side, score):
    """The mean face, 1.2 sides high."""
    points = (LAYOUT.head * 0.5 * side + np.array([x, y, 0.0])).astype(np.float32)
    return Found(points, score, finding.box_of(points, LAYOUT))


class Upright:
    """Sees an arrow within `slack` degrees of the upright; `elsewhere` it sees a face, where no arrow is upright."""

    def __init__(self, score=0.004, elsewhere=None, slack=20.0):
        self.score, self.elsewhere, self.slack, self.seen = score, elsewhere, slack, []

    def __call__(self, image, *, most=None, enough=None, thorough=True):
        self.seen.append((image.shape[:2], most, thorough))
        red, blue = (image[..., k].astype(int) - image[..., 2 - k] > 120 for k in (0, 2))
        (y0, x0), (y1, x1) = (np.array(ndimage.center_of_mass(disc)) for disc in (red, blue))
        if abs(np.rad2deg(np.arctan2(x0 - x1, y1 - y0))) > self.slack:
            return [self.elsewhere] if self.elsewhere is not None and thorough else []
        return [face_at((x0 + x1) / 2, (y0 + y1) / 2, np.hypot(x1 - x0, y1 - y0) / 0.8, self.score)]


def find(image, upright, **limits):
    return turned_finding.find_all(image, upright, LAYOUT, THRESHOLD, **limits)


def place(face):
    """Returns x and y of the point that `face_at` places."""
    return face.position_map[MIDDLE][:2]


def roll(face):
    """Clockwise angle of the line from the chin to the bridge of the nose, in degrees."""
    points = face.position_map[LAYOUT.landmark_texels]
    right, down = (points[8] - points[27])[:2]
    return np.rad2deg(np.arctan2(-right, down))


@pytest.mark.parametrize("degrees", [0, 40, 75, 90, 135, 180, 200, 300, 345])
def test_a_face_is_found_at_any_angle(degrees):
    (face,) = find(arrow(300, 500, 320, 130, 100, degrees), Upright())
    np.testing.assert_allclose(place(face), [320, 130], atol=4)
    np.testing.assert_array_equal(face.box, finding.box_of(face.position_map, LAYOUT))
    assert abs((roll(face) - degrees + 180) % 360 - 180) < 21


def test_faces_of_large_photos_are_found_in_smaller_copies():
    upright = Upright()
    (face,) = find(arrow(1500, 3000, 2000, 800, 500, 90), upright)
    np.testing.assert_allclose(place(face), [2000, 800], atol=20)
    assert [shape for shape, _, _ in upright.seen] == [(1500, 3000), (640, 640), (640, 640)]


def test_an_upright_face_is_searched_once():
    upright = Upright()
    find(arrow(300, 300, 150, 130, 100), upright, most=2)
    assert upright.seen == [((300, 300), 2, True)]


def test_where_there_is_no_face_all_angles_are_searched():
    upright = Upright(slack=-1.0)
    assert find(arrow(300, 300, 150, 130, 100), upright) == []
    assert [thorough for _, _, thorough in upright.seen] == [True] + [False] * 11


def test_doubtful_turned_faces_are_none():
    photo = arrow(300, 500, 250, 150, 100, 75)
    assert len(find(photo, Upright(score=0.012))) == 1
    assert find(photo, Upright(score=0.013)) == []


@pytest.mark.parametrize(("score", "places"), [(0.008, [(240, 150)]), (0.015, []), (0.017, [(250, 165)])])
def test_a_doubtful_upright_face_gives_way_to_a_better_one_upside_down(score, places):
    """A sure one takes its place; where that one is doubtful as well, there is no face."""
    wrong = face_at(250, 165, 80, 0.0165)
    found = find(arrow(300, 500, 240, 150, 100, 180), Upright(score, wrong))
    np.testing.assert_allclose(
        np.reshape([place(face) for face in found], (-1, 2)), np.reshape(places, (-1, 2)), atol=4
    )


def test_a_sure_upright_face_stays():
    sure, upright = face_at(250, 190, 80, 0.01), Upright(0.001)
    upright.elsewhere = sure
    assert find(arrow(300, 500, 240, 150, 100, 180), upright) == [sure]
    assert len(upright.seen) == 1


def test_the_network_for_photos_finds_faces_at_any_angle():
    """Natural faces, whose landmarks are known, lying, upside down and tilted."""
    finder, whole = finders.read_finder(), np.array([127.5, 127.5, 256.0])
    for person, degrees in ((26, 90), (27, 180), (28, 222)):
        params = varied.sample_natural(person)
        photo = alignment.cut(tfds_megn.render(params, "none", 256), whole, 256, degrees)
        truth = alignment.to_square(tfds_megn.landmarks(params, 256), whole, 256, degrees)[:, :2]
        (face,) = finder.find(photo)
        assert np.abs(finders.landmarks(face, finder.layout)[:, :2] - truth).mean() < 6
