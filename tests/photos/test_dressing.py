"""Several faces in one picture, dressed in one colour each."""

import types

import numpy as np

from sdgan_jax.face3d import finding, layout
from sdgan_jax.photos import dressing

LAYOUT = layout.megn(32)


def face_at(x, y, side):
    position_map = np.asarray(LAYOUT.head) * side / 2 + np.array([x, y, 0])
    return finding.Found(position_map, 0.0, finding.box_of(position_map, LAYOUT))


def fill(image, position_map, chosen, layout):
    """Fills the box of the face with a colour."""
    image = image.copy()
    left, top, right, bottom = finding.box_of(position_map, layout).astype(int)
    image[top:bottom, left:right] = chosen["mask"]
    return image


def test_near_faces_and_what_they_wear_are_in_front():
    near, far = face_at(60, 60, 80), face_at(95, 60, 60)
    image = np.full((120, 140, 3), 9, np.uint8)
    bare = {"mask": image[0, 0]}
    out = dressing.dress(image, [near, far], [bare, {"mask": np.array([0, 200, 0])}], LAYOUT, fill)
    rows, columns = np.nonzero(out[..., 1] == 200)
    assert len(rows) and columns.min() > near.box[2] - 10  # the face in front covers the left of the box
    assert (out[60:80, 110:114, 1] == 200).all()
    both = dressing.dress(
        image, [near, far], [{"mask": np.array([200, 0, 0])}, {"mask": np.array([0, 200, 0])}], LAYOUT, fill
    )
    left, top, right, bottom = near.box.astype(int)
    assert (both[top:bottom, left:right] == [200, 0, 0]).all()
    assert (image == 9).all()
    one = dressing.dress(image, [near, far], [{}, {"mask": np.array([0, 200, 0])}], LAYOUT, fill)
    assert (one[60, :85] == 9).all() and (one[60, 110] == [0, 200, 0]).all()  # what wears nothing is in front, too


def test_a_silhouette_is_an_ellipse_of_the_size_of_the_face():
    face = face_at(60, 60, 80)
    share = dressing.silhouette(face.position_map, LAYOUT, 120, 120)
    there = np.asarray(LAYOUT.face)
    points = face.position_map[there][:, :2]
    width, height = np.ptp(points, axis=0)
    # The outline of the face is about an ellipse; its pixels are counted.
    assert 0.75 * np.pi / 4 < share.sum() / (width * height) < 1.25 * np.pi / 4
    assert share[60, 60] == 1 and share[:10].sum() == share[:, :10].sum() == 0
    assert ((share > 0) & (share < 1)).sum() < 4 * (width + height)


def test_a_silhouette_lies_at_the_centres_of_pixels():
    """From the edge between two pixels to another one; Pillow's outlines are a quarter of a pixel wide here."""
    y, x = np.meshgrid(np.linspace(9.5, 29.5, 33), np.linspace(4.5, 34.5, 33), indexing="ij")
    everywhere = types.SimpleNamespace(face=np.ones((33, 33), bool))
    share = dressing.silhouette(np.stack([x, y, 0 * x], -1), everywhere, 40, 50)
    expected = np.zeros((40, 50))
    expected[10:30, 5:35] = 1.0
    assert np.abs(share - expected).max() < 0.45
