"""The network that comes with the project, as commands use it."""

import numpy as np
import pytest

from sdgan_jax import pretrained
from sdgan_jax.face3d import layout
from sdgan_jax.photos import finders


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
