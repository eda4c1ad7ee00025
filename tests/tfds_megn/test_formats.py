"""Data prepared in one record format and read in the other, with a TensorFlow of these few lines."""

import json
import struct
import sys
import types

import pytest
from array_record.python import array_record_module

import tfds_megn
from tfds_megn import formats, workers

CONFIG = {"config": "rendered_32", "num_images": 30}


def split_of(path):
    """The split in a name such as `megn-train.array_record-00000-of-00001`."""
    return path.name.split(".")[0].split("-")[1]


def read_array_record(path):
    reader = array_record_module.ArrayRecordReader(str(path))
    records = [reader.read() for _ in range(reader.num_records())]
    reader.close()
    return records


def write_tfrecord(path, records):
    """The format of TFRecord files: length, its checksum, data, their checksum; the checksums are not filled in."""
    path.write_bytes(b"".join(struct.pack("<QI", len(data), 0) + data + bytes(4) for data in records))


class TFRecordDataset:
    """A stand-in for the class of TensorFlow."""

    def __init__(self, path):
        self.path = path

    def as_numpy_iterator(self):
        with open(self.path, "rb") as file:
            while head := file.read(12):
                yield file.read(struct.unpack("<QI", head)[0])
                file.read(4)


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """Folder of data prepared as array_record."""
    monkeypatch.setattr(workers, "available_cores", lambda: 0)
    tfds_megn.data_source(data_dir=tmp_path, **CONFIG)
    return tmp_path / "megn" / "rendered_32_n30" / "1.0.0"


@pytest.fixture
def records(prepared):
    """The records of each split; the folder is turned into one that was prepared as tfrecord."""
    found = {}
    for path in sorted(prepared.glob("*array_record*")):
        found[split_of(path)] = read_array_record(path)
        write_tfrecord(path.with_name(path.name.replace("array_record", "tfrecord")), read_array_record(path))
        path.unlink()
    info = prepared / "dataset_info.json"
    changed = json.loads(info.read_text()) | {"fileFormat": "tfrecord"}
    info.write_text(json.dumps(changed))
    return found


def test_unprepared_data_are_told_without_a_warning(tmp_path, caplog):
    builder = tfds_megn.Builder(config="rendered_32", data_dir=tmp_path)
    caplog.clear()
    assert not formats.is_prepared(builder) and not caplog.records


def test_the_format_that_is_there_is_left_alone(prepared):
    builder = tfds_megn.Builder(config="rendered_32_n30", data_dir=prepared.parents[2])
    before = sorted(path.name for path in prepared.iterdir())
    assert formats.is_prepared(builder)
    formats.offer_format(builder, formats.ARRAY_RECORD)
    assert builder.info.file_format == formats.ARRAY_RECORD
    assert sorted(path.name for path in prepared.iterdir()) == before


def test_tfrecord_files_need_tensorflow(prepared, records, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ValueError, match=f"{prepared} holds tfrecord files, which only TensorFlow reads: install "):
        tfds_megn.data_source(data_dir=prepared.parents[2], **CONFIG)


def test_tfrecord_files_are_copied_once(prepared, records, monkeypatch, capfd):
    stand_in = types.SimpleNamespace(data=types.SimpleNamespace(TFRecordDataset=TFRecordDataset))
    monkeypatch.setitem(sys.modules, "tensorflow", stand_in)
    for _ in range(2):
        faces = tfds_megn.data_source(data_dir=prepared.parents[2], split="train", **CONFIG)
        assert len(faces) == 24 and faces[3]["image"].shape == (32, 32, 3)
    assert capfd.readouterr().err.count(f"Adding array_record files to {prepared}") == 1
    copied = {
        path.name.split(".")[0].split("-")[1]: read_array_record(path) for path in prepared.glob("*array_record*")
    }
    assert copied == records
    assert json.loads((prepared / "dataset_info.json").read_text())["alternativeFileFormats"] == ["array_record"]
    assert len(list(prepared.glob("*tfrecord*"))) == 3
