"""Network directories, apart from the networks in them."""

import json
import os

import jax
import numpy as np
import pytest

from sdgan_jax.pretrained import storage

VARIABLES = {"params": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}, "layout": {"face": np.eye(2) > 0}}
SETTINGS = {"rows": 2, "widths": [3, 4]}


def shapes(settings):
    return {"params": {"kernel": jax.ShapeDtypeStruct((settings["rows"], settings["widths"][0]), np.float32)}}


def assert_read(folder):
    settings, variables = storage.read(folder, "kind", shapes)
    assert settings == SETTINGS and jax.tree.structure(variables) == jax.tree.structure(VARIABLES)
    jax.tree.map(np.testing.assert_array_equal, variables, VARIABLES)


def test_a_network_is_read_as_it_was_written_and_over_another_one(tmp_path):
    storage.write(tmp_path / "a" / "b", "kind", {"rows": 7}, {"params": {"other": np.zeros(3)}})
    storage.write(tmp_path / "a" / "b", "kind", SETTINGS, VARIABLES)
    assert sorted(os.listdir(tmp_path / "a" / "b")) == ["network.json", "weights.safetensors"]
    assert json.loads((tmp_path / "a" / "b" / "network.json").read_text()) == {"kind": "kind", **SETTINGS}
    assert_read(tmp_path / "a" / "b")


def test_a_network_of_the_old_format_is_read_with_one_line(tmp_path, capsys):
    storage.write(tmp_path, "kind", SETTINGS, VARIABLES)
    (tmp_path / "weights.safetensors").unlink()
    np.savez(
        tmp_path / "weights.npz",
        **{"params/kernel": VARIABLES["params"]["kernel"], "layout/face": VARIABLES["layout"]["face"]},
    )
    assert_read(tmp_path)
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and f"experiments.convert --source={tmp_path} --out=DIR" in printed


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"rows": 3, "widths": [3]},
            r"weights.safetensors does not fit its network.json: 1 arrays differ, params/kernel",
        ),
        ({"rows": 2}, "network.json lacks the setting 'widths'"),
        ({"rows": 2, "widths": 3}, "network.json describes no network: 'int' object is not subscriptable"),
    ],
)
def test_settings_that_do_not_fit_get_one_line(tmp_path, settings, line):
    storage.write(tmp_path, "kind", settings, VARIABLES)
    with pytest.raises(ValueError, match=line) as raised:
        storage.read(tmp_path, "kind", shapes)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 1}, None),
        ({"size": 64}, None),
        ({"size": [1, 2, 64]}, None),
        ({"size": 0}, "size is 0; it must be from 1 to 64"),
        ({"size": 65}, "size is 65; it must be from 1 to 64"),
        ({"size": 2.0}, "size is 2.0; it must be from 1 to 64"),
        ({"size": True}, "size is True; it must be from 1 to 64"),
        ({"size": [1, 65]}, r"size is \[1, 65\]; it must be from 1 to 64"),
        ({"size": [1] * 17}, "size has 17 numbers; at most 16 are known"),
    ],
)
def test_sizes_are_whole_numbers_up_to_a_limit(settings, message):
    if message is None:
        storage.check_sizes(settings, size=64)
        return
    with pytest.raises(ValueError, match=message):
        storage.check_sizes(settings, size=64)
