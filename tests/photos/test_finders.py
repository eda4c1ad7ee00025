"""The network that comes with the project, as commands use it."""

import threading

import numpy as np
import pytest
from etils import epath

import tfds_megn
from sdgan_jax import pretrained
from sdgan_jax.data.photo_files import PhotoFile
from sdgan_jax.face3d import finding, layout
from sdgan_jax.photos import finders
from tfds_megn import varied
from tfds_megn.params import PARAM_NAMES
from tfds_megn.photos import Picture


def test_the_network_for_photos_is_the_default():
    finder = finders.read_finder()
    assert finder.layout is layout.megn(64)
    assert finder.name == finders.read_finder(pretrained.SHIPPED / "photos64").name
    assert finder.name != finders.read_finder(pretrained.SHIPPED / "prnet64").name
    assert finder.find(np.full((8, 8, 3), 90, np.uint8), most=1) == []


def test_numbers_of_faces():
    assert [finders.read_most(text) for text in ("all", "largest", "1", "12")] == [None, 1, 1, 12]
    for text in ("0", "-1", "few", "", "1.5", "²"):
        with pytest.raises(ValueError, match=f"--faces={text}: give all, largest, or a number"):
            finders.read_most(text)


def test_a_face_is_described_by_its_angles_in_degrees():
    angles, params = {"yaw": 20.0, "pitch": -10.0, "roll": 5.0}, tfds_megn.sample_params(3)
    for name, angle in angles.items():
        params[PARAM_NAMES.index(name)] = np.deg2rad(angle)
    position_map, known = tfds_megn.position_map(params, 64), layout.megn(64)
    face = finding.Found(position_map, 0.0123456, finding.box_of(position_map, known))
    found = finders.describe(face, known)
    assert {name: found[name] for name in angles} == pytest.approx(angles, abs=3.0)
    box = tfds_megn.landmarks(params, 64)[:, :2]
    sides = [found[name] for name in ("left", "top", "right", "bottom")]
    assert sides == pytest.approx([*box.min(0), *box.max(0)], abs=1.0) and found["score"] == 0.0123


def _photos(count: int, side: int = 8):
    for k in range(count):
        yield PhotoFile(f"{k}.png", epath.Path(f"{k}.png")), Picture(np.full((side, side, 3), k, np.uint8), *3 * [None])


def test_the_next_photos_are_searched_while_one_is_worked_on():
    begun = [threading.Event() for _ in range(5)]

    def find(pixels, *, most=None, enough=None):
        begun[pixels[0, 0, 0]].set()
        return [(int(pixels[0, 0, 0]), most)]

    order = []
    for photo, picture, faces in finders.find_ahead(_photos(5), finders.Finder(find, layout.megn(64), ""), 3):
        order.append((photo.name, int(picture.pixels[0, 0, 0]), *faces))
        assert all(one.wait(10.0) for one in begun[: len(order) + 2])
    assert order == [(f"{k}.png", k, (k, 3)) for k in range(5)]


def test_the_search_of_other_photos_goes_on_beside_a_long_one():
    others = threading.Semaphore(0)

    def find(pixels, **_):
        long = pixels[0, 0, 0] == 1
        found = [others.acquire(timeout=10.0) for _ in range(5)] if long else [others.release()]
        return [all(found) if long else None]

    found = [faces for *_, faces in finders.find_ahead(_photos(8), finders.Finder(find, layout.megn(64), ""))]
    assert found == [[None], [True], *6 * [[None]]]


def test_searches_that_nobody_waits_for_are_cancelled():
    searched, going_on = [], threading.Event()

    def find(pixels, **_):
        searched.append(int(pixels[0, 0, 0]))
        if searched[-1]:
            going_on.wait(10.0)
        return []

    ahead = finders.find_ahead(_photos(8), finders.Finder(find, layout.megn(64), ""))
    next(ahead)
    ahead.close()
    going_on.set()
    for thread in threading.enumerate():
        if thread.name.startswith("ThreadPoolExecutor"):
            thread.join(10.0)
    assert set(searched) <= {0, 1, 2}


def test_large_photos_are_not_read_ahead(monkeypatch):
    monkeypatch.setattr(finders, "_BYTES", 200)
    read, finder = [], finders.Finder(lambda pixels, **_: [], layout.megn(64), "")
    photos = (read.append(photo) or (photo, picture) for photo, picture in _photos(3, side=9))
    assert [len(read) for _ in finders.find_ahead(photos, finder)] == [1, 2, 3]
    read.clear()
    photos = (read.append(photo) or (photo, picture) for photo, picture in _photos(3, side=8))
    assert [len(read) for _ in finders.find_ahead(photos, finder)] == [2, 3, 3]


def test_an_error_of_a_search_reaches_the_caller():
    def find(pixels, *, most=None, enough=None):
        raise MemoryError(f"photo {pixels[0, 0, 0]}")

    with pytest.raises(MemoryError, match="photo 0"):
        list(finders.find_ahead(_photos(2), finders.Finder(find, layout.megn(64), "")))


def test_faces_larger_than_the_photo_are_found():
    """Natural faces of four people, cut a little inside of brows, ears and chin."""
    finder, found = finders.read_finder(), 0
    for person in range(26, 30):
        params = varied.sample_natural(person)
        truth = tfds_megn.landmarks(params, 256)[:, :2]
        low, high = truth.min(0), truth.max(0)
        centre, half = 0.5 * (low + high), 0.5 * (high - low).mean() / 1.08
        (left, top), (right, bottom) = np.round(centre - half).astype(int), np.round(centre + half).astype(int)
        photo = np.ascontiguousarray(tfds_megn.render(params, "none", 256)[top:bottom, left:right])
        for face in finder.find(photo):
            found += np.abs(finders.landmarks(face, finder.layout)[:, :2] + [left, top] - truth).mean() < 6
    assert found == 4
