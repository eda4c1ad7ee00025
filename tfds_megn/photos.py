"""Reader of one photo: from a file of any image format to an RGB array, or one line with the reason why not."""

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

MIN_SIDE = 16  # pixels; a smaller image shows no face
MAX_PIXELS = 2**27  # 134 megapixels, 400 MB once decoded
MAX_BYTES = 2**29

_HEIF_SUFFIXES = (".heic", ".heics", ".heif", ".heifs", ".hif")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_HEIF_WAY_OUT = "HEIC files are read after `pip install pillow-heif` (the extra [heif])"
# Formats that Pillow only passes on to other programs, or that run a program to be shown (EPS).
_NO_PHOTOS = ("BUFR", "EPS", "FITS", "GRIB", "HDF5", "MPEG", "WMF")
_ANIMATIONS = ("GIF", "PNG", "WEBP")  # The further images of other formats are previews or pages.
# Tags of TIFF that describe how the pixels are stored (and the orientation, which is applied), and blocks of other
# kinds of metadata; in the EXIF block of another file they would be wrong.
_OF_THE_FILE = (*range(254, 267), *range(273, 282), *range(284, 296), 297, *range(301, 305), *range(317, 326), 330)
_OF_THE_FILE += (*range(332, 348), *range(512, 522), *range(529, 533), 700, 33723, 34377, 34675, 37724)
_MOST_DPI = 65535  # of a JPEG
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")


class PhotoError(ValueError):
    """A photo cannot be used; the message is one line that names the file."""


@dataclasses.dataclass(frozen=True)
class JpegSettings:
    """Compression settings of a JPEG file; saving with them again keeps unchanged blocks nearly as they are.

    Attributes:
      qtables: quantisation tables of Y, Cb and Cr, in that order; where there are fewer, the last is that of the rest.
      subsampling: chroma subsampling for Pillow's `save`; -1 for an unknown one.
    """

    qtables: list[list[int]]
    subsampling: int


@dataclasses.dataclass(frozen=True)
class Picture:
    """An upright photo and the metadata of its file.

    Attributes:
      pixels: u8[H,W,3], RGB.
      icc_profile: colour profile of `pixels`; None for sRGB.
      exif: EXIF block without the orientation, which is applied to `pixels`; None where there is none.
      jpeg: compression settings of a JPEG file, None for other formats.
      dpi: pixels per inch along x and y; None where the file has none.
      animated: whether `pixels` is the first frame of an animation.
    """

    pixels: np.ndarray
    icc_profile: bytes | None
    exif: bytes | None
    jpeg: JpegSettings | None
    dpi: tuple[float, float] | None = None
    animated: bool = False


@functools.cache
def suffixes() -> frozenset[str]:
    """Returns the lower-case suffixes of the image files that can be read, by Pillow and its plugins."""
    extensions = PIL.Image.registered_extensions()
    return frozenset(end for end, form in extensions.items() if form in PIL.Image.OPEN and form not in _NO_PHOTOS)


def is_image(name: str) -> bool:
    """Returns whether a file of this name is read as an image; the case of the suffix does not matter."""
    return os.path.splitext(name)[1].lower() in suffixes()


def describe_left_out(names: Iterable[str]) -> str | None:
    """Returns one line about files that are no images by their suffix, with a hint for HEIC; None for no files."""
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


