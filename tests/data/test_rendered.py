"""Rendered faces in memory: pairs, bare faces, position maps and batches."""

import numpy as np
import pytest

import tfds_megn
from sdgan_jax.data import rendered
from sdgan_jax.data.rendered import Faces
from tests.data.noise_faces import make_faces


def test_pairs():
    faces = make_faces(7)
    pairs = rendered.draw_pairs(faces, 1000, 300)
    first, second = [faces.identities[rows] for rows in (pairs.first, pairs.second)]
    np.testing.assert_array_equal(first == second, pairs.same)
    assert np.all(faces.labels[pairs.second] > 0) and np.all(pairs.first != pairs.second)
    # Of each of 7 persons there are three photographs, of which two wear something.
    assert pairs.same.sum() == 7 * 3 and (~pairs.same).sum() == 300
    of_one = zip(pairs.first[pairs.same], pairs.second[pairs.same], strict=True)
    assert len({frozenset(pair) for pair in of_one}) == 21
    assert set(faces.labels[pairs.first]) == {0, 1, 2}
    again = rendered.draw_pairs(faces, 1000, 300)
    np.testing.assert_array_equal(again.second, pairs.second)
    assert rendered.draw_pairs(faces, 5, 300).same.sum() == 5


def test_bare_faces_are_those_of_the_renderer():
    params = np.stack([tfds_megn.sample_params(identity, 1) for identity in range(2)])
    images = tfds_megn.render(params, "mask", 16)
    faces = Faces(images, np.int32([1, 1]), np.int32([0, 1]), params)
    np.testing.assert_array_equal(rendered.bare(faces), tfds_megn.render(params, "none", 16))


def test_rendered_faces_wear_what_is_asked_for():
    params = np.stack([tfds_megn.sample_params(identity) for identity in range(4)])
    names, counted = ["mask", "none", "beard", "mask"], []
    images = rendered.render(params, names, 16, counted.append)
    np.testing.assert_array_equal(images, tfds_megn.render(params, names, 16))
    assert sum(counted) == 4


def test_position_maps_are_those_of_the_renderer():
    params = np.stack([tfds_megn.sample_params(identity) for identity in range(3)])
    maps = rendered.position_maps(params, 16)
    np.testing.assert_array_equal(maps, [tfds_megn.position_map(one, 16) for one in params])


def test_batches_of_processes_are_parts_of_one_batch():
    arrays = {"x": np.arange(20), "y": np.arange(20) * 2}
    whole = rendered.Batches(arrays, 8, seed=3)
    parts = [rendered.Batches(arrays, 8, 3, (index, 2)) for index in range(2)]
    for _ in range(3):
        batch, halves = next(whole), [next(part) for part in parts]
        np.testing.assert_array_equal(batch["x"], np.concatenate([half["x"] for half in halves]))
        np.testing.assert_array_equal(batch["y"], 2 * batch["x"])
        assert len(set(batch["x"])) == 8
    whole.position = 1
    again = rendered.Batches(arrays, 8, seed=3)
    next(again)
    np.testing.assert_array_equal(next(whole)["x"], next(again)["x"])


@pytest.mark.parametrize(("size", "processes", "line"), [(9, 2, "multiple of the 2 processes"), (32, 1, "only 20")])
def test_batches_that_cannot_be_are_refused(size, processes, line):
    with pytest.raises(ValueError, match=line):
        rendered.Batches({"x": np.arange(20)}, size, 0, (0, processes))
