"""Files of every public format become models; unknown, damaged and hostile files get one line."""

import argparse
import os
import pickle

import numpy as np
import pytest

from sdgan_jax.importers import formats
from sdgan_jax.importers.pickles import FileError
from sdgan_jax.pretrained import archive
from tests.importers import files, states, writer


def read(tmp_path, data, form="auto", name="x"):
    (tmp_path / name).write_bytes(data)
    return formats.read(tmp_path / name, form)


def test_all_formats_give_the_same_model(tmp_path):
    """The files of the three formats contain the same network; TensorFlow's biases are rounded once."""
    datas_of = {
        "rosinality": [writer.torch_zip(files.rosinality_tree()), writer.torch_legacy(files.rosinality_tree())],
        "nvlabs": [files.nvlabs_pickle(protocol=protocol) for protocol in (2, 3, 4, 5)],
        "nvlabs_tf": [files.tf_pickle(protocol=protocol) for protocol in (2, 3, 4)],
    }
    reference = None
    for name, datas in datas_of.items():
        for data in datas:
            found, model = read(tmp_path, data)
            assert (found, model.notes) == (name, [])
            arrays = archive.flatten(model.trees)
            reference = reference or (model.config, arrays)
            assert model.config == reference[0]
            assert set(arrays) == set(reference[1])
            for path, array in arrays.items():
                np.testing.assert_allclose(array, reference[1][path], rtol=0, atol=2e-7 if name == "nvlabs_tf" else 0)
    config = reference[0]
    assert (config.resolution, config.attributes, config.generator.latent_dim) == (16, ("none",), files.DIM)
    assert config.generator.mapping_layers == files.LAYERS
    assert config.generator.channels == config.discriminator.channels == files.WIDTHS  # no rule min(base / r, max)
    np.testing.assert_array_equal(reference[1]["w_avg"], files.STATE_G["mapping.w_avg"])


def test_a_training_checkpoint_of_torch(tmp_path):
    """Optimisers and options beside the networks, written by torch itself."""
    torch = pytest.importorskip("torch")
    tree = files.rosinality_tree()
    module = torch.nn.Linear(3, 2)
    optimiser = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    saved = {
        name: {key: torch.from_numpy(np.array(array)) for key, array in tree[name].items()} for name in ("g_ema", "d")
    }
    saved |= {"g": saved["g_ema"], "g_optim": optimiser.state_dict(), "d_optim": optimiser.state_dict()}
    saved |= {"args": argparse.Namespace(size=16, path="data"), "ada_aug_p": 0.3}
    for new in (True, False):
        torch.save(saved, tmp_path / "x.pt", _use_new_zipfile_serialization=new)
        found, model = formats.read(tmp_path / "x.pt")
        _, expected = read(tmp_path, writer.torch_zip(tree))
        assert found == "rosinality"
        ours, theirs = (archive.flatten({k: m.trees[k] for k in ("ema_g", "params_d")}) for m in (model, expected))
        for path, array in ours.items():
            np.testing.assert_array_equal(array, theirs[path])


WEB = b"<!DOCTYPE html><html>Quota exceeded</html>"


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: b"", "x is empty; known are .pt of rosinality, .pkl of NVlabs"),
        (lambda: b"hello", "x is not a file of weights; known are"),
        (lambda: WEB, "x is a web page, so the download failed"),
        (lambda: b"version https://git-lfs.github.com/spec/v1\noid", "x is a Git LFS pointer; fetch the file"),
        (lambda: pickle.dumps({"a": 1}), "x is a pickle, but holds no networks of NVlabs"),
        (lambda: pickle.dumps((1, 2, 3)), "x is a pickle, but holds no networks of NVlabs"),
        (lambda: pickle.dumps({"G_ema": 5}), "x is damaged: a network is not a module of PyTorch"),
        (
            lambda: writer.torch_zip({"state_dict": {"a": np.ones(2, np.float32)}}),
            "x is a file of torch, but of an unknown network: it holds state_dict (a, …); known are",
        ),
        (lambda: writer.torch_zip(files.rosinality_tree())[:-500], "x is cut off or damaged"),
        (lambda: writer.torch_legacy(files.rosinality_tree())[:-500], "x is cut off; download it again"),
        (lambda: files.nvlabs_pickle()[:-500], "x is cut off or damaged"),
    ],
)
def test_other_files_get_one_line(tmp_path, monkeypatch, make, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").write_bytes(make())
    with pytest.raises(FileError) as raised:
        formats.read("x")
    assert str(raised.value).startswith(line)
    assert str(raised.value).isprintable()
    assert os.listdir() == ["x"]


def test_a_file_that_is_not_there_or_of_another_format(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        formats.read(tmp_path / "none")
    with pytest.raises(ValueError, match="is a folder; give a file of weights, or a model directory to export it"):
        formats.read(tmp_path)
    os.mkfifo(tmp_path / "pipe.index")
    for name in ("pipe.index", "pipe"):
        with pytest.raises(ValueError, match="pipe.index is a pipe or device; give a file"):
            formats.read(tmp_path / name)
    with pytest.raises(FileError, match="is of the format rosinality, not nvlabs; leave --format=auto"):
        read(tmp_path, writer.torch_zip(files.rosinality_tree()), "nvlabs")


def test_the_source_code_in_a_file_is_not_run(tmp_path, monkeypatch):
    """Each module of the pickle carries code that would make a file."""
    monkeypatch.chdir(tmp_path)
    assert b"touch hacked" in files.nvlabs_pickle() and b"touch hacked" in files.tf_pickle()
    read(tmp_path, files.nvlabs_pickle())
    read(tmp_path, files.tf_pickle())
    assert os.listdir() == ["x"]


def test_an_archive_of_numpy_is_told_from_a_file_of_torch(tmp_path):
    np.savez(tmp_path / "weights.npz", a=np.ones(3))
    with pytest.raises(FileError, match="weights.npz is an archive of numpy; if it belongs to a model directory, give"):
        formats.read(tmp_path / "weights.npz")


def wrapped(state, every=1):
    return {f"module.{key}" if i % every == 0 else key: array for i, (key, array) in enumerate(state.items())}


def test_the_other_networks_are_found_inside_wrappers_too(tmp_path):
    irse = states.irse((1, 2), (16, 32), 3, 8)
    for tree in (irse, wrapped(irse), wrapped(irse, 2), {"state_dict": irse}, {"model": wrapped(irse), "epoch": 3}):
        (tmp_path / "x.pth").write_bytes(writer.torch_zip(tree))
        assert formats.read(tmp_path / "x.pth")[0] == "irse50"
    sfn = states.sfn((16, 16, 32, 48), (4, 5, 6, 7), 2, 6)
    for tree in (sfn, {"model": wrapped(sfn)}, {"state_dict": wrapped(sfn, 2)}):
        (tmp_path / "x.pth").write_bytes(writer.torch_zip(tree))
        assert formats.read(tmp_path / "x.pth")[0] == "sfn"
