"""HTML of pictures: decoded again, and without what a visitor's file name could add."""

import base64
import io
import re

import numpy as np
from PIL import Image

from sdgan_jax.demo import views
from sdgan_jax.face3d.finding import Found


def decode(address):
    kind, data = re.fullmatch(r"data:image/(png|jpeg);base64,([\w+/=]+)", address).groups()
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert image.format.lower() == kind
    return np.asarray(image)


def test_small_pictures_are_exact_and_large_ones_shrunk():
    small = np.random.default_rng(0).integers(0, 256, (64, 48, 3)).astype(np.uint8)
    np.testing.assert_array_equal(decode(views.address(small)), small)
    large = decode(views.address(np.full((1000, 2560, 3), 90, np.uint8)))
    assert large.shape == (500, 1280, 3) and np.abs(large.astype(int) - 90).max() <= 2


def test_frames_stand_around_their_faces():
    faces = [Found(np.zeros((2, 2, 3)), 0.0, np.array(box, np.float32)) for box in ((20, 10, 60, 50), (70, 70, 80, 90))]
    found = views.frames(np.zeros((100, 120, 3), np.uint8), faces, {1})
    assert 'viewBox="0 0 120 100"' in found
    boxes = re.findall(r'<g class="(\w+)"><rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', found)
    assert boxes == [("other", "15.2", "5.2", "49.6", "49.6"), ("chosen", "67.6", "67.6", "14.8", "24.8")]
    assert re.findall(r">(\d+)</text>", found) == ["1", "2"]
    assert re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', found) == [("15.2", "5.2"), ("67.6", "67.6")]
    assert re.findall(r'r="([\d.]+)"', found) == ["3.8", "3.0"]  # 3.2 % of the photo's longer side, or 30 % of the box


def test_the_number_of_a_face_at_the_edge_is_in_the_picture():
    faces = [Found(np.zeros((2, 2, 3)), 0.0, np.array((-5, -9, 100, 90), np.float32))]
    found = views.frames(np.zeros((100, 100, 3), np.uint8), faces, {0})
    assert re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="([\d.]+)"', found) == [("3.2", "3.2", "3.2")]
    assert re.findall(r'<text x="([\d.]+)" y="([\d.]+)"', found) == [("3.2", "3.2")]
    faces = [Found(np.zeros((2, 2, 3)), 0.0, np.array((108, 96, 128, 116), np.float32))]  # beyond the lower right
    found = views.frames(np.zeros((90, 100, 3), np.uint8), faces, {0})
    assert re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="([\d.]+)"', found) == [("96.8", "86.8", "3.2")]


def test_names_of_files_add_no_markup():
    image, name = np.zeros((20, 20, 3), np.uint8), '"><script>alert(1)</script>.png'
    shown = [
        views.row([(image, name), (image, name)], name),
        views.comparison(image, image, "download/x", name),
        views.notes([name]),
        views.empty(name),
    ]
    for text in shown:
        assert "<script" not in text and "&lt;script&gt;" in text and '="">' not in text


def test_the_download_of_a_drawn_face_is_the_whole_png():
    image = np.random.default_rng(0).integers(0, 256, (600, 1400, 3)).astype(np.uint8)
    (href,) = re.findall(r'href="([^"]+)"', views.row([(image // 2, "before"), (image, "after")], "mask_seed0001.png"))
    np.testing.assert_array_equal(decode(href), image)


def test_a_link_says_what_is_downloaded():
    text = views.comparison(*[np.zeros((30, 40, 3), np.uint8)] * 2, "download/token", "a_mask.png")
    assert 'href="download/token" download="a_mask.png"' in text and "40 × 30" in text
    assert views.notes([]) == ""
