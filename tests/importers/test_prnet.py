"""PRNet's checkpoint: names to our tree, its UV files, and TensorFlow's own files where it is installed."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from sdgan_jax import pretrained
from sdgan_jax.importers import formats, prnet
from sdgan_jax.importers.pickles import FileError
from sdgan_jax.pretrained import archive
from tests.nets import golden


@pytest.fixture(scope="module")
def arrays():
    """The published variables, and what else a training run saves."""
    _, weights = golden.load("prnet_resfcn256")
    extra = {"beta1_power": np.float32(0.9), "resfcn256/Conv/weights/Adam_1": np.ones((4, 4, 3, 16), np.float32)}
    return weights | {f"{key}/Adam": np.zeros_like(weights[key]) for key in list(weights)[:3]} | extra


def test_names(arrays):
    network = prnet.network_of(arrays)
    assert (network.kind, network.settings["size"], network.settings["layout"]) == ("prnet", 256, "prnet")
    ours = archive.flatten(network.variables)
    assert len(ours) == 245 == len({key for key, _ in prnet.table().values()})
    for path, key in (
        ("params/conv/conv/kernel", "Conv/weights"),
        ("batch_stats/block_3/conv_1/norm/var", "resBlock_3/Conv_1/BatchNorm/moving_variance"),
        ("params/block_8/shortcut/kernel", "resBlock_8/shortcut/weights"),
        ("params/block_0/norm/scale", "resBlock/BatchNorm/gamma"),
        ("params/up_0/norm/bias", "Conv2d_transpose/BatchNorm/beta"),
        ("params/up_16/conv/kernel", "Conv2d_transpose_16/weights"),
        ("batch_stats/up_1/norm/mean", "Conv2d_transpose_1/BatchNorm/moving_mean"),
    ):
        np.testing.assert_array_equal(ours[path], arrays[f"resfcn256/{key}"])


def test_missing_misshaped_and_broken_arrays_are_named(arrays):
    wrong = dict(arrays)
    del wrong["resfcn256/resBlock_4/Conv_1/weights"]
    wrong["resfcn256/Conv/BatchNorm/gamma"] = np.ones(3, np.float32)
    with pytest.raises(FileError) as raised:
        prnet.network_of(wrong, "x")
    assert str(raised.value) == (
        "x: the network does not fit PRNet's ResFCN256; 1 missing (resfcn256/resBlock_4/Conv_1/weights); "
        "1 misshaped (resfcn256/Conv/BatchNorm/gamma is [3], expected [16])"
    )
    wrong = arrays | {"resfcn256/Conv/BatchNorm/gamma": np.full(16, np.nan, np.float32)}
    with pytest.raises(FileError, match=r"NaN or infinity; 1 not finite \(resfcn256/Conv/BatchNorm/gamma\)"):
        prnet.network_of(wrong)


def write_uv(folder, u, v, face):
    lines = [" ".join(f"{number:.18e}" for number in row) for row in (u, v)]
    (folder / prnet.LANDMARKS).write_text("\n".join(lines) + "\n")
    (folder / prnet.FACE).write_text("\n".join(f"{index:.18e}" for index in face))


def test_uv_files(tmp_path):
    rng = np.random.default_rng(0)
    u, v = rng.integers(0, 256, (2, 68))
    face = np.sort(rng.permutation(256 * 256)[:43867])
    write_uv(tmp_path, u, v, face)
    landmarks = prnet.read_landmarks(tmp_path / prnet.LANDMARKS)
    np.testing.assert_allclose(landmarks[:, 0] * 256 - 0.5, u)
    np.testing.assert_allclose(landmarks[:, 1] * 256 - 0.5, v)
    texels = prnet.read_face(tmp_path / prnet.FACE)
    rows, columns = np.nonzero(texels)
    np.testing.assert_array_equal(256 * rows + columns, face)
    for bad in (np.append(u[:-1], 256), u[:-1], np.append(u[:-1], -1)):
        write_uv(tmp_path, bad, v, face)
        with pytest.raises(FileError, match="must hold two rows of 68 numbers from 0 to 255"):
            prnet.read_landmarks(tmp_path / prnet.LANDMARKS)
    for bad in (face[:-1], np.append(face[:-1], face[0]), np.append(face[:-1], 65536), face + 0.5):
        write_uv(tmp_path, u, v, bad)
        with pytest.raises(FileError, match="must hold 43867 different whole numbers below 65536"):
            prnet.read_face(tmp_path / prnet.FACE)
    (tmp_path / prnet.FACE).write_text("1 2 three")
    with pytest.raises(FileError, match="must hold numbers and nothing else"):
        prnet.read_face(tmp_path / prnet.FACE)
    (tmp_path / prnet.FACE).unlink()
    os.mkfifo(tmp_path / prnet.FACE)
    with pytest.raises(ValueError, match="face_ind.txt is a pipe or device; give a file"):
        prnet.read_face(tmp_path / prnet.FACE)


def test_without_tensorflow_one_line_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "net.index").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    for name in ("net", "net.index", "net.data-00000-of-00001"):
        with pytest.raises(ImportError, match=r"net.index is a checkpoint of TensorFlow, .*: pip install -e '.\[conv"):
            formats.read(tmp_path / name)
    with pytest.raises(FileError, match="is of the format prnet, not nvlabs; leave --format=auto"):
        formats.read(tmp_path / "net", "nvlabs")


def save(tf, prefix, arrays):
    names = sorted(arrays)
    tensors = [tf.constant(arrays[name]) for name in names]
    tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors)


def test_a_checkpoint_that_tensorflow_wrote(arrays, tmp_path):
    tf = pytest.importorskip("tensorflow")
    prefix = tmp_path / "256_256_resfcn256_weight"
    save(tf, prefix, arrays)
    found, network = formats.read(f"{prefix}.index")
    assert found == "prnet" and len(network.notes) == 2 and "layout" not in network.variables
    assert network.notes[0].startswith("there is no uv_kpt_ind.txt beside the checkpoint; --prnet_uv=FOLDER")
    expected = archive.flatten(prnet.network_of(arrays).variables)
    read = archive.flatten(network.variables)
    assert set(read) == set(expected)
    for path, array in read.items():
        np.testing.assert_array_equal(array, expected[path])


@pytest.mark.slow
def test_a_checkpoint_becomes_a_network_directory(arrays, tmp_path):
    tf = pytest.importorskip("tensorflow")
    prefix = tmp_path / "256_256_resfcn256_weight"
    save(tf, prefix, arrays)
    expected = archive.flatten(prnet.network_of(arrays).variables)
    uv = tmp_path / "uv"
    uv.mkdir()
    with pytest.raises(FileNotFoundError, match="uv has no uv_kpt_ind.txt and face_ind.txt"):
        formats.read(prefix, prnet_uv=uv)
    write_uv(uv, np.arange(68), np.arange(68) + 9, np.arange(43867))
    command = [sys.executable, "-m", "experiments.convert", f"--source={prefix}", f"--prnet_uv={uv}"]
    result = subprocess.run([*command, f"--out={tmp_path / 'net'}"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{prefix} (prnet): position maps of 256 pixels; network in {tmp_path / 'net'}\n"
    loaded = pretrained.position_network(tmp_path / "net")
    assert (loaded.layout, loaded.depth_offset) == ("prnet", 0.0)
    assert loaded.variables["layout"]["face"].sum() == 43867
    for path, array in archive.flatten({k: loaded.variables[k] for k in ("params", "batch_stats")}).items():
        np.testing.assert_array_equal(array, expected[path])
    assert loaded.variables["layout"]["landmarks"].shape == (68, 2)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(loaded.variables))


def test_a_damaged_checkpoint_gets_one_line(arrays, tmp_path):
    tf = pytest.importorskip("tensorflow")
    save(tf, tmp_path / "net", {"resfcn256/Conv/weights": arrays["resfcn256/Conv/weights"], "other": np.ones(3)})
    with pytest.raises(FileError, match="ResFCN256; 244 missing"):
        formats.read(tmp_path / "net")
    (tmp_path / "net.data-00000-of-00001").unlink()
    with pytest.raises(FileError, match="net.index or its data file is damaged or missing"):
        formats.read(tmp_path / "net")
    (tmp_path / "net.index").write_bytes(b"nothing")
    with pytest.raises(FileError, match="net.index or its data file is damaged or missing"):
        formats.read(tmp_path / "net")
