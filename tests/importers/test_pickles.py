"""Pickles are recorded, not executed; every fault of a pickle ends in one line that names the file."""

import io
import os
import pickle
import struct

import numpy as np
import pytest

from sdgan_jax.importers import pickles
from sdgan_jax.importers.pickles import Call, FileError, Name
from tests.importers import writer


def read(data):
    return pickles.read(io.BytesIO(data), "x.pkl")


class Evil:
    """Pickles as a call of os.system."""

    def __reduce__(self):
        return os.system, ("touch hacked",)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_come_back(protocol):
    value = {"a": [1, -5, 2**70, 0.5, None, True, "ä"], "b": (1, 2), "c": {"d": (1, 2, 3, 4)}, 7: ()}
    if protocol >= 3:
        value["e"] = b"bytes"
    assert read(pickle.dumps(value, protocol)) == value


def test_objects_become_records():
    record = read(writer.dumps(writer.Made(writer.Global("argparse", "Namespace"), (), {"size": 256})))
    assert isinstance(record, Call) and record.name == Name("argparse", "Namespace")
    assert record.args == () and record.state == {"size": 256}


def test_an_array_is_recorded_and_not_made(monkeypatch):
    data = pickle.dumps(np.arange(3.0))

    def refuse(*args, **kwargs):
        raise AssertionError("called")

    monkeypatch.setattr(np, "frombuffer", refuse)
    assert read(data).name.name == "_reconstruct"


@pytest.mark.parametrize("protocol", range(6))
def test_a_hostile_call_is_refused_by_name(protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match=r"^x\.pkl wants to call posix\.system; it is refused: .* only arrays$"):
        read(pickle.dumps({"G": [Evil()]}, protocol))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"(S'touch hacked'\nios\nsystem\n.", "x.pkl uses the pickle opcode INST, which no file of weights needs"),
        (b"cbuiltins\neval\n(S'1'\ntR.", "x.pkl wants to call builtins.eval; it is refused"),
        (b"cbuiltins\ngetattr\n.", "x.pkl wants to call builtins.getattr"),
        (b"ctorch\nload\n.", "x.pkl wants to call torch.load"),
        (b"ctorch.nn.modules\nlinear\n.", "x.pkl wants to call torch.nn.modules.linear"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "x.pkl wants to call os.system"),
        (b"c\x1b[31mos\nsystem\n.", r"x.pkl wants to call \x1b[31mos.system"),
        (b"c" + b"a" * 5000 + b"\nb\n.", "x.pkl wants to call " + "a" * 80 + " …"),
        (b"\x80\x02\x82\x01.", "x.pkl uses the pickle opcode EXT1"),
        (b"\x80\x02Pkey\n.", "x.pkl uses the pickle opcode PERSID"),
        (b"", "x.pkl is cut off or damaged"),
        (b"\x80\x04", "x.pkl is cut off or damaged"),
        (b"\xff\xff", "x.pkl is damaged"),
        (b"\x80\x04.", "x.pkl is damaged"),
        (b"\x80\x04]R.", "x.pkl is damaged"),
        (b"\x80\x04NN\x85R.", "x.pkl is damaged"),
        (b"\x80\x04h\x05.", "x.pkl is damaged"),
        (b"\x80\x04t.", "x.pkl is damaged"),
        (b"\x80\x04}NN\x86Ns.", "x.pkl is damaged"),
        (b"\x80\x04N}b.", "x.pkl is damaged"),
    ],
)
def test_other_mistakes_get_one_line(data, line):
    with pytest.raises(FileError) as raised:
        read(data)
    assert str(raised.value).startswith(line)
    assert len(str(raised.value)) < 250 and str(raised.value).isprintable()


def test_nothing_is_allocated_that_the_file_does_not_have():
    """Lengths of an exabyte, a memo of four billion places, a key that would overflow the stack when it is hashed."""
    for opcode in (b"\x8e", b"\x8d", b"\x96"):
        with pytest.raises(FileError, match="cut off"):
            read(b"\x80\x05" + opcode + struct.pack("<Q", 2**60) + b"abc.")
    assert read(b"\x80\x04Nr\xff\xff\xff\xff.") is None
    nested = b"\x80\x04})" + b"\x85" * 200_000
    with pytest.raises(FileError, match="damaged"):
        read(nested + b"Ns.")


def lists_in_lists(levels):
    """Opcodes that push a list; each level holds the one below twice, so that its text doubles with each."""
    return b"]q\x00" + b"".join(b"](h%ch%ceq%c" % (k, k, k + 1) for k in range(levels))


@pytest.mark.parametrize("value", [lists_in_lists(16), b")" + b"\x85" * 200_000, b"K\x01"], ids=["wide", "deep", "int"])
def test_names_are_text(value):
    """A text would double with each level, and a hash would overflow the stack."""
    for names in (value + b"\x8c\x01x", b"\x8c\x01x" + value):
        with pytest.raises(FileError, match=r"^x\.pkl is damaged"):
            read(b"\x80\x04" + names + b"\x93.")


def test_keys_have_few_digits():
    """Python writes no integer of more than 4300 digits, and a key is part of messages."""
    for key, fits in ((2**64 - 1, True), (-(2**64), False), (10**5000, False)):
        data = pickle.dumps({key: 1})
        if fits:
            assert read(data) == {key: 1}
        else:
            with pytest.raises(FileError, match=r"^x\.pkl is damaged"):
                read(data)


def test_a_pickle_of_endless_opcodes_is_given_up(monkeypatch):
    monkeypatch.setattr(pickles, "MAX_OPCODES", 1000)
    with pytest.raises(FileError, match="more than 1000 pickle opcodes"):
        read(b"\x80\x04" + b"]" * 2000 + b".")


def test_damage_anywhere_gets_a_line_or_is_read_over():
    """Every length, and a flipped byte at every place: nothing but a FileError ever comes out."""
    whole = writer.dumps({"G": writer.parameter(np.ones((2, 3), np.float32)), "n": np.arange(4.0)})
    for length in range(len(whole)):
        with pytest.raises(FileError):
            read(whole[:length])
    rng = np.random.default_rng(0)
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= int(rng.integers(1, 256))
        try:
            read(bytes(broken))
        except FileError as error:
            assert "\n" not in str(error)
