"""Files of arrays: read back bitwise, and whatever is damaged gets one line."""

import io
import json
import resource
import struct
import warnings
import zipfile

import numpy as np
import optax
import pytest
import safetensors.numpy

from sdgan_jax.pretrained import archive

TREE = {
    "params": {"dense": {"kernel": np.arange(6, dtype=np.float32).reshape(3, 2).T, "bias": np.zeros(3, np.float32)}},
    "face": np.eye(3) > 0,
    "scalar": np.float32(2.5),
    "empty": np.zeros((0, 4), np.float32),
}
ARRAYS = {  # TREE, its names written out
    "params/dense/kernel": np.array([[0, 2, 4], [1, 3, 5]], np.float32),
    "params/dense/bias": np.zeros(3, np.float32),
    "face": np.array([[True, False, False], [False, True, False], [False, False, True]]),
    "scalar": np.array(2.5, np.float32),
    "empty": np.zeros((0, 4), np.float32),
}


def as_safetensors(tmp_path):
    archive.write(tmp_path / "x.safetensors", TREE)
    return tmp_path / "x.safetensors"


def as_npz(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", **ARRAYS)
    return tmp_path / "x.npz"


def mutated(data, rng):
    """The bytes with one kind of damage: bits flipped, bytes replaced, cut out, doubled, or the end lost."""
    data = bytearray(data)
    place, count = rng.integers(len(data)), int(rng.integers(1, 9))
    kind = rng.integers(5)
    if kind == 0:
        for _ in range(count):
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    elif kind == 1:
        data[place : place + count] = rng.bytes(count)
    elif kind == 2:
        del data[place : place + count]
    elif kind == 3:
        data[place:place] = data[place : place + count]
    else:
        del data[place:]
    return bytes(data)


def outcome(path, data):
    """Writes bytes and calls `archive.read`: "read" or "refused"; other exceptions go on."""
    path.write_bytes(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            archive.read(path)
    except ValueError as error:
        assert str(error) == f"{path} is damaged or not a file of arrays; write or download it again"
        return "refused"
    return "read"


@pytest.mark.parametrize(
    "count", [300, pytest.param(10_000, marks=pytest.mark.slow)], ids=["300 mutations", "10,000 mutations"]
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, count):
    """Only damage to the name of the fingerprint goes unseen: a file without one is accepted."""
    rng, path = np.random.default_rng(0), as_safetensors(tmp_path)
    data = path.read_bytes()
    results = [outcome(path, mutated(data, rng)) for _ in range(count)]
    assert results.count("refused") > 0.97 * count
    # A flipped bit in the numbers alone, which no length or name shows.
    numbers = 8 + int.from_bytes(data[:8], "little")
    for place in range(numbers, len(data)):
        assert outcome(path, data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]) == "refused"
    # Damage without a fingerprint that shows it, as in files of other programs.
    data = safetensors.numpy.save(ARRAYS)
    results = [outcome(path, mutated(data, rng)) for _ in range(count)]
    assert results.count("refused") > 0.5 * count


@pytest.mark.parametrize(
    "count", [100, pytest.param(10_000, marks=pytest.mark.slow)], ids=["100 mutations", "10,000 mutations"]
)
def test_a_damaged_old_file_is_read_or_refused_in_one_line(tmp_path, count):
    """Those that are read were damaged where nothing is stored, such as in the date of a file."""
    rng, path = np.random.default_rng(0), as_npz(tmp_path)
    data = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        (first, content), *rest = [(name, opened.read(name)) for name in opened.namelist()]
    results = [outcome(path, mutated(data, rng)) for _ in range(count)]
    assert results.count("refused") > 0.5 * count
    for _ in range(count // 3):  # inside the arrays' own bytes, where no checksum of the zip file shows it
        outcome(path, packed([(first, mutated(content, rng)), *rest]))


def stored(header, content=b"\0" * 8, length=None):
    """A safetensors file with this header, which is a dict or text."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + content


def tensor(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 7,
        stored({}, b"", length=10**12),
        stored({}, b"", length=2**64 - 1),
        stored({"a": tensor()}, length=10**6),
        stored("{"),
        stored("[]"),
        stored("[" * 100_000),
        stored("\xff"),
        stored({"a": tensor()}, b""),
        stored({"a": tensor()}, b"\0" * 9),
        stored({"a": tensor(shape=(10**6, 10**6))}),
        stored({"a": tensor(shape=(10**6, 10**6), offsets=(0, 4 * 10**12))}),
        stored({"a": tensor(shape=(2**32, 2**32))}),
        stored({"a": tensor(shape=(10**30,))}),
        stored({"a": tensor(shape=(-2,))}),
        stored({"a": tensor(shape=(2.5,))}),
        stored({"a": tensor(shape=2)}),
        stored({"a": tensor(offsets=(8, 0))}),
        stored({"a": tensor(offsets=(0, 2**64))}),
        stored({"a": tensor(), "b": tensor()}),
        stored({"a": tensor(), "a/b": tensor(offsets=(8, 16))}, b"\0" * 16),
        stored({"a": tensor("OBJECT")}),
        stored({"a": tensor("C64", (1,))}),
        stored({"a": tensor("BF16", (4,))}),
        stored({"a": {"dtype": "F32"}}),
        stored({"a": 3}),
        stored({"__metadata__": {"fingerprint": "0"}, "a": tensor()}),
        stored({"__metadata__": 3, "a": tensor()}),
    ],
    ids=lambda data: repr(data[:60]),
)
def test_files_that_lie_are_refused(tmp_path, data):
    assert in_little_memory(lambda: outcome(tmp_path / "x.safetensors", data)) == "refused"


def in_little_memory(call):
    """Returns the result of a call, after a check that it used little memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = call()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB
    return result


def packed(members, compression=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as opened:
        for name, content in members:
            opened.writestr(name, content)
    return file.getvalue()


def npy(shape="(2,)", descr="'<f4'", fortran="False", content=b"\0" * 8):
    header = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def lying_size():
    """An `.npz` file whose directory says that a member unpacks to 4 GiB."""
    data = bytearray(packed([("a.npy", npy())]))
    for signature, place in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        start = data.index(signature) + place
        data[start : start + 4] = struct.pack("<I", 0xFFFFFFF0)
    return bytes(data)


def encrypted():
    data = bytearray(packed([("a.npy", npy())]))
    for signature, place in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        data[data.index(signature) + place] |= 1
    return bytes(data)


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"",
        lambda: b"PK\x05\x06",
        lambda: npy(),  # a lone array
        lambda: packed([("a.npy", npy(shape="(1000000, 1000000)"))]),
        lambda: packed([("a.npy", npy(shape=f"({10**30},)"))]),
        lambda: packed([("a.npy", npy(shape="(-1, -2)"))]),
        lambda: packed([("a.npy", npy(shape="(0, 99999999999999999999)", content=b""))]),
        lambda: packed([("a.npy", npy(shape="(" * 3000))]),
        lambda: packed([("a.npy", npy(shape="2"))]),
        lambda: packed([("a.npy", npy(descr="'|O'"))]),
        lambda: packed([("a.npy", npy(descr="'<U2'"))]),
        lambda: packed([("a.npy", npy(descr="[('a', '<f4')]"))]),
        lambda: packed([("a.npy", npy(descr="'<c8'"))]),
        lambda: packed([("a.npy", npy(descr="'<f4', '\\z': 1"))]),
        lambda: packed([("a.npy", npy(fortran="0"))]),
        lambda: packed([("a.npy", b"\x93NUMPY\x09\x00")]),
        lambda: packed([("a.npy", b"")]),
        lambda: packed([("a.npy", npy()), ("a/b.npy", npy())]),
        lambda: packed([("a.npy", npy())], zipfile.ZIP_BZIP2)[:-30],
        lambda: packed([("notes.txt", b"hello")]),
        encrypted,
    ],
)
def test_old_files_that_lie_are_refused(tmp_path, make):
    assert in_little_memory(lambda: outcome(tmp_path / "x.npz", make())) == "refused"


def test_an_old_file_that_lies_about_a_size_takes_no_memory(tmp_path):
    in_little_memory(lambda: outcome(tmp_path / "x.npz", lying_size()))


@pytest.mark.parametrize("make", [as_safetensors, as_npz])
def test_arrays_are_read_back(tmp_path, make):
    assert_equal(archive.read(make(tmp_path)), ARRAYS)


def assert_equal(arrays, expected):
    assert set(arrays) == set(expected)
    for name, array in arrays.items():
        assert (array.dtype, array.shape) == (expected[name].dtype, expected[name].shape), name
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_other_programs_read_what_is_written(tmp_path):
    """By the format's own reader: names, shapes and numbers as they are, float16 at half the size."""
    assert_equal(safetensors.numpy.load_file(as_safetensors(tmp_path)), ARRAYS)
    archive.write(tmp_path / "half", TREE, np.float16)
    halves = {k: v if v.dtype == bool else v.astype(np.float16) for k, v in ARRAYS.items()}
    assert_equal(safetensors.numpy.load_file(tmp_path / "half"), halves)


def test_numbers_too_large_for_half_precision_are_named(tmp_path):
    with pytest.raises(ValueError, match="a/b has numbers that are too large for float16; write the model as float32"):
        archive.write(tmp_path / "x", {"a": {"b": np.float32([1.0, 1e5])}}, np.float16)
    assert not (tmp_path / "x").exists()


def test_the_same_arrays_make_the_same_bytes(tmp_path):
    for name, order in (("a", "abcdefg"), ("b", "gfedcba")):
        archive.write(tmp_path / name, {name: np.full(3, ord(name)) for name in order})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_numbers_of_any_type_are_read(tmp_path, suffix):
    """As numpy, or another program, writes them."""
    wide = np.arange(6.0).reshape(2, 3)
    saved = {"double": wide, "int": wide.astype(np.int16), "huge": wide * 1e300, "half": wide.astype(np.float16)}
    if suffix == "npz":
        saved |= {"fortran": np.asfortranarray(wide), "big": wide.astype(">f8")}
        np.savez(tmp_path / "x.npz", **saved)
    else:
        safetensors.numpy.save_file(saved, tmp_path / "x.safetensors")
    arrays = archive.read(tmp_path / f"x.{suffix}")
    for name in set(saved) - {"huge"}:
        np.testing.assert_array_equal(arrays[name], wide)
        assert arrays[name].dtype == np.float32
    assert np.isinf(arrays["huge"]).sum() == 5


def test_an_old_file_is_read_with_one_line_that_says_how_to_rewrite_it(tmp_path, capsys):
    folder = tmp_path / "my model"
    folder.mkdir()
    archive.read(as_npz(folder))
    assert capsys.readouterr().err == (
        f"{folder}/x.npz is in the old format; rewrite it by "
        f"`python -m experiments.convert --source='{folder}' --out=DIR`\n"
    )
    archive.read(as_safetensors(folder))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rewriting_keeps_every_number(tmp_path, dtype, capsys):
    numbers = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float16 if dtype == np.float16 else np.float32)
    arrays = {"a/b": numbers.astype(dtype), "face": ARRAYS["face"]}
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    archive.rewrite(tmp_path / "x.npz", tmp_path / "y.safetensors")
    assert capsys.readouterr().err == ""
    assert_equal(safetensors.numpy.load_file(tmp_path / "y.safetensors"), {"a/b": numbers, "face": ARRAYS["face"]})


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"kernel": np.zeros((3, 2))}, "1 arrays differ, params/kernel …"),
        ({"kernel": None, "bias": np.zeros(3)}, "2 arrays differ, params/bias, params/kernel …"),
        ({"bias": np.zeros(2, bool)}, "1 arrays differ, params/bias …"),
        ({"more": np.zeros(2)}, ""),
    ],
)
def test_arrays_are_held_against_the_shapes_that_they_must_have(changes, names):
    target = {"params": {"kernel": np.zeros((2, 3), np.float32), "bias": np.zeros(2, np.float32)}}
    arrays = {f"params/{k}": v for k, v in (target["params"] | changes).items() if v is not None}
    if not names:
        assert set(archive.take("x", arrays, target, "config.json")["params"]) == {"kernel", "bias"}
        return
    with pytest.raises(ValueError) as raised:
        archive.take("x", arrays, target, "config.json")
    assert str(raised.value) == f"x does not fit its config.json: {names}"


