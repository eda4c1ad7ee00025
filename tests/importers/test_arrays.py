"""Arrays of files, against numpy and torch; impossible shapes, and archives that unpack to more than their size."""

import argparse
import io
import pickle
import zipfile

import numpy as np
import pytest

from sdgan_jax.importers import arrays, pickles
from sdgan_jax.importers.pickles import FileError
from tests.importers import writer

X = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)


TWICE: list = []  # each level holds the one below twice, so that the text doubles with each
for _ in range(16):
    TWICE = [TWICE, TWICE]


def decode(obj, storages=None):
    return arrays.decode(pickles.read(io.BytesIO(writer.dumps(obj)), "x.pkl"), "x.pkl", storages)


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize(
    "array",
    [X, X.T, np.asfortranarray(X), X.astype(np.float16), X.astype(">f4"), np.arange(5), np.float32(3.5), np.ones(())],
    ids=["c", "transposed", "fortran", "half", "big-endian", "int", "scalar", "0-d"],
)
def test_numpy_arrays(array, protocol):
    record = pickles.read(io.BytesIO(pickle.dumps(array, protocol)), "x.pkl")
    read = arrays.decode(record, "x.pkl")
    assert read.shape == np.shape(array)
    np.testing.assert_array_equal(read, array)


def test_objects_in_arrays_are_refused():
    with pytest.raises(FileError, match=r"x\.pkl is damaged: an array has a dtype other than numbers"):
        decode(np.array([{}, 1], object))


@pytest.mark.parametrize("new", [True, False])
def test_files_of_torch(new):
    """Views, strides and types, in the format of today and in the one before; `args` as in training checkpoints."""
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(X)
    tensors = {
        "x": x,
        "transposed": x.t(),
        "slice": x[1:3, 2:4],
        "half": x.half(),
        "double": x.double(),
        "bfloat16": x.bfloat16(),
        "parameter": torch.nn.Parameter(x),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "int": torch.arange(3),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    }
    file = io.BytesIO()
    torch.save({**tensors, "args": argparse.Namespace(size=8)}, file, _use_new_zipfile_serialization=new)
    file.seek(0)
    saved, storages = (arrays.read_zip if new else arrays.read_legacy)(file, "x.pt")
    for name, tensor in tensors.items():
        read = arrays.decode(saved[name], "x.pt", storages)
        assert read.shape == tuple(tensor.shape), name
        np.testing.assert_array_equal(read.astype(np.float64), tensor.detach().double().numpy(), err_msg=name)
    assert saved["args"].state == {"size": 8}


def test_the_writer_of_these_tests_writes_files_of_torch():
    torch = pytest.importorskip("torch")
    for data in (writer.torch_zip({"g": {"x": X}}), writer.torch_legacy({"g": {"x": X}})):
        read = torch.load(io.BytesIO(data), weights_only=True)
        np.testing.assert_array_equal(read["g"]["x"], X)
    inside = pickle.dumps(torch.nn.Parameter(torch.from_numpy(X)))
    np.testing.assert_array_equal(arrays.decode(pickles.read(io.BytesIO(inside), "x"), "x"), X)
    np.testing.assert_array_equal(pickle.loads(writer.dumps(writer.parameter(X))).numpy(), X)


def tensor(shape=(4, 6), strides=(6, 1), offset=0, count=24, kind="FloatStorage", key="0"):
    storage = writer.Storage("0", X)
    storage.reference = ("storage", writer.Global("torch", kind), key, "cpu", count)
    args = (storage, offset, shape, strides, False, {})
    return decode(writer.Made(writer.Global("torch._utils", "_rebuild_tensor_v2"), args), lambda key: X.tobytes())


