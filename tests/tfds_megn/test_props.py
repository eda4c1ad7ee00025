"""Hats above the brows, a hand in front: what they cover, and that other faces have neither."""

import numpy as np
import pytest

import tfds_megn
from tfds_megn import params, props, varied

PLAIN = {
    "yaw": 0.0, "pitch": 0.0, "roll": 0.0, "hat": 0.0, "hand": 0.0, "hat_r": 0.9, "hat_g": 0.1, "hat_b": 0.1,
    "hat_low": 0.5, "hand_x": 0.0, "hand_y": 0.5, "hand_turn": 0.0,
}  # fmt: skip


def face(**changes):
    flat = varied.sample_params(0)
    for name, value in (PLAIN | changes).items():
        flat[params.VARIED_NAMES.index(name)] = value
    return flat


@pytest.mark.parametrize("kind", [props.CAP, props.BRIM, props.WOOL])
def test_a_hat_covers_the_hair_and_leaves_the_mouth(kind):
    bare, with_hat = (tfds_megn.render(face(hat=hat), "none", 64).astype(int) for hat in (0, kind))
    changed = np.abs(with_hat - bare).max(-1) > 8
    chin, brows = (tfds_megn.landmarks(face(), 64)[rows, 1].mean() for rows in ([8], slice(17, 27)))
    above = np.arange(64) < brows - 0.25 * (chin - brows)
    assert changed[above].mean() > 0.2
    assert not changed[np.arange(64) > brows + 0.5 * (chin - brows)].any()


def test_a_hand_lies_where_it_is_put_and_its_fingers_end_there():
    at = face(hand=1.0, hand_turn=0.0)  # it comes from the left
    changed = np.abs(tfds_megn.render(at, "none", 64).astype(int) - tfds_megn.render(face(), "none", 64)).max(-1) > 8
    scale, x, y = (at[params.VARIED_NAMES.index(name)] for name in ("scale", "shift_x", "shift_y"))
    column, row = ((np.array([0.0, 0.5]) * scale + [x, y] + 1) * 32).astype(int)
    rows, columns = np.nonzero(changed)
    assert abs(columns.max() - column) <= 5 and abs(rows.mean() - row) < 4
    assert changed[row, : column - 6].mean() > 0.8


def test_a_hand_covers_what_is_worn_and_the_map_stays():
    at = face(hand=1.0)
    masked, bare = tfds_megn.render(at, "mask", 64), tfds_megn.render(at, "none", 64)
    hand = np.abs(bare.astype(int) - tfds_megn.render(face(), "none", 64)).max(-1) > 40
    assert (masked[hand] == bare[hand]).mean() > 0.95  # all but the rays along its edge
    np.testing.assert_array_equal(tfds_megn.position_map(at, 32), tfds_megn.position_map(face(), 32))
