"""The state dicts that these tests make have the names and shapes of real ones."""

import json

import numpy as np
import pytest

from tests.importers import states
from tests.nets import golden

WIDE = (512, 512, 512, 512)


def shapes(state):
    return {key: np.shape(array) for key, array in state.items()}


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("ada_g32_c0", lambda: states.nvlabs_g(WIDE, 512, 8)),
        ("ada_d32_c0", lambda: states.nvlabs_d(WIDE)),
        ("rosinality_g32", lambda: states.rosinality_g(states.nvlabs_g(WIDE, 512, 8))),
        ("rosinality_d32", lambda: states.rosinality_d(states.nvlabs_d(WIDE))),
    ],
)
def test_names_and_shapes_are_those_of_the_reference(name, make):
    assert shapes(make()) == shapes(golden.load(name)[1])


def test_names_and_shapes_of_the_identity_network():
    made = states.irse((3, 4, 14, 3), (64, 128, 256, 512), 7, 512)
    assert shapes(made) == golden.shapes("irse50")


def test_names_and_shapes_of_the_official_fusion_network():
    listed = json.loads(str(np.load(golden.FOLDER / "sdgan_sfn.npz")["meta"]))["keys"]
    made = states.sfn_shapes((64, 128, 256, 512), (32, 64, 128, 256), 16, 14)
    assert made == {key: tuple(shape) for key, shape, _, _ in listed}


def test_names_and_shapes_at_256():
    lists = json.loads((golden.FOLDER / "keys_rosinality_256.json").read_text())
    widths = (512, 512, 512, 512, 512, 256, 128)
    made = states.rosinality_g(states.nvlabs_g(widths, 512, 8)), states.rosinality_d(states.nvlabs_d(widths))
    for state, name in zip(made, ("g256", "d256"), strict=True):
        assert shapes(state) == {key: tuple(shape) for key, shape in lists[name]}
