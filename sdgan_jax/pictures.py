"""Conversion between uint8 and f32 images, sizes and pixel coordinates, image files, and sheets of images.

Inside the library images are f32 in [-1, 1]; files and sheets are uint8.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from PIL import ExifTags, Image, ImageDraw, ImageFont, PngImagePlugin

from sdgan_jax import outputs
from tfds_megn import listing
from tfds_megn.photos import JpegSettings

CELL_PIXELS = 96  # smallest side of an image on a sheet
GAP_PIXELS = 2
LABEL_PIXELS = 14  # font size
_LARGEST_EXIF = 65_533  # bytes; the most that a JPEG can contain
_EXIF_SIZE = (0xA002, 0xA003)  # tags of width and height
_JPEG_START = b"\xff\xd8\xff"
BACKGROUND = (255, 255, 255)
INK = (32, 32, 32)

Array = TypeVar("Array", np.ndarray, jax.Array)


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Quantises images, see `quantise`.

    Args:
        images: f32[...] in [-1, 1]; values outside are clipped.

    Returns:
        uint8 of the same shape.

    Raises:
        ValueError: the images contain NaN.
    """
    images = np.asarray(images, np.float32)
    if np.isnan(images).any():
        raise ValueError("the images contain NaN; the model that made them has diverged: use an earlier checkpoint")
    return quantise(images).astype(np.uint8)


def quantise(images: Array) -> Array:
    """Rounds images to whole numbers as StyleGAN does: floor(127.5 x + 128), clipped to [0, 255].

    It inverts `to_float` on all 256 values: 127.5 (k / 127.5 - 1) + 128 = k + 1/2, the middle of the bin of k.

    Args:
        images: f32[...], of numpy or of JAX, also inside a compiled function; values outside [-1, 1] are clipped.

    Returns:
        f32 of the same shape, whole numbers from 0 to 255; NaN stays NaN.
    """
    return (images * np.float32(127.5) + np.float32(128.0)).clip(0.0, 255.0) // np.float32(1.0)


def to_float(images: Array) -> Array:
    """Scales uint8 images to the library's range: k / 127.5 - 1.

    Args:
        images: uint8[...], of numpy or of JAX, also inside a compiled function.

    Returns:
        f32 of the same shape in [-1, 1], of the same kind of array.

    Raises:
        ValueError: the images are not uint8.
    """
    if images.dtype != np.uint8:
        raise ValueError(f"images must be uint8, got {images.dtype}")
    return images.astype(np.float32) / np.float32(127.5) - np.float32(1.0)


