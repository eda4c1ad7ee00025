"""Landmark errors of a position network on photos whose landmarks are known, with the true box of each face given."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from sdgan_jax import outputs, pictures
from sdgan_jax.data import photo_files
from sdgan_jax.data.batches import map_batches
from sdgan_jax.evaluation.report import Table
from sdgan_jax.face3d import alignment, cutting, finding, geometry, mesh
from sdgan_jax.metrics import landmarks as metric
from sdgan_jax.pretrained import PositionNetwork
from tfds_megn.listing import printable

# Points of the face mesh that are commonly taken for the contour of iBUG's 68 landmarks; roughly, near the ears.
CONTOUR = (162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389)
_INNER = slice(17, 68)  # all but the contour
_TURNS = (15.0, 30.0, 90.0)  # upper ends of the groups of yaw, in degrees
_BATCH = 20
_FARTHEST = 1e6  # pixels; no photo is as large


def read_points(path: epath.Path) -> dict[str, np.ndarray]:
    """Reads the true landmarks of photos.

    Args:
        path: a NumPy archive with `name`, text[N] or bytes[N], names of files, and `points`, f[N,68,2 or 3], iBUG's
            landmarks, or f[N,478,3], points of MediaPipe's face mesh; x and y in pixels of the photo.

    Returns:
        The landmarks f64[68,2] by the name of the file.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is no such archive, a name comes twice, or points are no face of at least a pixel.
        OSError: the file cannot be read.
    """
    shown = f"--points={printable(path)}"
    outputs.check_file(path, shown)
    data = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)), np.load(io.BytesIO(data)) as table:
            stored, points = table["name"], table["points"]
    except Exception as error:  # damage can make zipfile, zlib and numpy raise nearly anything
        raise ValueError(f"{shown}: not a NumPy archive with the arrays name and points (numpy.savez)") from error
    if stored.ndim != 1 or stored.dtype.kind not in "US":
        raise ValueError(
            f"{shown}: name is {list(stored.shape)} of {stored.dtype}; it must be text, the file name of each photo"
        )
    shapes = [(len(stored), 68, 2), (len(stored), 68, 3), (len(stored), mesh.POINTS, 3)]
    if points.shape not in shapes or points.dtype.kind not in "iuf":
        raise ValueError(
            f"{shown}: points is {list(points.shape)} of {points.dtype}; it must be numbers "
            f"[{len(stored)},68,2], or [{len(stored)},{mesh.POINTS},3]"
        )
    if points.shape[1] == mesh.POINTS:
        points = points[:, [*CONTOUR, *mesh.INNER]]
    found: dict[str, np.ndarray] = {}
    for row, (name, face) in enumerate(zip(map(os.fsdecode, stored.tolist()), points[..., :2].astype(np.float64))):
        place = f"{shown}: row {row}, {printable(name)}"
        if name in found:
            raise ValueError(f"{place}: the name comes twice; give each photo one face")
        _check_face(face, place)
        found[name] = face
    return found


def _check_face(face: np.ndarray, place: str) -> None:
    """Raises `ValueError` for landmarks f64[68,2] that are no places in a photo, or in a box of less than a pixel."""
    inside = (np.abs(face) < _FARTHEST).all(1)  # NaN is not
    if not inside.all():
        x, y = face[~inside][0]
        raise ValueError(f"{place}: a point is ({x:g}, {y:g}); x and y must be places in pixels of the photo")
    width, height = np.ptp(face, 0)
    if min(width, height) < 1:
        raise ValueError(
            f"{place}: the points span {width:g} x {height:g} pixels, which is no face; x and y are in pixels of the "
            "photo, not in shares of its size"
        )


def measure_photos(
    network: PositionNetwork, photos: Sequence[photo_files.PhotoFile], points: dict[str, np.ndarray]
) -> Table:
    """Measures the landmarks of a network on photos, each framed by its true landmarks as in the network's training.

    Args:
        network: position network whose layout has landmarks.
        photos: photos with one known face each; others are left out.
        points: see `read_points`.

    Returns:
        For all faces and by the yaw that the network finds: the mean error of the inner 51 and of all 68 landmarks, in
        per cent of √(w·h) of the box of the true ones, and the number of faces.

    Raises:
        ValueError: none of the photos is known.
    """
    known = [photo for photo in photos if photo.name in points]
    frames, squares, truth = [], [], []
    for photo, picture in photo_files.read(known, lambda _, line: print(f"skipped {line}")):
        truth.append(points[photo.name])
        squares.append(finding.frame_as_trained(truth[-1][None], network.framing)[0])
        frames.append(cutting.cut_frame(cutting.halvings(picture.pixels), squares[-1]))
    if not frames:
        raise ValueError("--points: none of the photos of --input is among its names")
    maps = map_batches(
        lambda some: np.asarray(jax.jit(network)(pictures.to_float(some))), np.stack(frames), size=_BATCH
    )
    found, turns = [], []
    for position_map, square in zip(maps, squares, strict=True):
        in_photo = jnp.asarray(alignment.from_square(position_map, square, cutting.SIZE), jnp.float32)
        found.append(np.asarray(geometry.landmarks(in_photo, network.uv_layout))[:, :2])
        turns.append(abs(float(np.rad2deg(geometry.pose(in_photo, network.uv_layout).yaw))))
    return _table(np.array(found), np.array(truth), np.array(turns))


def _table(found: np.ndarray, truth: np.ndarray, turns: np.ndarray) -> Table:
    """Groups the errors of landmarks f[N,68,2] by the yaw f[N] in degrees."""
    inner = metric.normalised_mean_error(found[:, _INNER], truth[:, _INNER], truth)
    every = metric.normalised_mean_error(found, truth, truth)
    groups = {"all": turns >= 0.0}
    for low, high in zip((0.0, *_TURNS[:-1]), _TURNS, strict=True):
        groups[f"yaw {low:.0f} to {high:.0f}"] = (turns >= low) & (turns < high)
    return {
        name: {"inner 51": float(inner[rows].mean()), "all 68": float(every[rows].mean()), "faces": int(rows.sum())}
        for name, rows in groups.items()
        if rows.any()
    }
