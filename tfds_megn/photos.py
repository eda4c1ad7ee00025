"""One photo: from a file of any kind to a square RGB array, or one line that says why not."""

from __future__ import annotations

import io
import os
import warnings

import numpy as np
import PIL.Image
import PIL.ImageOps
from etils import epath

MIN_SIDE = 16  # pixels; below, nothing of a face is left
MAX_PIXELS = 2**27  # 134 megapixels, 400 MB once decoded
MAX_BYTES = 2**29


class PhotoError(ValueError):
    """A photo cannot be used; the message is one line that names the file."""


def read_photo(source: str | os.PathLike | bytes, name: str | None = None) -> np.ndarray:
    """Reads a photo as it is meant to be seen.

    The EXIF orientation is applied. Grey becomes RGB; 16 bits per channel are rounded to 8; transparent parts
    are put on white; CMYK and palettes are converted. Colour profiles are not applied. Of an animation the
    first frame is taken.

    Args:
      source: path of the file (local or remote), or its bytes.
      name: what to call the photo in errors; by default its path.

    Returns:
      u8[H,W,3], RGB.

    Raises:
      PhotoError: the file is not an image, is broken or truncated, is less than 16 pixels wide or high, has
        more than 134 megapixels or 512 MiB, or holds numbers that are not colours.
    """
    if isinstance(source, bytes):
        data, name = source, name or "photo"
    else:
        path = epath.Path(source)
        name = name or os.fspath(path)
        try:
            if path.stat().length > MAX_BYTES:
                raise PhotoError(f"{name}: enormous file (more than {MAX_BYTES // 2**20} MiB)")
            data = path.read_bytes()
        except OSError as error:
            raise PhotoError(f"{name}: cannot be read ({error.strerror or error})") from None
    if not data:
        raise PhotoError(f"{name}: empty file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's doubts about metadata, and its bomb warning: see MAX_PIXELS.
        image = _open(data, name)
        try:
            image.load()
        except Exception as error:  # Pillow's decoders raise nearly anything on bad data.
            raise PhotoError(f"{name}: broken or truncated image ({_one_line(error)})") from None
        try:
            image = PIL.ImageOps.exif_transpose(image)
        except Exception:
            pass  # Unreadable metadata: the pixels are shown as stored, as viewers do.
        try:
            return _to_rgb(image, name)
        except PhotoError:
            raise
        except Exception as error:
            raise PhotoError(f"{name}: cannot be converted to RGB ({_one_line(error)})") from None


def _open(data: bytes, name: str) -> PIL.Image.Image:
    """Reads the header and refuses sizes that no photo has."""
    too_big = PhotoError(f"{name}: enormous image (more than {MAX_PIXELS // 10**6} megapixels)")
    try:
        image = PIL.Image.open(io.BytesIO(data))
    except PIL.Image.DecompressionBombError:
        raise too_big from None
    except PIL.UnidentifiedImageError:
        raise PhotoError(f"{name}: not an image, or its header is broken") from None
    except Exception as error:
        raise PhotoError(f"{name}: broken or truncated image ({_one_line(error)})") from None
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise too_big
    if min(width, height) < MIN_SIDE:
        raise PhotoError(f"{name}: tiny image ({width} x {height}; at least {MIN_SIDE} x {MIN_SIDE} is needed)")
    return image


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _to_rgb(image: PIL.Image.Image, name: str) -> np.ndarray:
    """Returns u8[H,W,3] of a loaded image of any mode."""
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.int64)  # [H,W]
        if grey.min() < 0 or grey.max() > 65535:
            raise PhotoError(f"{name}: holds 32-bit numbers, not colours; save it as 8 or 16 bits per channel")
        return np.repeat(((grey + 128) // 257).astype(np.uint8)[..., None], 3, axis=-1)  # [H,W] -> [H,W,3]
    if image.mode == "F":
        raise PhotoError(f"{name}: holds floating point numbers, not colours; save it as 8 or 16 bits per channel")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = PIL.Image.new("RGBA", image.size, "white")
        image = PIL.Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def crop_resize(image: np.ndarray, size: int) -> np.ndarray:
    """Cuts the central square and scales it with an antialiased Lanczos filter (3 lobes).

    Args:
      image: u8[H,W,3].
      size: width and height of the result in pixels.

    Returns:
      u8[size,size,3].

    Raises:
      ValueError: the image or the size is not as above.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"crop_resize: image must be uint8 [H,W,3], not {image.dtype} {list(image.shape)}")
    if size < 1:
        raise ValueError(f"crop_resize: size must be at least 1, not {size}")
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = PIL.Image.fromarray(image[top : top + side, left : left + side])
    if side == size:
        return np.asarray(square)
    return np.asarray(square.resize((size, size), PIL.Image.Resampling.LANCZOS))