def read_picture(source: str | os.PathLike | bytes, name: str | None = None, max_pixels: int = MAX_PIXELS) -> Picture:
    """Reads a photo and its metadata.

    The EXIF orientation is applied. Grey becomes RGB; 16 bits per channel are rounded to 8; transparent parts become
    white; CMYK and palettes are converted. Colour profiles are not applied. The first frame of an animation is read.

    Args:
      source: path of a local or remote file, or the bytes of a file.
      name: name of the photo in errors; by default its path.
      max_pixels: number of pixels of the largest image that is decoded, at least 10**6.

    Returns:
      The picture. A profile of another colour space than RGB does not fit the pixels and is left out.

    Raises:
      PhotoError: the file is not an image, is broken or truncated, is less than 16 pixels wide or high, has more than
        `max_pixels` (134 megapixels) or 512 MiB, or contains numbers that are not colours.
    """
    if isinstance(source, bytes):
        data, name = source, name or "photo"
    else:
        path = epath.Path(source)
        name = name or listing.printable(path)
        try:
            check_length(path.stat().length, name)
            data = path.read_bytes()
        except OSError as error:
            raise PhotoError(f"{name}: cannot be read ({error.strerror or error})") from None
    if not data:
        raise PhotoError(f"{name}: empty file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # About metadata and large images; `open_image` checks the size.
        image = _load(data, name, max_pixels)
        jpeg = _jpeg_settings(image)
        pixels = to_rgb(image, name)
        exif = _exif(image)
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or profile[16:20] != b"RGB ":
        profile = None
    return Picture(pixels, profile, exif, jpeg, _dpi(image), _is_animated(image))


def check_length(length: int, name: str) -> None:
    """Raises PhotoError when a file has more than `MAX_BYTES` bytes."""
    if length > MAX_BYTES:
        raise PhotoError(f"{name}: enormous file (more than {MAX_BYTES // 2**20} MiB)")


def _load(data: bytes, name: str, max_pixels: int) -> PIL.Image.Image:
    """Decodes an image; a PNG that fails is decoded again without its text chunks, which Pillow may refuse."""
    try:
        return _decode(data, name, max_pixels)
    except PhotoError:
        if not data.startswith(_PNG_SIGNATURE):
            raise
    return _decode(_without_texts(data), name, max_pixels)


def _decode(data: bytes, name: str, max_pixels: int) -> PIL.Image.Image:
    """Opens an image and decodes its pixels."""
    image = open_image(data, name, max_pixels)
    try:
        image.load()
    except Exception as error:  # Pillow's decoders raise nearly anything on bad data.
        raise PhotoError(f"{name}: broken or truncated image ({_one_line(error)})") from None
    return image


def _without_texts(data: bytes) -> bytes:
    """Returns a PNG file without its text chunks; Pillow refuses images with long ones."""
    kept, place = [_PNG_SIGNATURE], len(_PNG_SIGNATURE)
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if kind not in _PNG_TEXTS:
            kept.append(data[place:end])
        place = end
    return b"".join(kept)


def _jpeg_settings(image: PIL.Image.Image) -> JpegSettings | None:
    """Returns the compression settings of a JPEG file; None for other files, and where they are not known."""
    if not isinstance(image, PIL.JpegImagePlugin.JpegImageFile):
        return None
    # A file numbers its tables as it likes, and may contain tables that no component uses.
    tables = [list(image.quantization.get(number, ())) for *_, number in image.layer[:3]]
    if not tables or [] in tables:
        return None
    while len(tables) > 1 and tables[-1] == tables[-2]:
        tables.pop()
    return JpegSettings(tables, PIL.JpegImagePlugin.get_sampling(image))


def _dpi(image: PIL.Image.Image) -> tuple[float, float] | None:
    """Returns the pixels per inch of an image, None where they are missing or make no sense."""
    try:
        x, y = (float(value) for value in image.info["dpi"])
        return (x, y) if 1 <= x <= _MOST_DPI and 1 <= y <= _MOST_DPI else None
    except Exception:  # Malformed metadata can be of any type.
        return None


def _is_animated(image: PIL.Image.Image) -> bool:
    """Returns whether an image is the first frame of an animation."""
    try:
        return image.format in _ANIMATIONS and bool(getattr(image, "is_animated", False))
    except Exception:  # The second frame is looked for, and may be damaged.
        return False


def _exif(image: PIL.Image.Image) -> bytes | None:
    """Returns the EXIF block of an image without what is not true of `pixels`; None for none, or an unreadable one."""
    try:
        exif = image.getexif()
        for tag in _OF_THE_FILE:
            exif.pop(tag, None)
        return exif.tobytes() if exif else None
    except Exception:  # Malformed metadata raises anything.
        return None


def open_image(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> PIL.Image.Image:
    """Reads the header of an image; its pixels are not decoded.

    Args:
      data: the bytes of the file.
      name: name of the image in errors.
      max_pixels: see `read_picture`.

    Returns:
      An image of Pillow.

    Raises:
      PhotoError: the file is not an image, its header is broken, or the image is tiny or enormous.
    """
    too_big = PhotoError(f"{name}: enormous image (more than {max_pixels // 10**6} megapixels)")
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
    if width * height > max_pixels:
        raise too_big
    if min(width, height) < MIN_SIDE:
        raise PhotoError(f"{name}: tiny image ({width} x {height}; at least {MIN_SIDE} x {MIN_SIDE} is needed)")
    return image


def _one_line(error: Exception) -> str:
    """Returns the message of an error on one line, the name of its type when it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def to_rgb(image: PIL.Image.Image, name: str) -> np.ndarray:
    """Converts an image of any mode: the orientation is applied, transparent parts become white.

    Args:
      image: image of Pillow, with or without loaded pixels; it is turned upright in place.
      name: name of the image in errors.

    Returns:
      u8[H,W,3], RGB.

    Raises:
      PhotoError: the image is broken, or contains numbers that are not colours.
    """
    try:
        PIL.ImageOps.exif_transpose(image, in_place=True)  # A copy of 100 megapixels takes 400 MB.
    except Exception:
        pass  # Unreadable metadata: the pixels stay as stored, as in image viewers.
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
        if np.min(grey) < 0 or np.max(grey) > 65535:
            raise PhotoError(f"{name}: holds 32-bit numbers, not colours; save it as 8 or 16 bits per channel")
        return np.repeat(((grey + 128) // 257).astype(np.uint8)[..., None], 3, axis=-1)  # [H,W] -> [H,W,3]
    if image.mode == "F":
        raise PhotoError(f"{name}: holds floating point numbers, not colours; save it as 8 or 16 bits per channel")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = PIL.Image.new("RGBA", image.size, "white")
        image = PIL.Image.alpha_composite(white, image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def crop_resize(image: np.ndarray, size: int) -> np.ndarray:
    """Crops the central square and scales it with an antialiased Lanczos filter (3 lobes).

    Args:
      image: u8[H,W,3].
      size: width and height of the result in pixels, at least 1.

    Returns:
      u8[size,size,3].

    Raises:
      ValueError: the image has another shape or dtype, or the size is less than 1.
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
