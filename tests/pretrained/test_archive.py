"""Archives of arrays: read back bitwise, and whatever is damaged gets one line."""

import io
import resource
import struct
import warnings
import zipfile

import numpy as np
import pytest

from sdgan_jax.pretrained import archive

TREE = {
    "params": {"dense": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.zeros(3, np.float32)}},
    "face": np.eye(3) > 0,
    "scalar": np.float32(2.5),
    "empty": np.zeros((0, 4), np.float32),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("archive") / "x.npz"
    archive.write(path, TREE)
    return path.read_bytes()


def mutated(data, rng):
    """The bytes with one kind of damage: bits turned, bytes replaced, cut out, doubled, or the end lost."""
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
    """What `archive.read` makes of bytes: "read" or "refused", and never anything else."""
    path.write_bytes(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            archive.read(path)
    except ValueError as error:
        assert str(error) == f"{path} is damaged or no archive of arrays; write or download it again"
        return "refused"
    return "read"


@pytest.mark.parametrize(
    "count", [300, pytest.param(10_000, marks=pytest.mark.slow)], ids=["300 mutations", "10,000 mutations"]
)
def test_a_damaged_archive_is_read_or_refused_in_one_line(tmp_path, data, count):
    """Those that are read were damaged where nothing is told, such as in the date of a file."""
    rng = np.random.default_rng(0)
    results = [outcome(tmp_path / "x.npz", mutated(data, rng)) for _ in range(count)]
    assert results.count("refused") > 0.5 * count
    # The same damage inside the arrays' own bytes, where no checksum of the zip file tells of it.
    header, *rest = members(data)
    for _ in range(count // 3):
        name, content = header
        results.append(outcome(tmp_path / "x.npz", packed([(name, mutated(content, rng)), *rest])))
    print({result: results.count(result) for result in ("read", "refused")})


def members(data):
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        return [(name, opened.read(name)) for name in opened.namelist()]


def packed(members, compression=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in members:
            opened.writestr(name, content)
    return file.getvalue()


def npy(shape="(2,)", descr="'<f4'", fortran="False", content=b"\0" * 8):
    header = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def lying_size():
    """An archive whose directory says that a member unpacks to 4 GiB."""
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
        lambda: packed([("a.npy", npy(shape="(True, 2)", content=b""))]),
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
        lambda: packed([("a.npy", npy()), ("a.npy", npy())]),
        lambda: packed([("a.npy", npy()), ("a/b.npy", npy())]),
        lambda: packed([("a.npy", npy())], zipfile.ZIP_BZIP2)[:-30],
        lambda: packed([("notes.txt", b"hello")]),
        lying_size,
        encrypted,
    ],
)
def test_archives_that_lie_are_refused(tmp_path, make):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert outcome(tmp_path / "x.npz", make()) == "refused"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_arrays_are_read_back(tmp_path, data):
    (tmp_path / "x.npz").write_bytes(data)
    arrays = archive.read(tmp_path / "x.npz")
    expected = archive.flatten(TREE)
    assert set(arrays) == set(expected)
    for name, array in arrays.items():
        assert array.dtype == np.asarray(expected[name]).dtype and array.flags.writeable
        np.testing.assert_array_equal(array, expected[name])


def test_arrays_of_any_numbers_order_and_compression_are_read(tmp_path):
    """As numpy writes them."""
    wide = np.arange(6.0).reshape(2, 3)
    saved = {
        "f": np.asfortranarray(wide),
        "big": wide.astype(">f8"),
        "int": wide.astype(np.int16),
        "huge": wide * 1e300,
    }
    np.savez(tmp_path / "x.npz", **saved)
    arrays = archive.read(tmp_path / "x.npz")
    for name in ("f", "big", "int"):
        np.testing.assert_array_equal(arrays[name], wide)
        assert arrays[name].dtype == np.float32
    assert np.isinf(arrays["huge"]).sum() == 5
