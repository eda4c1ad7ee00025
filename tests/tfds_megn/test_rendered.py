"""Splits of the rendered faces and their PNG files."""

import collections
import io

import numpy as np
import PIL.Image
import pytest

from tfds_megn import rendered
from tfds_megn.params import ATTRIBUTES, sample_params
from tfds_megn.render import render


def test_sizes_are_80_10_10():
    sizes = {split: len(rendered.split_faces(split, 10_000)) for split in rendered.SPLITS}
    assert sizes == {"train": 8000, "validation": 1000, "test": 1000}


@pytest.mark.parametrize("num_images", [30, 61, 1234, 10_000])
def test_counts_people_and_balance(num_images):
    people = collections.Counter()
    names = collections.Counter()
    for split in rendered.SPLITS:
        faces = rendered.split_faces(split, num_images)
        counts = np.bincount([face.attribute for face in faces], minlength=6)
        assert counts.max() - counts.min() <= 1
        people.update({face.identity for face in faces})
        names.update(face.id for face in faces)
        per_person = collections.Counter(face.identity for face in faces)
        assert sorted(per_person.values())[1:] == [6] * (len(per_person) - 1)
    assert max(people.values()) == 1  # nobody is in two splits
    assert len(names) == num_images and max(names.values()) == 1


def test_a_person_keeps_the_split_at_any_number():
    few, many = (
        {face.identity: split for split in rendered.SPLITS for face in rendered.split_faces(split, count)}
        for count in (300, 3000)
    )
    assert few.items() <= many.items()


def test_neighbours_are_different_people():
    people = [face.identity for face in rendered.split_faces("train", 10_000)]
    assert np.mean(np.diff(people) == 0) < 0.01  # in random order: 5 / 7999


def test_sizes_are_rounded_towards_train():
    assert rendered.split_sizes(34) == {"train": 28, "validation": 3, "test": 3}


def test_few_images_are_refused():
    rendered.check_num_images(30)
    with pytest.raises(ValueError, match="num_images=29 is too few; at least 30"):
        rendered.check_num_images(29)


@pytest.mark.parametrize(("size", "faces_per_task"), [(32, 32), (64, 8), (128, 2), (256, 1)])
def test_tasks_are_a_cut_of_the_faces(size, faces_per_task):
    faces = rendered.split_faces("train", 100)
    tasks = rendered.render_tasks(faces, size)
    assert [face for members, _ in tasks for face in members] == faces
    assert {len(members) for members, _ in tasks[:-1]} <= {faces_per_task} and all(side == size for _, side in tasks)


def test_examples_are_the_render_of_their_params():
    faces = (rendered.Face(3, 1, 0), rendered.Face(12, 4, 4))
    examples = rendered.render_examples((faces, 32))
    assert [example["id"] for example in examples] == ["000003_1_none", "000012_4_beard"]
    assert [example["identity"] for example in examples] == [3, 12]
    assert [example["attributes"].tolist() for example in examples] == [[False] * 5, [False] * 3 + [True, False]]
    for face, example in zip(faces, examples, strict=True):
        params = sample_params(face.identity, face.variant)
        np.testing.assert_array_equal(example["params"], params)
        image = np.asarray(PIL.Image.open(io.BytesIO(example["image"])))
        np.testing.assert_array_equal(image, render(params, ATTRIBUTES[face.attribute], 32))
