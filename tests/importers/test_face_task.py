"""Zips of other networks, and of damaged ones, are refused by name."""

import io
import struct
import zipfile

import numpy as np
import pytest

from sdgan_jax.importers import face_task, formats
from sdgan_jax.importers.pickles import FileError
from tests.importers.test_tflite import face_block


def varint(number):
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def surface(vertices, packed):
    """A protobuf of the canonical mesh, with all numbers in one field or a field for each."""
    numbers = np.concatenate([vertices, np.zeros((len(vertices), 2))], 1).astype("<f4").ravel()
    if packed:
        body = b"\x1a" + varint(4 * numbers.size) + numbers.tobytes()
    else:
        body = b"".join(b"\x1d" + struct.pack("<f", number) for number in numbers)
    body = b"\x08\x00" + body + b"\x20" + varint(300)
    return b"\x0a" + varint(len(body)) + body + b"\x12\x02\x08\x04"


def task(**parts):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name.replace("__", "."), data)
    return file.getvalue()


@pytest.mark.parametrize("packed", [True, False])
def test_vertices_are_read(packed):
    vertices = np.random.default_rng(0).normal(size=(468, 3)).astype(np.float32)
    data = surface(vertices, packed)
    np.testing.assert_array_equal(face_task._vertices(data, "file"), vertices)
    for length in range(0, len(data) - 4, 97):
        with pytest.raises(FileError, match="file/geometry_pipeline"):
            face_task._vertices(data[:length], "file")


def test_other_networks_are_refused(tmp_path):
    block = face_block(np.random.default_rng(0))[0]
    mesh = surface(np.zeros((468, 3)), True)
    for parts, line in (
        ({"face_detector__tflite": block}, "has no face_landmarks_detector.tflite; give MediaPipe's"),
        (
            {
                "face_detector__tflite": block,
                "face_landmarks_detector__tflite": block,
                "geometry_pipeline_metadata_landmarks__binarypb": mesh,
            },
            "face_detector.tflite is another network than is known here: it maps 16 pixels",
        ),
        (
            {"face_detector__tflite": block[:100], "face_landmarks_detector__tflite": block},
            "face_detector.tflite is damaged",
        ),
    ):
        (tmp_path / "a.task").write_bytes(b"\0\0" + task(**parts))  # MediaPipe's own begins with padding
        with pytest.raises(FileError, match=line):
            formats.read(tmp_path / "a.task")
    (tmp_path / "a.tflite").write_bytes(block)
    with pytest.raises(FileError, match="single network of TensorFlow Lite; give MediaPipe's face_landmarker.task"):
        formats.read(tmp_path / "a.tflite")