def resize(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes images: a box filter shrinks them, bicubic interpolation enlarges them.

    Args:
        images: u8[...,H,W,C], RGB or RGBA; colours count by their opacity.
        height: new height in pixels.
        width: new width in pixels.

    Returns:
        u8[...,height,width,C]; the images themselves if they have this size.
    """
    if images.shape[-3:-1] == (height, width):
        return images
    kind = Image.Resampling.BOX if height < images.shape[-3] else Image.Resampling.BICUBIC
    stack = images.reshape(-1, *images.shape[-3:])  # [...,H,W,C] -> [N,H,W,C]
    resized = np.stack([np.asarray(Image.fromarray(image).resize((width, height), kind)) for image in stack])
    return resized.reshape(*images.shape[:-3], height, width, images.shape[-1])


def fit(image: np.ndarray, side: int) -> np.ndarray:
    """Shrinks an image u8[H,W,C] to at most `side` pixels along each axis; a smaller one stays as it is."""
    height, width = image.shape[:2]
    ratio = min(1.0, side / max(height, width))
    return resize(image, max(1, round(height * ratio)), max(1, round(width * ratio)))


def scale_positions(positions: Array, ratio: float) -> Array:
    """Converts positions in an image to positions in the same image at another size.

    The centre of the pixel in row i and column j is (x, y) = (j, i), so that the image's corner is (-0.5, -0.5).

    Args:
        positions: f32[...,2] or f32[...,3], x and y in pixels, and z to the same scale, of numpy or of JAX.
        ratio: the new size over the old one.

    Returns:
        The positions in pixels of the resized image; f64 for numpy.
    """
    corner = np.array([0.5, 0.5, 0.0])[: positions.shape[-1]]
    return (positions + corner) * ratio - corner


def grid(
    images: np.ndarray,
    columns: int,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
) -> np.ndarray:
    """Arranges images on a sheet, row by row, with thin gaps, row labels at the left and column labels on top.

    Images below 96 pixels are enlarged by the smallest integer factor that reaches 96, with interpolation: as large
    squares of one colour each, the pixels of a small face are hard to recognise.

    Args:
        images: uint8[N,H,W,3], N >= 1; an incomplete last row stays white.
        columns: images in a row, >= 1.
        row_labels: one text for each row, or None.
        column_labels: one text for each column, or None.

    Returns:
        uint8[H',W',3].

    Raises:
        ValueError: the images have another type or shape, or the number of labels is not that of the rows or columns.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or not len(images):
        raise ValueError(f"a sheet needs uint8[N,H,W,3] with N >= 1, got {images.dtype}{list(images.shape)}")
    if columns < 1:
        raise ValueError(f"columns is {columns}; it must be at least 1")
    rows = -(-len(images) // columns)
    for name, labels, count in (("row_labels", row_labels, rows), ("column_labels", column_labels, columns)):
        if labels is not None and len(labels) != count:
            raise ValueError(f"{name} has {len(labels)} texts for {count} {name.split('_')[0]}s")

    images = _enlarge(images)
    height, width = images.shape[1:3]
    font = ImageFont.load_default(LABEL_PIXELS)
    left = max((_text_width(text, font) for text in row_labels), default=0) + 8 if row_labels else GAP_PIXELS
    top = LABEL_PIXELS + 8 if column_labels else GAP_PIXELS
    size = (left + columns * (width + GAP_PIXELS), top + rows * (height + GAP_PIXELS))
    sheet = Image.new("RGB", size, BACKGROUND)
    for i, image in enumerate(images):
        row, column = divmod(i, columns)
        sheet.paste(Image.fromarray(image), (left + column * (width + GAP_PIXELS), top + row * (height + GAP_PIXELS)))

    draw = ImageDraw.Draw(sheet)
    for row, text in enumerate(row_labels or ()):
        draw.text((4, top + row * (height + GAP_PIXELS) + height // 2), text, INK, font, anchor="lm")
    for column, text in enumerate(column_labels or ()):
        text = _shorten(text, width, font)
        draw.text((left + column * (width + GAP_PIXELS) + width // 2, top // 2), text, INK, font, anchor="mm")
    return np.array(sheet)


def square(image: np.ndarray, side: int) -> np.ndarray:
    """Centres an image u8[H,W,3] in a white square u8[side,side,3]; a larger image is shrunk."""
    small = fit(image, side)
    height, width = small.shape[:2]
    top, left = (side - height) // 2, (side - width) // 2
    cell = np.full((side, side, 3), BACKGROUND, np.uint8)
    cell[top : top + height, left : left + width] = small
    return cell


def write_png(
    path: str | os.PathLike[str],
    image: np.ndarray,
    by: str = outputs.MADE_BY,
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
    dpi: tuple[float, float] | None = None,
) -> None:
    """Writes an image as PNG; creates the folder if it does not exist.

    Args:
        path: path of the file, local or remote (gs://...).
        image: uint8[H,W,3].
        by: name of the command that writes, stored as the text `Software`; see `outputs`.
        icc_profile: colour profile of the image; None for sRGB.
        exif: EXIF block of the photo that the image was made from; previews in it are left out.
        dpi: pixels per inch along x and y; None where they are not known.

    Raises:
        FileExistsError: the path is a file that another program or command wrote.
        OSError: the file cannot be written.
        ValueError: the image has another type or shape.
    """
    outputs.write(path, encode_png(image, by, icc_profile, exif, dpi), by)


def encode_png(
    image: np.ndarray,
    by: str = outputs.MADE_BY,
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
    dpi: tuple[float, float] | None = None,
) -> bytes:
    """Returns the bytes of a PNG file; for the arguments see `write_png`.

    Raises:
        OSError: the image cannot be encoded with this metadata.
        ValueError: the image has another type or shape.
    """
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", by)
    # Level 2 takes a third of the time of the default, for files that are 13 % larger.
    options = {"compress_level": 2, "pnginfo": info, "icc_profile": icc_profile, "dpi": dpi}
    return _encode(image, "png", exif=_update_exif(exif, image), **options)


def write_jpeg(
    path: str | os.PathLike[str],
    image: np.ndarray,
    by: str,
    settings: JpegSettings | None = None,
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
    dpi: tuple[float, float] | None = None,
) -> None:
    """Writes an image as JPEG; creates the folder if it does not exist.

    Args:
        path: path of the file, local or remote (gs://...).
        image: uint8[H,W,3].
        by: name of the command that writes, stored as the comment.
        settings: compression of the photo that the image was made from; quality 95 by default.
        icc_profile: colour profile of the image; None for sRGB.
        exif: EXIF block, see `write_png`; one of 64 KiB or more does not fit into a JPEG and is left out.
        dpi: see `write_png`.

    Raises:
        FileExistsError: the path is a file that another program or command wrote.
        OSError: the file cannot be written.
        ValueError: the image has another type or shape.
    """
    block = _update_exif(exif, image)
    options: dict[str, Any] = {"quality": 95, "subsampling": 0}
    if settings is not None:
        options = {"qtables": settings.qtables, "subsampling": settings.subsampling}
    if block is not None and len(block) <= _LARGEST_EXIF:
        options["exif"] = block
    outputs.write(path, _encode(image, "jpeg", comment=by, icc_profile=icc_profile, dpi=dpi, **options), by)


def _encode(image: np.ndarray, form: str, **options: Any) -> bytes:
    """Returns the bytes of an image file; options that are None are left out.

    Raises:
        OSError: the encoder refuses the image or an option.
        ValueError: the image has another type or shape.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"a {form.upper()} is written from uint8[H,W,3], got {image.dtype}{list(image.shape)}")
    encoded = io.BytesIO()
    given = {name: value for name, value in options.items() if value is not None}
    try:
        Image.fromarray(image).save(encoded, form, **given)
    except OSError:
        raise
    except Exception as error:  # Pillow's encoders raise nearly anything on odd metadata.
        raise OSError(f"encoding as {form.upper()} failed: {listing.one_line(error)}") from error
    return encoded.getvalue()


def _update_exif(block: bytes | None, image: np.ndarray) -> bytes | None:
    """Returns an EXIF block with the size of another image, and without previews; None if it cannot be read."""
    if block is None:
        return None
    try:
        exif = Image.Exif()
        exif.load(block)
        inside = exif.get_ifd(ExifTags.IFD.Exif)
        for table in (exif, inside):
            for tag in [tag for tag, value in table.items() if isinstance(value, bytes) and _JPEG_START in value]:
                del table[tag]
        for tag, size in zip(_EXIF_SIZE, (image.shape[1], image.shape[0]), strict=True):
            if tag in inside:
                inside[tag] = size
        return exif.tobytes()
    except Exception:  # Pillow raises nearly anything on bad metadata.
        return None


def _enlarge(images: np.ndarray) -> np.ndarray:
    """Enlarges images below CELL_PIXELS by an integer factor."""
    height, width = images.shape[1:3]
    factor = max(1, -(-CELL_PIXELS // min(height, width)))
    return resize(images, height * factor, width * factor)


def _text_width(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    """Returns the width of a text in pixels."""
    return int(np.ceil(font.getlength(text)))


def _shorten(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Cuts a text so that it fits into the width."""
    if _text_width(text, font) <= width:
        return text
    while text and _text_width(text + "..", font) > width:
        text = text[:-1]
    return text + ".."
