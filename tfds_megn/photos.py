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
import PIL.PngImagePlugin
import PIL.TiffImagePlugin
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
# Pillow leaves the transparent colour of a PNG as stored, and scales the pixels: by these factors, by their raw mode.
_PIXEL_SCALES = {"L;2": 255 / 3, "L;4": 255 / 15, "RGB;16B": 1 / 256}
_GREY_OF_16_BITS = ("PNG", "PPM")  # formats whose images of Pillow's mode I, 32 bits, have 16; no other says its white
_BITS = PIL.TiffImagePlugin.BITSPERSAMPLE
_PHOTOMETRIC = PIL.TiffImagePlugin.PHOTOMETRIC_INTERPRETATION  # the tag that says which number is white
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

    The EXIF orientation is applied. Grey becomes RGB; of 16 bits per channel 8 are kept, rounded in grey images and cut
    off in others; transparent parts become white; CMYK and palettes are converted. Colour profiles are not applied. The
    first frame of an animation is read.

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
        warnings.simplefilter("ignore")  # About metadata and large images; `_open` checks the size.
        image = _load(data, name, max_pixels)
        jpeg = _jpeg_settings(image)
        pixels = to_rgb(image, name)
        exif = _exif(image)
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or profile[16:20] != b"RGB ":
        profile = None
    return Picture(pixels, profile, exif, jpeg, _dpi(image), _is_animated(image))


def read_rgba(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads an image of any size with its transparency, otherwise as `read_picture` reads a photo.

    Args:
      data: the bytes of a file.
      name: name of the image in errors.
      max_pixels: see `read_picture`.

    Returns:
      u8[H,W,4], RGB and opacity.

    Raises:
      PhotoError: see `read_picture`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _to_array(_load(data, name, max_pixels, min_side=1), name, "RGBA")


def check_length(length: int, name: str) -> None:
    """Raises PhotoError when a file has more than `MAX_BYTES` bytes."""
    if length > MAX_BYTES:
        raise PhotoError(f"{name}: enormous file (more than {MAX_BYTES // 2**20} MiB)")


def _load(data: bytes, name: str, max_pixels: int, min_side: int = MIN_SIDE) -> PIL.Image.Image:
    """Decodes an image; a PNG that fails is decoded again without its text chunks, which Pillow may refuse."""
    try:
        return _decode(data, name, max_pixels, min_side)
    except PhotoError:
        if not data.startswith(_PNG_SIGNATURE):
            raise
    return _decode(_without_texts(data), name, max_pixels, min_side)


def _decode(data: bytes, name: str, max_pixels: int, min_side: int) -> PIL.Image.Image:
    """Opens an image and decodes its pixels."""
    image = _open(data, name, max_pixels, min_side)
    try:
        _scale_transparent_colour(image)
        image.load()
    except Exception as error:  # Pillow's decoders raise nearly anything on bad data.
        raise PhotoError(f"{name}: broken or truncated image ({listing.one_line(error)})") from None
    return image


def _scale_transparent_colour(image: PIL.Image.Image) -> None:
    """Scales the transparent colour of a PNG, whose pixels are not decoded yet, as Pillow will scale the pixels."""
    if not isinstance(image, PIL.PngImagePlugin.PngImageFile) or "transparency" not in image.info:
        return
    colour, scale = image.info["transparency"], _PIXEL_SCALES.get(str(image.tile[0].args))
    if scale is not None:
        several = isinstance(colour, tuple)  # of an image in colour
        image.info["transparency"] = tuple(int(c * scale) for c in colour) if several else int(colour * scale)


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


def _open(data: bytes, name: str, max_pixels: int, min_side: int) -> PIL.Image.Image:
    """Reads the header of an image; its pixels are not decoded."""
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
        raise PhotoError(f"{name}: broken or truncated image ({listing.one_line(error)})") from None
    width, height = image.size
    if width * height > max_pixels:
        raise too_big
    if min(width, height) < min_side:
        raise PhotoError(f"{name}: tiny image ({width} x {height}; at least {min_side} x {min_side} is needed)")
    return image


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
    return _to_array(image, name, "RGB")


def _to_array(image: PIL.Image.Image, name: str, mode: str) -> np.ndarray:
    """Returns u8[H,W,3] in the mode "RGB", u8[H,W,4] in the mode "RGBA"; see `to_rgb`."""
    try:
        PIL.ImageOps.exif_transpose(image, in_place=True)  # A copy of 100 megapixels takes 400 MB.
    except Exception:
        pass  # Unreadable metadata: the pixels stay as stored, as in image viewers.
    try:
        return _convert(image, name, mode)
    except PhotoError:
        raise
    except Exception as error:
        raise PhotoError(f"{name}: cannot be converted to {mode} ({listing.one_line(error)})") from None


def _convert(image: PIL.Image.Image, name: str, mode: str) -> np.ndarray:
    """Returns the pixels of an upright image of any mode."""
    if image.mode == "F":
        raise PhotoError(f"{name}: holds floating point numbers, not colours; save it as 8 or 16 bits per channel")
    if image.mode == "I" and image.format not in _GREY_OF_16_BITS:
        raise PhotoError(
            f"{name}: holds 32-bit or signed numbers, not colours; save it as 8 or 16 bits per channel, unsigned"
        )
    if image.mode.startswith("I"):
        image = _round_grey(image)
    if mode == "RGB" and image.has_transparency_data:
        image = image.convert("RGBA")
        white = PIL.Image.new("RGBA", image.size, "white")
        image = PIL.Image.alpha_composite(white, image)
    return np.asarray(image if image.mode == mode else image.convert(mode))


def _round_grey(image: PIL.Image.Image) -> PIL.Image.Image:
    """Rounds a grey image of 9 to 16 bits to one of 8, with opacity where the file has a transparent colour."""
    stored, white = np.asarray(image).astype(np.uint32), 65535  # [H,W]
    if isinstance(image, PIL.TiffImagePlugin.TiffImageFile):
        white = 2 ** image.tag_v2.get(_BITS, (16,))[0] - 1  # Pillow leaves 12 bits as they are
        if image.tag_v2.get(_PHOTOMETRIC) == 0:
            stored = white - stored  # white is zero; Pillow inverts such images of up to 8 bits only
    grey = ((255 * stored + white // 2) // white).astype(np.uint8)
    if "transparency" not in image.info:
        return PIL.Image.fromarray(grey)
    opacity = np.where(stored == image.info["transparency"], 0, 255).astype(np.uint8)
    return PIL.Image.fromarray(np.stack((grey, opacity), -1))  # [H,W,2]


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
