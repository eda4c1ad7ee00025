"""The shelf keeps values for a while and as many as fit; the clock is set by hand."""

import pytest

from sdgan_jax.demo.shelf import Shelf


def kept(shelf, *tokens):
    found = []
    for token in tokens:
        try:
            found.append(shelf.get(token))
        except ValueError as error:
            assert str(error) == "the photo is no longer kept here; upload it again"
            found.append(None)
    return found


def test_tokens_are_long_and_each_its_own():
    shelf = Shelf(100, 10)
    first, second = shelf.put("a", 1), shelf.put("a", 1)
    assert first != second and len(first) >= 22  # 128 bits in base64
    assert kept(shelf, first, second, "guess", None) == ["a", "a", None, None]


def test_the_least_recently_used_make_room():
    shelf = Shelf(100, 10)
    first, second = shelf.put("a", 40), shelf.put("b", 40)
    shelf.get(first)
    third = shelf.put("c", 40)
    assert kept(shelf, first, second, third) == ["a", None, "c"]
    huge = shelf.put("d", 1000)
    assert kept(shelf, first, third, huge) == [None, None, "d"]  # what came last is there at least


def test_time_counts_from_the_last_use():
    time = [0.0]
    shelf = Shelf(100, 10, lambda: time[0])
    first, second = shelf.put("a", 1), shelf.put("b", 1)
    time[0] = 8.0
    shelf.get(first)
    time[0] = 12.0
    shelf.sweep()
    assert len(shelf) == 1 and kept(shelf, first, second) == ["a", None]


def test_what_is_dropped_is_gone():
    shelf = Shelf(100, 10)
    token = shelf.put("a", 1)
    shelf.drop(token)
    shelf.drop(token)
    shelf.drop(None)
    with pytest.raises(ValueError, match="upload it again"):
        shelf.get(token)
