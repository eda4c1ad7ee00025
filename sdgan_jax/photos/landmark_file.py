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
_KEYS = {"box", "score", "points"}  # of a face


class LandmarkFile:
    """Faces by photo, kept in a JSON file.

    The file is {PHOTO: [{"box": [left, top, right, bottom], "score": …, "points": [[x, y], …]}, …], …}: for each photo
    its faces, the largest first, with 68 landmarks of iBUG's scheme in pixels of the upright photo. The centre of the
    first pixel is (0, 0).
    """

    def __init__(self, folder: epath.Path):
        """Reads the file of an earlier call, where there is one.

        Args:
            folder: the folder of results.

        Raises:
            FileExistsError: the file contains something else, or is damaged.
        """
        self._path = folder / LANDMARKS
        self._photos = _read(self._path) if outputs.exists(self._path) else {}

    def __contains__(self, photo: str) -> bool:
        return photo in self._photos

    def put(self, photo: str, faces: Sequence[Found], layout: Layout) -> None:
        """Sets the faces of a photo; `write` stores them."""
        self._photos[photo] = [
            {
                "box": _rounded(face.box),
                "score": round(face.score, 4),
                "points": _rounded(finders.landmarks(face, layout)[:, :2]),
            }
            for face in faces
        ]

    def drop(self, photo: str) -> None:
        """Leaves out a photo whose faces are no longer known."""
        self._photos.pop(photo, None)

    def write(self, photos: Iterable[str]) -> None:
        """Writes the file: these photos in their order, then others of earlier calls."""
        first = {photo: self._photos[photo] for photo in photos if photo in self._photos}
        lines = [f"{json.dumps(photo)}: {json.dumps(faces)}" for photo, faces in (first | self._photos).items()]
        with outputs.in_one_piece(self._path) as unfinished:
            unfinished.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _read(path: epath.Path) -> dict[str, Any]:
    """Reads the faces of all photos of a file."""
    try:
        photos: Any = json_text.parse(path.read_text()) if path.is_file() else None  # a pipe would wait for ever
        if all(set(face) == _KEYS for faces in photos.values() for face in faces):
            return dict(photos)
    except (OSError, ValueError, AttributeError, TypeError):
        pass
    raise FileExistsError(f"{printable(path)} is damaged, or not a file of landmarks; move it away")


def _rounded(values: np.ndarray) -> Any:
    return np.round(values.astype(np.float64), _DIGITS).tolist()
