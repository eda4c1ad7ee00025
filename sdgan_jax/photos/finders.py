"""Position networks in the form in which commands search photos for faces."""

from __future__ import annotations

import collections
import re
from collections.abc import Generator, Iterable
from concurrent import futures
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from sdgan_jax import pretrained
from sdgan_jax.data.photo_files import PhotoFile
from sdgan_jax.face3d import face_crop, finding, geometry
from sdgan_jax.face3d.face_crop import Crop
from sdgan_jax.face3d.layout import Layout
from sdgan_jax.pretrained import archive
from tfds_megn.photos import Picture

COLUMNS = ("score", "left", "top", "right", "bottom", "yaw", "pitch", "roll")  # of a face, in a manifest
_AT_ONCE = 2  # photos searched at once while another is worked on: a search keeps little more than one core busy
_AHEAD = 8  # photos read ahead, so that the search of the next ones goes on beside a long one
_BYTES = 1 << 28  # of these photos, above which none is read ahead
# Compiled as one each: their operations alone take half a second at the start.
_pose, _landmarks = jax.jit(geometry.pose), jax.jit(geometry.landmarks)


class Finder(NamedTuple):
    """A position network that finds faces.

    Attributes:
        find: finds the faces of a photo u8[H,W,3], see `finding.Find`.
        layout: layout of their position maps.
        name: differs for networks that find differently.
    """

    find: finding.Find
    layout: Layout
    name: str


def read_finder(path: epath.PathLike = "") -> Finder:
    """Reads a position network, see `pretrained.position_network`.

    Args:
        path: network directory; "" for the one for photos that comes with the project.
    """
    network = pretrained.position_network(path or pretrained.SHIPPED_FINDER)
    return Finder(network.make_find(), network.uv_layout, archive.fingerprint(network.variables))


def find_ahead(
    photos: Iterable[tuple[PhotoFile, Picture]], finder: Finder, most: int | None = None
) -> Generator[tuple[PhotoFile, Picture, list[finding.Found]], None, None]:
    """Finds the faces of photos, those of the next photos while the caller works on one.

    Args:
        photos: photos as they are read, see `photo_files.read`.
        finder: finds the faces.
        most: largest number of faces of each photo, the largest; None for all.

    Yields:
        Each photo with its faces, in their order.
    """
    waiting: collections.deque[tuple[PhotoFile, Picture, futures.Future]] = collections.deque()
    pool = futures.ThreadPoolExecutor(_AT_ONCE)
    try:
        for number, (photo, picture) in enumerate(photos):
            search = pool.submit(finder.find, picture.pixels, most=most)
            waiting.append((photo, picture, search))
            if not number:
                futures.wait([search])  # two searches would compile the same programs at once
            while len(waiting) > _AHEAD or sum(picture.pixels.size for _, picture, _ in waiting) > _BYTES:
                photo, picture, search = waiting.popleft()
                yield photo, picture, search.result()
        for photo, picture, search in waiting:
            yield photo, picture, search.result()
    finally:  # the caller may have closed the generator: what nobody waits for is not searched
        pool.shutdown(wait=False, cancel_futures=True)


def read_most(text: str) -> int | None:
    """Reads a value of `--faces` as the largest number of faces; None for all.

    Raises:
        ValueError: it is neither "all" nor "largest" nor a number of at least 1.
    """
    known = {"all": None, "largest": 1}
    if text in known:
        return known[text]
    if not re.fullmatch(r"0*[1-9][0-9]{0,99}", text):  # Python refuses to read very long numbers
        raise ValueError(f"--faces={text}: give all, largest, or a number from 1 on")
    return int(text)


def crop(face: finding.Found, layout: Layout, kind: face_crop.Kind) -> Crop:
    """Returns the crop of a face that generators are trained on.

    Args:
        face: the face.
        layout: layout of its position map.
        kind: kind of crop, such as `config.face_crop`.
    """
    return face_crop.CROPS[kind](landmarks(face, layout)[:, :2])


def landmarks(face: finding.Found, layout: Layout) -> np.ndarray:
    """Returns the 68 landmarks f32[68,3] of a face, in pixels of the photo.

    Args:
        face: the face.
        layout: layout of its position map.
    """
    return np.asarray(_landmarks(face.position_map, layout))


def describe(face: finding.Found, layout: Layout) -> dict[str, Any]:
    """Returns `COLUMNS` of a face: score, box in pixels, angles in degrees.

    Args:
        face: the face.
        layout: layout of its position map.
    """
    pose = _pose(face.position_map, layout)
    angles = (round(float(np.rad2deg(angle)), 2) for angle in (pose.yaw, pose.pitch, pose.roll))
    return dict(zip(COLUMNS, (round(face.score, 4), *(round(float(x), 1) for x in face.box), *angles), strict=True))
