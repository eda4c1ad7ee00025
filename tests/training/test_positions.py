import json
import types

import pytest

from sdgan_jax.training import positions


def test_a_position_goes_through_json():
    batches = types.SimpleNamespace(position=4, skipped={7, 3}, dataset="faces: 11 images")
    saved = json.loads(json.dumps(positions.describe(batches)))
    other = types.SimpleNamespace(position=0, skipped=set(), dataset="faces: 11 images")
    positions.move(other, saved, "run/checkpoints/4")
    assert other == batches


def test_a_position_of_version_0_1_is_taken():
    other = types.SimpleNamespace(position=0, skipped={1}, dataset="faces")
    positions.move(other, {"position": 9}, "run/checkpoints/9")
    assert (other.position, other.skipped) == (9, set())


def test_a_position_in_another_data_set_is_refused_in_one_line():
    other = types.SimpleNamespace(position=0, skipped=set(), dataset="faces: 10 images")
    with pytest.raises(
        ValueError, match="since run/checkpoints/4 was .* was faces: 11 images; it is faces: 10"
    ) as raised:
        positions.move(other, {"position": 4, "dataset": "faces: 11 images"}, "run/checkpoints/4")
    assert "\n" not in str(raised.value) and other.position == 0
