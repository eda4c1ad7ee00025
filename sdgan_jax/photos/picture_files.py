"""Files of results made from photos: their format, and the photo's profile and EXIF data in them."""

from __future__ import annotations

import os

import numpy as np
from etils import epath
from PIL import Image

from sdgan_jax import pictures
from tfds_megn.photos import Picture

FORMATS = ("png", "same")


def write(path: epath.Path, image: np.ndarray, picture: Picture, by: str) -> None:
    """Writes a result u8[H,W,3] with profile, EXIF block and resolution of its photo, in the format of its suffix.

    Args:
        path: path of the file.
        image: the result.
        picture: the photo.
        by: name of the command, see `outputs`.

    Raises:
        FileExistsError, OSError: see `pictures.write_png`.
    """
    if _is_jpeg(path.suffix):
        pictures.write_jpeg(path, image, by, picture.jpeg, picture.icc_profile, picture.exif, picture.dpi)
    else:
        pictures.write_png(path, image, by, picture.icc_profile, picture.exif, picture.dpi)


def suffix(name: str, form: str) -> str:
    """Returns the suffix of the results of a photo.

    Args:
        name: name of the photo.
        form: "png", or "same": a photo with the suffix of a JPEG becomes a JPEG.
    """
    ending = os.path.splitext(name)[1]
    return ending if form == "same" and _is_jpeg(ending) else ".png"


def _is_jpeg(ending: str) -> bool:
    return Image.registered_extensions().get(ending.lower()) == "JPEG"
