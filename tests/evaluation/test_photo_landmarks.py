"""Landmarks on photos: read from archives, and measured against a network that knows where they are."""

import io
import os

import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
from etils import epath

from sdgan_jax.data import photo_files
from sdgan_jax.evaluation import photo_landmarks
from sdgan_jax.face3d import finding, geometry, layout, mesh

LAYOUT = layout.megn(64)
HEAD = np.asarray(geometry.landmarks(jnp.asarray(LAYOUT.head), LAYOUT))


FACES = 40.0 * np.stack([HEAD[:, :2], HEAD[:, :2] + 1.0])


def changed(value):
    """The faces with another x of a point of the second."""
    faces = FACES.copy()
    faces[1, 30, 0] = value
    return faces


class Head:
    """A network that sees the mean head in every frame, as large as the framing says, moved to the right a little."""

    uv_layout, framing = LAYOUT, finding.MEGN

    def __init__(self, off):
        self.off = off

    def __call__(self, images):
        low, high = HEAD[:, :2].min(0), HEAD[:, :2].max(0)
        scale = self.framing.share * 256 / (high - low).mean()
        middle = jnp.array([self.framing.x, self.framing.y]) * 256 - 0.5 - scale * (low + high) / 2
        maps = LAYOUT.head * scale + jnp.append(middle, 0.0) + jnp.array([self.off, 0.0, 0.0])
        return jnp.broadcast_to(maps, (len(images), *maps.shape))


def test_errors_are_the_distance_in_per_cent_of_the_box(tmp_path):
    points = 40.0 * HEAD[:, :2] + [60.0, 50.0]
    PIL.Image.new("RGB", (120, 100)).save(tmp_path / "a.png")
    PIL.Image.new("RGB", (120, 100)).save(tmp_path / "other.png")
    files = photo_files.find(epath.Path(tmp_path), epath.Path(tmp_path / "out"))
    np.savez(tmp_path / "points.npz", name=["a.png"], points=points[None])
    known = photo_landmarks.read_points(epath.Path(tmp_path / "points.npz"))
    table = photo_landmarks.measure_photos(Head(0.0), files, known)
    assert table["all"] == pytest.approx({"inner 51": 0.0, "all 68": 0.0, "faces": 1}, abs=1e-2)
    w, h = np.ptp(points, 0)
    table = photo_landmarks.measure_photos(Head(2.56), files, known)  # a hundredth of the frame
    expected = (w + h) / 2 / finding.MEGN.share / np.sqrt(w * h)
    assert table["yaw 0 to 15"] == pytest.approx({"inner 51": expected, "all 68": expected, "faces": 1}, rel=1e-2)
    with pytest.raises(ValueError, match="none of the photos of --input is among its names"):
        photo_landmarks.measure_photos(Head(0.0), files[1:], known)


def test_a_pipe_is_refused_not_read(tmp_path):
    os.mkfifo(tmp_path / "points.npz")
    with pytest.raises(ValueError, match="^--points=.*points.npz is a pipe or device; give a file$"):
        photo_landmarks.read_points(epath.Path(tmp_path / "points.npz"))


def test_points_of_the_mesh_become_landmarks(tmp_path):
    points = np.arange(478 * 3, dtype=np.float32).reshape(1, 478, 3)
    np.savez(tmp_path / "points.npz", name=["a"], points=points)
    (found,) = photo_landmarks.read_points(epath.Path(tmp_path / "points.npz")).values()
    np.testing.assert_array_equal(found[[8, 36, 45]], points[0, [152, mesh.LEFT_EYE, mesh.RIGHT_EYE], :2])
    assert len(set(photo_landmarks.CONTOUR)) == 17 and not set(photo_landmarks.CONTOUR) & set(mesh.INNER)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"points": np.zeros((1, 68, 2))}, "not a NumPy archive with the arrays name and points"),
        ({"name": ["a"], "points": np.zeros((1, 5, 2))}, r"points is \[1, 5, 2\] of .* it must be numbers \[1,68,2\]"),
        ({"name": np.array([None]), "points": np.zeros((1, 68, 2))}, "not a NumPy archive"),
        ({"name": ["a"], "points": np.zeros((1, 68, 1))}, r"points is \[1, 68, 1\] of float64; it must be numbers"),
        ({"name": ["a"], "points": np.full((1, 68, 2), "x")}, r"points is \[1, 68, 2\] of <U1; it must be numbers"),
        ({"name": [1.5], "points": FACES[:1]}, r"name is \[1\] of float64; it must be text"),
        ({"name": [["a"]], "points": FACES[:1]}, r"name is \[1, 1\] of <U1; it must be text"),
        ({"name": ["a", "a"], "points": FACES}, "row 1, a: the name comes twice"),
        ({"name": ["a", "b"], "points": changed(np.nan)}, r"row 1, b: a point is \(nan, "),
        ({"name": ["a", "b"], "points": changed(np.inf)}, r"row 1, b: a point is \(inf, "),
        (
            {"name": ["a", "b"], "points": changed(-1e30)},
            r"row 1, b: a point is \(-1e\+30, .* must be places in pixels",
        ),
        ({"name": ["a", "b"], "points": FACES * [[[1]], [[0]]]}, "row 1, b: the points span 0 x 0 pixels, .* no face"),
        ({"name": ["a", "b"], "points": FACES * [1, 0]}, "row 0, a: the points span .* x 0 pixels"),
        ({"name": ["a", "b"], "points": FACES / 1000}, "in pixels of the photo, not in shares of its size"),
    ],
)
def test_other_archives_are_refused_in_one_line(tmp_path, arrays, message):
    np.savez(tmp_path / "points.npz", **arrays)
    with pytest.raises(ValueError, match=f"^--points={tmp_path}/points.npz: .*{message}") as raised:
        photo_landmarks.read_points(epath.Path(tmp_path / "points.npz"))
    assert "\n" not in str(raised.value)


def archive(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def plain(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04",
        b"no archive",
        plain(FACES),
        archive(name=["a", "b"], points=FACES)[:-40],
        archive(name=["a", "b"], points=FACES).replace(b"descr", b"desc\xff"),
        archive(name=["a", "b"]),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, data):
    (tmp_path / "points.npz").write_bytes(data)
    with pytest.raises(ValueError, match="points.npz: not a NumPy archive with the arrays name and points"):
        photo_landmarks.read_points(epath.Path(tmp_path / "points.npz"))


def test_names_may_be_stored_as_bytes(tmp_path):
    names = ["a.png", "größer.png"]
    np.savez(tmp_path / "points.npz", name=[name.encode() for name in names], points=FACES)
    assert list(photo_landmarks.read_points(epath.Path(tmp_path / "points.npz"))) == names


def test_each_face_is_in_the_group_of_its_yaw():
    """Off by 1, 2, 3 and 4 pixels to the right, at the sides of the groups."""
    truth = np.repeat(FACES[:1], 4, 0)
    found = truth + np.arange(1.0, 5.0)[:, None, None] * [1.0, 0.0]
    table = photo_landmarks._table(found, truth, np.array([0.0, 15.0, 29.9, 30.0]))
    pixel = 100.0 / np.sqrt(np.prod(np.ptp(FACES[0], axis=0)))
    expected = {"all": (2.5, 4), "yaw 0 to 15": (1.0, 1), "yaw 15 to 30": (2.5, 2), "yaw 30 to 90": (4.0, 1)}
    assert list(table) == list(expected)
    for group, (pixels, faces) in expected.items():
        assert table[group] == pytest.approx({"inner 51": pixels * pixel, "all 68": pixels * pixel, "faces": faces})
