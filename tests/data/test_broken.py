"""Replacement of broken images, without a data set."""

import types

import pytest

from sdgan_jax.data import broken


def read_all_but(*numbers):
    def read(number):
        if number in numbers:
            raise broken.BrokenImageError(f"no {number}")
        return number

    return read


@pytest.mark.parametrize(
    ("bad", "indices", "images", "skipped"),
    [
        ((), [3, 0, 3], [3, 0, 3], set()),
        ((3,), [3, 0, 3], [4, 0, 4], {3}),
        ((3, 4), [3, 4, 2], [5, 5, 2], {3, 4}),
        ((5, 0), [5, 1], [1, 1], {5, 0}),  # after the last comes the first
        ((1,), [0, 2], [0, 2], set()),  # nobody asks for it
    ],
)
def test_the_next_whole_image_takes_the_place(bad, indices, images, skipped):
    found, reasons = broken.read_or_replace(read_all_but(*bad), 6, indices, most=2)
    assert found == images and reasons == {number: f"no {number}" for number in skipped}


@pytest.mark.parametrize(("count", "most"), [(6, 1), (2, 5)])
def test_reading_stops_at_too_many_broken_images_or_where_none_is_whole(count, most):
    found, reasons = broken.read_or_replace(read_all_but(*range(6)), count, [0, 1], most)
    assert found == [] and set(reasons) == {0, 1}


def test_an_image_is_named_with_its_record():
    files = [types.SimpleNamespace(filename=f"f{i}", skip=2 * i, examples_in_shard=3) for i in range(2)]
    info = types.SimpleNamespace(splits={"train": types.SimpleNamespace(file_instructions=files)})
    source = types.SimpleNamespace(dataset_info=info, split="train")
    for index, place in ((0, "record 0 of f0"), (2, "record 2 of f0"), (3, "record 2 of f1"), (5, "record 4 of f1")):
        assert str(broken.make_error("d", source, index, "bad\nbits")) == f"d, image {index}: bad bits ({place})"
