"""Conversion: directories of the old format, workdirs, and mistakes that leave nothing behind."""

import os
import pickle

import jax
import numpy as np
import pytest
import safetensors.numpy
from etils import epath

from sdgan_jax.evaluation import edit_rows
from sdgan_jax.importers import conversion
from sdgan_jax.training import checkpoint
from sdgan_jax.training.gan import weights
from tests.importers import states, writer
from tests.training import tiny


class Evil:
    """Pickles as a call of os.system."""

    def __reduce__(self):
        return os.system, ("touch hacked",)


@pytest.fixture
def old(tmp_path):
    """The directories of a model and of a network in the old format, float16, and the arrays in both."""
    arrays = {"params/kernel": np.arange(6, dtype=np.float16).reshape(2, 3), "face": np.eye(2) > 0}
    for name, settings in (("model/config.json", "{}"), ("net/network.json", '{"kind": "prnet", "size": 32}')):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(settings)
        np.savez_compressed((tmp_path / name).with_name("weights.npz"), **arrays)
    return tmp_path, arrays


@pytest.mark.parametrize("name", ["model", "net"])
def test_directories_of_the_old_format_are_rewritten(old, name, capsys):
    folder, arrays = old
    assert conversion.rewrite(epath.Path(folder / name), epath.Path(folder / "new")) == []
    assert capsys.readouterr() == (f"{folder}/{name}: rewritten in {folder}/new\n", "")
    read = safetensors.numpy.load_file(folder / "new" / "weights.safetensors")
    assert set(read) == set(arrays)
    for key, array in read.items():
        assert array.dtype == arrays[key].dtype
        np.testing.assert_array_equal(array, arrays[key])
    (settings,) = {path.name for path in (folder / name).iterdir()} - {"weights.npz"}
    assert {path.name for path in (folder / "new").iterdir()} == {settings, "weights.safetensors"}
    assert (folder / "new" / settings).read_text() == (folder / name / settings).read_text()


def test_a_model_directory_is_made_of_a_workdir(tmp_path, capsys):
    class Position:
        position, skipped, dataset = 0, (), "faces"

    config = tiny.config()
    state = jax.device_put(tiny.random_state(config), jax.devices()[0])
    with checkpoint.Checkpoints(tmp_path / "run", config) as checkpoints:
        checkpoints.save(1, state, Position())
    conversion.rewrite(epath.Path(tmp_path / "run"), epath.Path(tmp_path / "model"))
    nets, trees = weights.read(tmp_path / "model")
    assert nets.config == config and sorted(os.listdir(tmp_path / "model")) == ["config.json", "weights.safetensors"]
    np.testing.assert_array_equal(trees["basis"], state.basis)
    jax.tree.map(np.testing.assert_array_equal, trees["ema_g"], state.ema_g)


@pytest.mark.parametrize("place", ["model", "basis"])
def test_the_bases_beside_a_model_go_with_it(old, place):
    """Beside it, or in the stage `basis` of the same run; they are none of a network's."""
    folder = epath.Path(old[0])
    bases = {"means/rows": np.eye(2, 4, dtype=np.float32), "means/lengths": np.float32([0, 5])}
    (folder / place).mkdir(exist_ok=True)
    (folder / place / "bases.safetensors").write_bytes(safetensors.numpy.save(bases))
    for source, names in (("model", {"config.json", "bases.safetensors"}), ("net", {"network.json"})):
        conversion.rewrite(folder / source, folder / "new" / source)
        made = folder / "new" / source
        assert {path.name for path in made.iterdir()} == names | {"weights.safetensors"}
    before, after = (edit_rows.read_bases(folder / name, ("none", "mask"), 4) for name in ("model", "new/model"))
    np.testing.assert_array_equal(after["means"], [[0, 0, 0, 0], [0, 5, 0, 0]])
    np.testing.assert_array_equal(before["means"], after["means"])


def test_files_for_another_format_are_refused(tmp_path, monkeypatch):
    """They would be of no use, whether they exist or not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "id.pth").write_bytes(writer.torch_zip(states.irse((1, 2), (16, 32), 3, 8)))
    for given, line in (
        ({"prnet_uv": "none"}, "id.pth is of the format irse50; --prnet_uv belongs to prnet, leave it out"),
        ({"lpips_heads": "none"}, "id.pth is of the format irse50; --lpips_heads belongs to lpips, leave it out"),
    ):
        with pytest.raises(ValueError, match=line):
            conversion.read_weights(epath.Path("id.pth"), "auto", epath.Path("new"), **given)
    assert os.listdir(tmp_path) == ["id.pth"]


def test_a_directory_that_cannot_be_rewritten_is_named_and_nothing_is_left(old):
    folder = epath.Path(old[0])
    (folder / "empty").mkdir()
    (folder / "damaged").mkdir()
    (folder / "damaged" / "network.json").write_text("{}")
    (folder / "bare").mkdir()
    (folder / "bare" / "network.json").write_text("{}")
    (folder / "damaged" / "weights.npz").write_bytes(b"PK")
    before = sorted(os.listdir(folder))
    for name, out, line in (
        ("empty", "new", "empty has no config.json: it is empty"),
        ("bare", "new", "bare has no weights.safetensors; give a complete network directory"),
        ("damaged", "new", "weights.npz is damaged or not a file of arrays"),
        ("model", "net", "net exists and is not empty; give a new folder"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=line):
            conversion.rewrite(folder / name, folder / out)
        assert sorted(os.listdir(folder)) == before


def test_files_that_cannot_be_read_are_named_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"G_ema": Evil()}))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "full" / "weights.safetensors").write_text("")
    for source, out, line in (
        ("evil.pkl", "full", "--out=full exists and is not empty; give a new folder"),
        ("none.pt", "new", "none.pt: there is no such file"),
        ("full/weights.safetensors", "new", "--source=full/weights.safetensors is part of a"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=line):
            conversion.read_weights(epath.Path(source), "auto", epath.Path(out))
    assert sorted(os.listdir(tmp_path)) == ["evil.pkl", "full"] and len(os.listdir("full")) == 2
