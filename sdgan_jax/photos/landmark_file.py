"""landmarks.json in a folder of results: the landmarks of every face of each photo."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from etils import epath

from sdgan_jax import outputs
from sdgan_jax.data.photo_files import LANDMARKS
from sdgan_jax.face3d.finding import Found
from sdgan_jax.face3d.layout import Layout
from sdgan_jax.photos import finders
from tfds_megn import json_text
from tfds_megn.listing import printable

_DIGITS = 2  # of positions in pixels


class LandmarkFile:
    """Faces by photo, kept in a JSON file.

    The file is {"made_by": …, "photos": {PHOTO: [{"score": …, "box": [left, top, right, bottom], "landmarks":
    [[x, y, z], …]}, …]}}: for each photo its faces, the largest first, with 68 landmarks of iBUG's scheme in pixels of
    the upright photo. The centre of the first pixel is (0, 0), and z points to the camera.
    """

    def __init__(self, folder: epath.Path, by: str):
        """Reads the file of an earlier call, where there is one.

        Args:
            folder: the folder of results.
            by: name of the command, see `outputs`.

        Raises:
            FileExistsError: the file was not written by this command.
            ValueError: it cannot be read.
        """
        self._path, self._by = folder / LANDMARKS, by
        self._photos: dict[str, Any] = {}
        outputs.check_own([self._path], by)
        if outputs.exists(self._path):
            try:
                self._photos = dict(json_text.parse(self._path.read_text())["photos"])
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{printable(self._path)} cannot be read; move it away") from error

    def __contains__(self, photo: str) -> bool:
        return photo in self._photos

    def put(self, photo: str, faces: Sequence[Found], layout: Layout) -> None:
        """Sets the faces of a photo; `write` stores them."""
        self._photos[photo] = [
            {
                "score": round(face.score, 4),
                "box": _rounded(face.box),
                "landmarks": _rounded(finders.landmarks(face, layout)),
            }
            for face in faces
        ]

    def write(self, photos: Iterable[str]) -> None:
        """Writes the file: these photos in their order, then others of earlier calls."""
        first = {photo: self._photos[photo] for photo in photos if photo in self._photos}
        lines = [f"{json.dumps(photo)}: {json.dumps(faces)}" for photo, faces in (first | self._photos).items()]
        text = f'{{"made_by": {json.dumps(self._by)}, "photos": {{\n' + ",\n".join(lines) + "\n}}\n"
        outputs.write(self._path, text.encode(), self._by)


def _rounded(values: np.ndarray) -> Any:
    return np.round(values.astype(np.float64), _DIGITS).tolist()
