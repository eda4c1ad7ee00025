"""Reader of MediaPipe's `face_landmarker.task`: its face detector, its face mesh, and the canonical mesh.

The file is a zip of two `.tflite` networks and of a protobuf with the canonical mesh (a third network, of facial
expressions, is not read). Nothing in it is executed.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from sdgan_jax.face3d.mesh import VERTICES
from sdgan_jax.importers import tflite
from sdgan_jax.importers.assembly import Network
from sdgan_jax.importers.pickles import FileError
from sdgan_jax.nets import graph
from sdgan_jax.pretrained import face_mesh

PARTS = {"detector": "face_detector.tflite", "landmarks": "face_landmarks_detector.tflite"}
SURFACE = "geometry_pipeline_metadata_landmarks.binarypb"
TAKE = "give MediaPipe's face_landmarker.task, which contains the face detector, the face mesh and its surface"
_MOST_BYTES = 64 << 20  # of a part; they have up to 2.6 MB
# Fields of mediapipe/tasks/cc/vision/face_geometry/proto: the mesh; its vertices, five numbers each: x, y, z, u, v.
_MESH, _BUFFER, _NUMBERS = 1, 3, 5


def is_task(file: BinaryIO) -> bool:
    """Returns whether a file is a zip that contains a `.tflite` network; the file is at its start afterwards."""
    try:
        with zipfile.ZipFile(file) as archive:
            return any(name.endswith(".tflite") for name in archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        return False
    finally:
        file.seek(0)


def network_of(file: BinaryIO, source: str) -> Network:
    """Reads the file.

    Args:
        file: binary file at its start.
        source: name of the file in messages.

    Returns:
        The network ready for `pretrained.write`.

    Raises:
        FileError: a part is missing, damaged, or another network than is known.
    """
    with zipfile.ZipFile(file) as archive:
        models = {part: tflite.read(_read(archive, name, source), f"{source}/{name}") for part, name in PARTS.items()}
        vertices = _vertices(_read(archive, SURFACE, source), source)
    settings, variables = {}, {"surface": {"vertices": vertices}}
    for part, model in models.items():
        shapes = {name: list(array.shape) for name, array in model.arrays.items()}
        settings[part] = graph.to_settings(model.graph) | {"arrays": shapes}
        try:
            face_mesh.check(part, model.graph, model.arrays)
        except ValueError as error:
            raise FileError(f"{source}/{PARTS[part]} is another network than is known here: {error}; {TAKE}") from error
        variables[part] = model.arrays
    return Network(face_mesh.KIND, settings, variables, "MediaPipe's face detector and face mesh")


def _read(archive: zipfile.ZipFile, name: str, source: str) -> bytes:
    """Returns the bytes of a part."""
    if name not in archive.namelist():
        raise FileError(f"{source} has no {name}; {TAKE}")
    if archive.getinfo(name).file_size > _MOST_BYTES:
        raise FileError(f"{source}/{name} is larger than any known network")
    try:
        return archive.read(name)
    except Exception as error:  # damage can make zipfile and zlib raise nearly anything
        raise FileError(f"{source}/{name} is damaged; download the file again") from error


def _vertices(data: bytes, source: str) -> np.ndarray:
    """Returns the vertices f32[468,3] of the canonical mesh, x to the right, y up, z towards the camera."""
    try:
        (mesh,) = (value for field, value in _fields(data) if field == _MESH)
        buffers = [value for field, value in _fields(mesh) if field == _BUFFER]
        numbers = np.frombuffer(b"".join(buffers), "<f4")  # one field with all of them, or a field for each
        vertices = numbers.reshape(VERTICES, _NUMBERS)[:, :3]
    except (ValueError, TypeError, IndexError, struct.error) as error:
        raise FileError(f"{source}/{SURFACE} is damaged or contains no mesh of {VERTICES} vertices") from error
    if not np.isfinite(vertices).all():
        raise FileError(f"{source}/{SURFACE} is damaged: a vertex is not finite")
    return vertices.astype(np.float32)


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yields the number and the value of each field of a protobuf message: bytes, or an int."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        form = tag & 7
        if form == 0:
            yield tag >> 3, varint()
            continue
        length = {1: 8, 5: 4}[form] if form in (1, 5) else varint()
        if form not in (1, 2, 5) or at + length > len(data):
            raise ValueError("a field reaches over the end of its message")
        yield tag >> 3, data[at : at + length]
        at += length
