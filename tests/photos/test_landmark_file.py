"""landmarks.json: what is put in is read again, in the order of the photos."""

import json

import numpy as np
import pytest
from etils import epath

from sdgan_jax.face3d import finding, layout
from sdgan_jax.photos.landmark_file import LandmarkFile

LAYOUT = layout.megn(32)


def face(x):
    position_map = np.asarray(LAYOUT.head) * 50 + np.array([x, 60, 0])
    return finding.Found(position_map, 0.12345, finding.box_of(position_map, LAYOUT))


def test_faces_are_kept_in_the_order_of_the_photos(tmp_path):
    folder = epath.Path(tmp_path)
    first = LandmarkFile(folder)
    assert "b" not in first
    first.put("b", [face(100), face(20)], LAYOUT)
    first.put("old", [], LAYOUT)
    first.write(["b"])
    second = LandmarkFile(folder)
    assert "b" in second and "old" in second and "a" not in second
    second.put("a", [face(70)], LAYOUT)
    second.write(["a", "b"])
    photos = json.loads((tmp_path / "landmarks.json").read_text())
    assert list(photos) == ["a", "b", "old"] and [len(faces) for faces in photos.values()] == [1, 2, 0]
    points = np.array(photos["a"][0]["points"])
    # The tip of the nose (31st) is in the middle of a face from the front, the chin (9th) is the lowest point.
    assert points.shape == (68, 2) and abs(points[30, 0] - 70) < 1 and points[8, 1] == points[:, 1].max()
    second.drop("old")
    second.drop("unknown")
    second.write(["b"])
    assert list(json.loads((tmp_path / "landmarks.json").read_text())) == ["b", "a"]
    assert photos["a"][0]["score"] == 0.1235 and list(photos["a"][0]) == ["box", "score", "points"]


@pytest.mark.parametrize(
    "text", ['{"a": [{"box"', "[]", '{"a": 1}', '{"a": [1]}', '{"a": [{"box": [1, 2, 3, 4]}]}', '{"name": "mine"}', ""]
)
def test_files_of_others_stay(tmp_path, text):
    (tmp_path / "landmarks.json").write_text(text)
    with pytest.raises(FileExistsError, match="landmarks.json is damaged, or not a file of landmarks; move it away"):
        LandmarkFile(epath.Path(tmp_path))
    assert (tmp_path / "landmarks.json").read_text() == text