def test_a_tensor():
    np.testing.assert_array_equal(tensor(), X)
    np.testing.assert_array_equal(tensor((2, 2), (6, 1), 7), X[1:3, 1:3])


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"shape": (40, 6)}, "a tensor of shape [40, 6] does not lie inside its 24 numbers"),
        ({"shape": (2**20, 2**19), "strides": (0, 0)}, "does not lie inside its 24 numbers"),
        ({"offset": 1}, "does not lie inside its 24 numbers"),
        ({"shape": (-4, 6)}, "the shape of an array is absurd"),
        ({"strides": (-6, 1)}, "the shape of an array is absurd"),
        ({"shape": (2**60, 2**60)}, "the shape of an array is absurd"),
        ({"shape": (True, 6)}, "the shape of an array is absurd"),
        ({"shape": (1,) * 9, "strides": (1,) * 9}, "the shape of an array is absurd"),
        ({"shape": (4,)}, "the description of an array is malformed"),
        ({"shape": "ab", "strides": "ab"}, "the shape of an array is absurd"),
        ({"count": 23}, "a tensor should have 23 numbers of float32, and has 96 bytes"),
        ({"count": 2**62}, "the shape of an array is absurd"),
        ({"kind": "DoubleStorage"}, "a tensor should have 24 numbers of float64"),
        ({"kind": "Size"}, "the description of an array is malformed"),
        ({"key": TWICE}, "the key of a storage is not text"),
        ({"key": 0}, "the key of a storage is not text"),
    ],
)
def test_tensors_that_cannot_be(change, line):
    with pytest.raises(FileError) as raised:
        tensor(**change)
    assert str(raised.value).startswith("x.pkl is damaged: ") and line in str(raised.value)


def test_keys_of_the_older_format_are_text():
    """Those of the references, and those of the list at the end of the pickles."""
    for key, listed in ((TWICE, "0"), ("0", TWICE), (TWICE, TWICE), (7, 7)):
        storage = writer.Storage("0", X)
        storage.reference = (*storage.reference[:2], key, *storage.reference[3:], None)
        storage.key = listed
        with pytest.raises(FileError, match=r"^x\.pt is damaged: it is not a file of torch$"):
            arrays.read_legacy(io.BytesIO(writer.legacy(storage, [storage])), "x.pt")


def test_a_zip_bomb_is_refused_before_it_is_unpacked():
    bomb = writer.torch_zip({"g_ema": {"x": np.zeros(10_000_000, np.float32)}}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 100_000
    with pytest.raises(FileError, match=r"x\.pt is compressed, which torch\.save never does: .*; refused"):
        arrays.read_zip(io.BytesIO(bomb), "x.pt")


def test_members_that_overlap_are_refused():
    """Two entries of the directory that name the same bytes add up to more than the file."""
    data = writer.torch_zip({"g_ema": {f"x{i}": np.full(1000, i, np.float32) for i in range(8)}})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
    first = next(entry for entry in entries if entry.filename.endswith("data/0"))
    raw = bytearray(data)
    for entry in entries:
        if "/data/" in entry.filename:  # in the central directory: offset of the member
            place = raw.index(entry.filename.encode(), archive.start_dir) - 4
            raw[place : place + 4] = first.header_offset.to_bytes(4, "little")
    saved, storages = arrays.read_zip(io.BytesIO(bytes(raw)), "x.pt")
    with pytest.raises(FileError, match=r"x\.pt is cut off or damaged"):
        arrays.decode(arrays.as_dict(arrays.as_dict(saved)["g_ema"])["x3"], "x.pt", storages)


def test_a_file_cut_off_anywhere_gets_a_line():
    for make, read in ((writer.torch_zip, arrays.read_zip), (writer.torch_legacy, arrays.read_legacy)):
        data = make({"g_ema": {"x": X}})
        for length in range(0, len(data) - 1, 7):
            with pytest.raises(FileError, match=r"^x\.pt"):
                saved, storages = read(io.BytesIO(data[:length]), "x.pt")
                arrays.decode(arrays.as_dict(arrays.as_dict(saved)["g_ema"])["x"], "x.pt", storages)


def test_other_archives_are_refused():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("photo.png", b"x")
    with pytest.raises(FileError, match=r"x\.pt is a zip archive, but not of torch\.save"):
        arrays.read_zip(file, "x.pt")


def test_a_record_that_holds_itself_ends():
    tree = {"latent_avg": 1}
    tree |= {f"again_{i}": tree for i in range(300)}
    inner = {"again": tree}
    tree |= {f"other_{i}": inner for i in range(300)}
    record = pickles.read(io.BytesIO(pickle.dumps(tree)), "x")
    names = [name for name, _ in arrays.dicts(record)]
    assert names[0] == "" and len(names) < 300
