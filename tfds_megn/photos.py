"""One photo: from a file of any kind to a square RGB array, or one line that says why not."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import os
import struct
import warnings
from collections.abc import Iterable

import numpy as np
import PIL.Image
import PIL.ImageOps
import PIL.JpegImagePlugin
from etils import epath

from tfds_megn import listing

with contextlib.suppress(ImportError):  # An extra; phones write HEIC.
    import pillow_heif

    pillow_heif.register_heif_opener()

MIN_SIDE = 16  # pixels; below, nothing of a face is left
MAX_PIXELS = 2**27  # 134 megapixels, 400 MB once decoded
MAX_BYTES = 2**29


_HEIF_SUFFIXES = (".heic", ".heics", ".heif", ".heifs", ".hif")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_HEIF_WAY_OUT = "HEIC files are read after `pip install pillow-heif` (the extra [heif])"
# Formats of Pillow that hold no pixels of their own (stubs for other programs), or run a program to show them (EPS).
_NO_PHOTOS = ("BUFR", "EPS", "FITS", "GRIB", "HDF5", "MPEG", "WMF")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")


class PhotoError(ValueError):
    """A photo cannot be used; the message is one line that names the file."""


@dataclasses.dataclass(frozen=True)
class JpegSettings:
    """How a JPEG file was compressed; with the same settings, blocks that did not change stay nearly as they are.

    Attributes:
      qtables: quantisation tables by number.
      subsampling: of the colours, as Pillow's `save` takes it; -1 for an unknown one.
    """

    qtables: dict[int, list[int]]
    subsampling: int


@dataclasses.dataclass(frozen=True)
class Picture:
    """A photo as it is meant to be seen, and what its file says beside the pixels.

    Attributes:
      pixels: u8[H,W,3], RGB.
      icc_profile: the colour profile that `pixels` are meant in; None for sRGB.
      exif: the EXIF block without its orientation, which `pixels` have already; None where there is none.
      jpeg: of a JPEG file, its compression.
    """

    pixels: np.ndarray
    icc_profile: bytes | None
    exif: bytes | None
    jpeg: JpegSettings | None


@functools.cache
def suffixes() -> frozenset[str]:
    """Returns the suffixes, lower case, of the files that are read: those that Pillow reads, with its plugins."""
    extensions = PIL.Image.registered_extensions()
    return frozenset(end for end, form in extensions.items() if form in PIL.Image.OPEN and form not in _NO_PHOTOS)


def is_image(name: str) -> bool:
    """Returns whether a file of this name is read as an image; the suffix may be in any case."""
    return os.path.splitext(name)[1].lower() in suffixes()


def describe_left_out(names: Iterable[str]) -> str | None:
    """Returns one line on the files that are no images by their suffix, with the way out for HEIC; None for none."""
    names = list(names)
    if not names:
        return None
    heif = any(name.lower().endswith(_HEIF_SUFFIXES) for name in names)
    way_out = f"; {_HEIF_WAY_OUT}" if heif else ""
    count = "1 file that is no image" if len(names) == 1 else f"{len(names)} files that are no images"
    return f"left out {count} by the suffix: {listing.count_by_suffix(names)}{way_out}"


def read_photo(source: str | os.PathLike | bytes, name: str | None = None) -> np.ndarray:
    """Reads the pixels of a photo; see `read_picture`.

    Returns:
      u8[H,W,3], RGB.
    """
    return read_picture(source, name).pixels


def read_picture(source: str | os.PathLike | bytes, name: str | None = None) -> Picture:
    """Reads a photo as it is meant to be seen.

    The EXIF orientation is applied. Grey becomes RGB; 16 bits per channel are rounded to 8; transparent parts
    are put on white; CMYK and palettes are converted. Colour profiles are not applied. Of an animation the
    first frame is taken.

    Args:
      source: path of the file (local or remote), or its bytes.
      name: what to call the photo in errors; by default its path.

    Returns:
      The picture. A profile of another colour space than RGB does not fit the pixels and is left out.

    Raises:
      PhotoError: the file is not an image, is broken or truncated, is less than 16 pixels wide or high, has
        more than 134 megapixels or 512 MiB, or holds numbers that are not colours.
    """
    if isinstance(source, bytes):
        data, name = source, name or "photo"
    else:
        path = epath.Path(source)
        name = name or listing.printable(path)
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
        image = _load(data, name)
        jpeg = _jpeg_settings(image)
        pixels = to_rgb(image, name)
        exif = _exif(image)
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or profile[16:20] != b"RGB ":
        profile = None
    return Picture(pixels, profile, exif, jpeg)


def _load(data: bytes, name: str) -> PIL.Image.Image:
    """Decodes an image. A PNG that fails is tried again without its texts, which may be the trouble."""
    try:
        return _decode(data, name)
    except PhotoError:
        if not data.startswith(_PNG_SIGNATURE):
            raise
    return _decode(_without_texts(data), name)


def _decode(data: bytes, name: str) -> PIL.Image.Image:
    image = _open(data, name)
    try:
        image.load()
    except Exception as error:  # Pillow's decoders raise nearly anything on bad data.
        raise PhotoError(f"{name}: broken or truncated image ({_one_line(error)})") from None
    return image


def _without_texts(data: bytes) -> bytes:
    """Returns a PNG file without its text chunks; Pillow refuses long ones, though they are no part of the image."""
    kept, place = [_PNG_SIGNATURE], len(_PNG_SIGNATURE)
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if kind not in _PNG_TEXTS:
            kept.append(data[place:end])
        place = end
    return b"".join(kept)


def _jpeg_settings(image: PIL.Image.Image) -> JpegSettings | None:
    """Returns how a JPEG file was compressed, None for other files."""
    if not isinstance(image, PIL.JpegImagePlugin.JpegImageFile):
        return None
    tables = {number: list(table) for number, table in image.quantization.items()}
    return JpegSettings(tables, PIL.JpegImagePlugin.get_sampling(image))


def _exif(image: PIL.Image.Image) -> bytes | None:
    """Returns the EXIF block of an image without its orientation, None where there is none that can be read."""
    try:
        exif = image.getexif()
        exif.pop(0x0112, None)  # The orientation.
        return exif.tobytes() if exif else None
    except Exception:  # Metadata may hold anything.
        return None


def _open(data: bytes, name: str) -> PIL.Image.Image:
    """Reads the header and refuses sizes that no photo has."""
    too_big = PhotoError(f"{name}: enormous image (more than {MAX_PIXELS // 10**6} megapixels)")
    try:
        image = PIL.Image.open(io.BytesIO(data))
    except PIL.Image.DecompressionBombError:
        raise too_big from None
    except PIL.UnidentifiedImageError:
        if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
            raise PhotoError(f"{name}: a HEIC image; {_HEIF_WAY_OUT}") from None
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


def to_rgb(image: PIL.Image.Image, name: str) -> np.ndarray:
    """Returns an image of any mode as `read_picture` does: orientation applied, transparent parts on white.

    Args:
      image: from Pillow; it is loaded when it is not yet.
      name: what to call the image in errors.

    Returns:
      u8[H,W,3], RGB.

    Raises:
      PhotoError: the image is broken, or holds numbers that are not colours.
    """
    try:
        image = PIL.ImageOps.exif_transpose(image)
    except Exception:
        pass  # Unreadable metadata: the pixels are shown as stored, as viewers do.
    try:
        return _convert(image, name)
    except PhotoError:
        raise
    except Exception as error:
        raise PhotoError(f"{name}: cannot be converted to RGB ({_one_line(error)})") from None


def _convert(image: PIL.Image.Image, name: str) -> np.ndarray:
    """Returns u8[H,W,3] of an upright image of any mode."""
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
