"""Uploads, good and bad, with a network that sees painted squares."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from sdgan_jax.demo import opened_photo
from sdgan_jax.demo.limits import Limits
from sdgan_jax.face3d import finding
from sdgan_jax.photos.finders import Finder
from tests.face3d.test_finding import LAYOUT, painted
from tests.photos.test_wearing import FINDER
from tfds_megn.photos import PhotoError

LIMITS = Limits(megabytes=1, megapixels=2, seconds=10, faces=12)


def encode(image, form="png", **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, form, **options)
    return file.getvalue()


def test_a_photo_is_read_with_its_faces():
    image = painted(240, 300, 150, 120, 150)
    photo = opened_photo.find_faces(opened_photo.read(encode(image), "a.png", LIMITS), FINDER, LIMITS)
    assert (photo.picture.pixels == image).all() and photo.notes == []
    (face,) = photo.faces
    assert 75 <= face.box[0] < 145 and 155 < face.box[2] <= 225 and 45 <= face.box[1] < face.box[3] <= 201  # the square
    assert photo.size >= image.nbytes


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", "a.png: empty file"),
        (b"no picture", "a.png: not an image, or its header is broken"),
        (encode(painted(1, 1, 0, 0, 1)), "a.png: tiny image (1 x 1; at least 16 x 16 is needed)"),
        (encode(painted(200, 200, 100, 96, 140))[:-200], "a.png: broken or truncated image ("),
        (encode(np.zeros((1500, 1500, 3), np.uint8)), "a.png: enormous image (more than 2 megapixels)"),
        (bytes(2**20 + 1), "a.png: enormous file (more than 1 MiB)"),
    ],
)
def test_a_bad_file_is_one_line(data, line):
    with pytest.raises(PhotoError, match=re.escape(line)):
        opened_photo.read(data, "a.png", LIMITS)


def test_a_photo_of_a_phone_is_read_or_names_the_extra():
    try:
        opened_photo.read(b"\0\0\0\x18ftypheic" + bytes(64), "a.heic", LIMITS)
    except PhotoError as error:
        assert "HEIC" in str(error) or "broken" in str(error)  # without and with the extra


def test_an_enormous_picture_is_refused_before_it_is_decoded(monkeypatch):
    data = encode(np.zeros((10_000, 10_000), np.uint8))  # 100 megapixels in 100 kB

    def load(self):
        raise AssertionError("decoded")

    monkeypatch.setattr(Image.Image, "load", load)
    with pytest.raises(PhotoError, match="more than 50 megapixels"):
        opened_photo.read(data, "a.png", Limits())


def test_of_an_animation_the_first_picture_is_used():
    first, second = painted(200, 200, 100, 96, 140), painted(200, 200, 60, 60, 40)
    data = encode(first, "gif", save_all=True, append_images=[Image.fromarray(second)], duration=100)
    photo = opened_photo.read(data, "a.gif", LIMITS)
    assert np.abs(photo.picture.pixels.astype(int) - first).max() < 40
    assert photo.notes == ["a.gif: the first picture of an animation is used"]


def crowd(count):
    """A search that finds so many faces in any photo, and records what it is asked for."""
    asked = []

    def find(image, *, most=None, enough=None):
        asked.append((most, enough))
        corners = [np.array([9 * k, 0, 9 * k + 8, 8], np.float32) for k in range(count)]
        return [finding.Found(np.zeros((32, 32, 3), np.float32), 0.001, box) for box in corners]

    return Finder(find, LAYOUT, "crowd"), asked


def test_of_three_hundred_faces_the_largest_are_offered():
    finder, asked = crowd(300)
    photo = opened_photo.read(encode(painted(200, 200, 100, 96, 140)), "a.png", LIMITS)
    found = opened_photo.find_faces(photo, finder, LIMITS)
    assert len(found.faces) == 12 and found.complete and asked == [(None, 1)]
    assert found.notes == ["a.png: 300 faces found; the 12 largest can be changed"]


def test_small_faces_are_looked_for_where_they_can_be_offered():
    finder, asked = crowd(3)
    photo = opened_photo.read(encode(painted(200, 200, 100, 96, 140)), "a.png", LIMITS)
    assert not opened_photo.find_faces(photo, finder, LIMITS).complete
    found = opened_photo.find_faces(photo, finder, LIMITS, small=True)
    assert found.complete and asked == [(None, 1), (None, None)]


def test_a_photo_without_a_face_says_so():
    photo = opened_photo.find_faces(
        opened_photo.read(encode(np.zeros((90, 90, 3), np.uint8)), "a.png", LIMITS), FINDER, LIMITS
    )
    assert photo.notes == ["a.png: no face found"] and photo.complete
    with pytest.raises(ValueError, match="a.png: no face found"):
        photo.choose(["1"])


def test_faces_are_chosen_by_number():
    finder, _ = crowd(3)
    photo = opened_photo.find_faces(opened_photo.from_pixels(np.zeros((90, 90, 3), np.uint8), "a"), finder, LIMITS)
    assert photo.choose(["3", 1]) == [0, 2]
    with pytest.raises(ValueError, match="no face is chosen"):
        photo.choose([])
    with pytest.raises(ValueError, match="there is no face 4; the faces are 1 to 3"):
        photo.choose(["4"])
