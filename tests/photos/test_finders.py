"""The network that comes with the project, as commands use it."""

import numpy as np

from sdgan_jax.face3d import layout
from sdgan_jax.photos import finders


def test_the_network_of_the_project_is_the_default():
    finder = finders.read_finder()
    assert finder.layout is layout.megn(64) and finder.name == finders.read_finder().name
    assert finder.find(np.full((8, 8, 3), 90, np.uint8), most=1) == []