def test_leaves_are_named_by_their_place():
    state = optax.ScaleByAdamState(count=1, mu={"a": {"b": 2}}, nu=(3, {"c": 4}))
    assert archive.flatten(state) == {"count": 1, "mu/a/b": 2, "nu/0": 3, "nu/1/c": 4}
    nested = {"a": {"b": 2, "c": {"d": 3}}, "e": 4}
    assert archive.unflatten(archive.flatten(nested)) == nested


def test_fingerprints_differ_where_trees_do():
    trees = [
        {"a": {"b": np.zeros(2)}},
        {"a": {"b": np.ones(2)}},
        {"a": {"c": np.zeros(2)}},
        {"a": {"b": np.zeros((1, 2))}},
        {"a": {"b": np.zeros(2, np.int64)}},
    ]
    assert len({archive.fingerprint(tree) for tree in trees}) == 5
    assert archive.fingerprint({"a": 1.0, "b": 2.0}) == archive.fingerprint({"b": 2.0, "a": 1.0})


def test_arrays_can_keep_their_types(tmp_path):
    tree = {"image": np.arange(12, dtype=np.uint8).reshape(3, 4), "map": np.float16([0.1, 3]), "row": np.int32([7])}
    archive.write(tmp_path / "x.safetensors", tree, None)
    stored = archive.load(tmp_path / "x.safetensors")
    assert {name: array.dtype for name, array in stored.items()} == {k: v.dtype for k, v in tree.items()}
    for name, array in tree.items():
        np.testing.assert_array_equal(stored[name], array)
