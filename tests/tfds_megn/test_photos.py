"""Photos of every kind, good and bad; expected values follow from how each picture was made."""

import io
import re
import struct
import zlib

import numpy as np
import PIL.Image
import pytest

from tfds_megn import photos


def noise(height: int, width: int, channels: int | None = 3, seed: int = 0) -> np.ndarray:
    shape = (height, width) if channels is None else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def encode(image: PIL.Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def png(array: np.ndarray) -> bytes:
    return encode(PIL.Image.fromarray(array))


def hand_made_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def hand_made_png(width: int, height: int, bits: int, colour: int, rows: bytes, clear: bytes = b"") -> bytes:
    """A PNG written after the specification: signature, IHDR, tRNS with the transparent colour, IDAT, IEND."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *([(b"tRNS", clear)] if clear else []), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(hand_made_chunk(kind, data) for kind, data in chunks)


# What is stored for each EXIF orientation so that the original is shown (EXIF 2.32, tag 0x0112).
STORED = {
    1: lambda shown: shown,
    2: lambda shown: shown[:, ::-1],
    3: lambda shown: shown[::-1, ::-1],
    4: lambda shown: shown[::-1],
    5: lambda shown: shown.swapaxes(0, 1),
    6: lambda shown: shown.swapaxes(0, 1)[::-1],
    7: lambda shown: shown[::-1, ::-1].swapaxes(0, 1),
    8: lambda shown: shown.swapaxes(0, 1)[:, ::-1],
}


class TestReadPhoto:
    def test_rgb_is_unchanged_from_a_path_and_from_bytes(self, tmp_path):
        shown = noise(20, 30)
        (tmp_path / "a.png").write_bytes(png(shown))
        np.testing.assert_array_equal(photos.read_photo(tmp_path / "a.png"), shown)
        np.testing.assert_array_equal(photos.read_photo(png(shown)), shown)

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_orientation(self, orientation):
        shown = noise(20, 30)
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        stored = PIL.Image.fromarray(np.ascontiguousarray(STORED[orientation](shown)))
        np.testing.assert_array_equal(photos.read_photo(encode(stored, exif=exif)), shown)

    def test_broken_exif_is_ignored(self):
        shown = noise(20, 30)
        data = encode(PIL.Image.fromarray(shown), exif=b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff")
        np.testing.assert_array_equal(photos.read_photo(data), shown)

    def test_grey(self):
        grey = noise(20, 30, None)
        np.testing.assert_array_equal(photos.read_photo(png(grey)), np.stack([grey] * 3, -1))

    def test_black_and_white(self):
        bits = noise(20, 30, None) > 127
        expected = np.stack([bits * np.uint8(255)] * 3, -1)
        np.testing.assert_array_equal(photos.read_photo(png(bits)), expected)

    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    def test_grey_of_16_bits(self, kind):
        grey = np.random.default_rng(0).integers(0, 65536, (20, 30)).astype(np.uint16)
        grey[0, :3] = 0, 65535, 257 * 100
        expected = np.round(grey / 257)  # 65535 / 255 = 257
        got = photos.read_photo(encode(PIL.Image.fromarray(grey), kind))
        np.testing.assert_array_equal(got, np.stack([expected] * 3, -1))

    @pytest.mark.parametrize("compression", [None, "tiff_lzw"])
    @pytest.mark.parametrize("orientation", [1, 3])
    def test_a_tiff_whose_white_is_zero(self, compression, orientation):
        """TIFF 6.0, tag 262: 0 is white, 65535 black; Pillow writes the numbers as they are."""
        grey = np.random.default_rng(0).integers(0, 65536, (20, 30)).astype(np.uint16)
        tags = {262: 0, 274: orientation}
        data = encode(PIL.Image.fromarray(grey), "TIFF", tiffinfo=tags, compression=compression)
        expected = np.round((65535 - grey.astype(float)) / 257)
        turned = expected if orientation == 1 else expected[::-1, ::-1]
        np.testing.assert_array_equal(photos.read_photo(data), np.stack([turned] * 3, -1))

    def test_a_tiff_of_12_bits(self):
        """TIFF 6.0: numbers up to 4095, two of them in three bytes."""
        grey = np.random.default_rng(0).integers(0, 4096, (20, 30))
        grey[0, :2] = 0, 4095
        first, second = grey[:, ::2], grey[:, 1::2]
        packed = np.stack((first >> 4, (first & 15) << 4 | second >> 8, second & 255), -1).astype(np.uint8).tobytes()
        tags = {256: 30, 257: 20, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 20, 279: len(packed)}
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
        data = (
            b"II*\0" + struct.pack("<I", 8 + len(packed)) + packed + struct.pack("<H", len(tags)) + entries + bytes(4)
        )
        np.testing.assert_array_equal(photos.read_photo(data), np.stack([np.round(grey / 4095 * 255)] * 3, -1))

    def test_rgb_of_16_bits(self):
        values = np.random.default_rng(0).integers(0, 65536, (20, 30, 3)).astype(">u2")
        rows = b"".join(b"\0" + row.tobytes() for row in values)
        got = photos.read_photo(hand_made_png(30, 20, 16, 2, rows))
        np.testing.assert_allclose(got, values / 257.0, atol=1)

    @pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
    @pytest.mark.parametrize("clear", [0, 1])
    def test_a_transparent_grey(self, bits, clear):
        """The specification of PNG gives the colour in the bits of the file. The other half is black or not black."""
        values = np.repeat([clear, 1 - clear], 16).astype(np.uint16)[:, None].repeat(16, 1)
        stored = values.astype(">u2").view(np.uint8).reshape(32, 16, 2)
        binary = np.unpackbits(stored, axis=-1)[..., -bits:].reshape(32, -1)
        rows = b"".join(b"\0" + row.tobytes() for row in np.packbits(binary, axis=1))
        data = hand_made_png(16, 32, bits, 0, rows, struct.pack(">H", clear))
        np.testing.assert_array_equal(photos.read_photo(data)[:16], np.full((16, 16, 3), 255))
        other = np.round((1 - clear) * 255 / (2**bits - 1))
        np.testing.assert_array_equal(photos.read_photo(data)[16:], np.full((16, 16, 3), other))
        opacity = np.repeat([0, 255], 16)[:, None].repeat(16, 1)
        np.testing.assert_array_equal(photos.read_rgba(data, "a.png")[..., 3], opacity)

    @pytest.mark.parametrize(("clear", "other"), [((0x1234, 0, 0), (0x3400, 0, 0)), ((0x100, 0, 0), (0, 0, 0))])
    def test_a_transparent_colour_of_16_bits(self, clear, other):
        """The other colour has the lower byte of the transparent one."""
        rows = b"".join(b"\0" + struct.pack(">3H", *colour) * 16 for colour in [clear] * 8 + [other] * 8)
        got = photos.read_photo(hand_made_png(16, 16, 16, 2, rows, struct.pack(">3H", *clear)))
        np.testing.assert_array_equal(got[:8], np.full((8, 16, 3), 255))
        np.testing.assert_array_equal(got[8:], np.broadcast_to([other[0] >> 8, 0, 0], (8, 16, 3)))

    def test_a_portable_greymap_of_16_bits(self):
        grey = np.random.default_rng(0).integers(0, 65536, (20, 30)).astype(">u2")
        got = photos.read_photo(b"P5 30 20 65535\n" + grey.tobytes())
        np.testing.assert_array_equal(got, np.stack([np.round(grey / 257)] * 3, -1))

    def test_transparent_is_put_on_white(self):
        rgba = noise(20, 30, 4)
        opacity = rgba[..., 3:] / 255
        expected = rgba[..., :3] * opacity + 255 * (1 - opacity)
        np.testing.assert_allclose(photos.read_photo(png(rgba)), expected, atol=1)

    def test_palette_with_a_transparent_colour(self):
        image = PIL.Image.fromarray(np.repeat(np.array([[0, 1]], np.uint8), 20, 0).repeat(10, 1), "P")
        image.putpalette([10, 20, 30, 200, 100, 50])
        got = photos.read_photo(encode(image, transparency=0))
        np.testing.assert_array_equal(got[:, :10], np.full((20, 10, 3), 255))
        np.testing.assert_array_equal(got[:, 10:], np.broadcast_to([200, 100, 50], (20, 10, 3)))

    def test_cmyk(self):
        cmyk = noise(20, 30, 4).astype(float)
        data = encode(PIL.Image.fromarray(cmyk.astype(np.uint8), "CMYK"), "TIFF")
        expected = (255 - cmyk[..., :3]) * (255 - cmyk[..., 3:]) / 255
        np.testing.assert_allclose(photos.read_photo(data), expected, atol=1)

    def test_cmyk_jpeg(self):
        plain = np.broadcast_to(np.array([0, 128, 255, 0], np.uint8), (32, 32, 4))
        data = encode(PIL.Image.fromarray(np.ascontiguousarray(plain), "CMYK"), "JPEG", quality=100)
        expected = np.broadcast_to([255, 127, 0], (32, 32, 3))
        np.testing.assert_allclose(photos.read_photo(data), expected, atol=3)

    def test_first_frame_of_an_animation(self):
        frames = [PIL.Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
        data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
        np.testing.assert_array_equal(photos.read_photo(data)[0, 0], [255, 0, 0])

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "BMP"])
    def test_truncated(self, kind):
        data = encode(PIL.Image.fromarray(noise(64, 64)), kind)
        with pytest.raises(photos.PhotoError, match=r"^bad\.img: .*(truncated|broken)") as caught:
            photos.read_photo(data[: len(data) // 2], "bad.img")
        assert "\n" not in str(caught.value)

    def test_corrupt_pixels(self):
        data = bytearray(png(noise(64, 64)))
        data[200:220] = bytes(20)
        with pytest.raises(photos.PhotoError, match=r"^bad\.png: broken or truncated image"):
            photos.read_photo(bytes(data), "bad.png")

    @pytest.mark.parametrize("data", [b"hello", b"\x89PNG\r\n\x1a\nnonsense", b"\xff\xd8\xff\xe0"])
    def test_no_image(self, data):
        with pytest.raises(photos.PhotoError, match=r"^bad\.png: (not an image|broken or truncated)"):
            photos.read_photo(data, "bad.png")

    def test_empty_and_missing_file(self, tmp_path):
        (tmp_path / "a.png").write_bytes(b"")
        with pytest.raises(photos.PhotoError, match=r"a\.png: empty file$"):
            photos.read_photo(tmp_path / "a.png")
        with pytest.raises(photos.PhotoError, match=r"b\.png: cannot be read \(No such file"):
            photos.read_photo(tmp_path / "b.png")

    def test_tiny(self):
        with pytest.raises(photos.PhotoError, match=r"^a\.png: tiny image \(40 x 15; at least 16 x 16"):
            photos.read_photo(png(noise(15, 40)), "a.png")
        assert photos.read_photo(png(noise(16, 40))).shape == (16, 40, 3)

    @pytest.mark.parametrize("side", [11_600, 60_000])  # 135 megapixels; 3,600: Pillow's own limit is between
    def test_enormous(self, side):
        data = hand_made_png(side, side, 8, 2, b"")
        with pytest.raises(photos.PhotoError, match=r"^a\.png: enormous image \(more than 134 megapixels\)$"):
            photos.read_photo(data, "a.png")

    @pytest.mark.parametrize(
        ("array", "words"),
        [
            (np.full((20, 20), 70_000, np.int32), "32-bit"),
            (np.full((20, 20), 200, np.int32), "32-bit"),  # white may be 255, 65535 or any other number
            (np.ones((20, 20), np.float32), "floating"),
        ],
    )
    def test_numbers_that_are_not_colours(self, array, words):
        data = encode(PIL.Image.fromarray(array), "TIFF")
        with pytest.raises(photos.PhotoError, match=rf"^a\.tif: holds {words}"):
            photos.read_photo(data, "a.tif")


class TestReadRgba:
    def test_opacity_is_kept(self):
        rgba = noise(20, 30, 4)
        np.testing.assert_array_equal(photos.read_rgba(png(rgba), "a.png"), rgba)
        opaque = np.concatenate((rgba[..., :3], np.full((20, 30, 1), 255, np.uint8)), -1)
        np.testing.assert_array_equal(photos.read_rgba(png(rgba[..., :3]), "a.png"), opaque)

    def test_it_is_decoded_as_a_photo_is(self):
        """Upright, and 16 bits of grey rounded."""
        shown, exif = noise(20, 30), PIL.Image.Exif()
        exif[0x0112] = 6
        data = encode(PIL.Image.fromarray(np.ascontiguousarray(STORED[6](shown))), exif=exif)
        np.testing.assert_array_equal(photos.read_rgba(data, "a.png")[..., :3], shown)
        grey = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
        got = photos.read_rgba(png(grey), "a.png")
        np.testing.assert_array_equal(got[..., 0], np.round(grey / 257))
        assert (got[..., 3] == 255).all()

    def test_one_pixel_is_enough_and_too_many_are_refused(self):
        np.testing.assert_array_equal(photos.read_rgba(png(np.full((1, 1, 3), 7, np.uint8)), "a"), [[[7, 7, 7, 255]]])
        with pytest.raises(photos.PhotoError, match=r"^a\.png: enormous image \(more than 1 megapixels\)$"):
            photos.read_rgba(png(np.zeros((1001, 1000), np.uint8)), "a.png", 10**6)
        with pytest.raises(photos.PhotoError, match=r"^a\.png: not an image"):
            photos.read_rgba(b"no image", "a.png")


class TestReadPicture:
    @pytest.mark.parametrize("size", [3 * 2**20, 70 * 2**20])  # Pillow refuses texts above 1 MiB, and 64 MiB in all.
    def test_long_texts_in_a_png(self, size):
        shown = noise(20, 30)
        data = png(shown)
        for chunk in (
            hand_made_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(size), 1)),
            hand_made_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"x" * size, 1)),
        ):
            np.testing.assert_array_equal(photos.read_photo(data[:33] + chunk + data[33:]), shown)

    def test_broken_png_with_long_texts(self):
        data = png(noise(20, 30))
        text = hand_made_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3 * 2**20)))
        with pytest.raises(photos.PhotoError, match=r"^a\.png: broken or truncated image"):
            photos.read_picture(data[:33] + text + data[33:200], "a.png")

    def test_profile_exif_and_compression(self):
        profile = bytes(16) + b"RGB " + bytes(108)
        exif = PIL.Image.Exif()
        exif[0x0112], exif[0x010F] = 6, "maker"
        data = encode(PIL.Image.fromarray(noise(20, 30)), "JPEG", icc_profile=profile, exif=exif, quality=70)
        picture = photos.read_picture(data)
        assert picture.pixels.shape == (30, 20, 3) and picture.icc_profile == profile
        kept = PIL.Image.Exif()
        kept.load(picture.exif)
        assert dict(kept) == {0x010F: "maker"}
        again = encode(PIL.Image.fromarray(picture.pixels), "JPEG", qtables=picture.jpeg.qtables)
        assert photos.read_picture(again).jpeg.qtables == picture.jpeg.qtables

    @pytest.mark.parametrize(
        ("mode", "numbers", "expected"),
        [
            ("L", {0: 1}, [1]),
            ("RGB", {0: 1, 1: 2}, [1, 2]),
            ("RGB", {0: 3, 1: 0}, [1, 2]),
            ("CMYK", {0: 2}, [1]),
        ],
    )
    def test_quantisation_tables_of_any_numbers(self, mode, numbers, expected):
        """The numbers of the tables are changed in the file's bytes; the components keep their tables."""
        tables = [[number] * 64 for number in (1, 2)]
        image = PIL.Image.fromarray(noise(20, 30)).convert(mode)
        data = bytearray(encode(image, "JPEG", qtables=tables[: len(numbers)], subsampling=0))
        for place in [match.start() for match in re.finditer(rb"\xff\xdb\x00\x43", data)]:
            data[place + 4] = numbers.get(data[place + 4], 0)
        frame = data.index(b"\xff\xc0")
        for k in range(data[frame + 9]):
            data[frame + 12 + 3 * k] = numbers[data[frame + 12 + 3 * k]]
        picture = photos.read_picture(bytes(data))
        assert picture.jpeg.qtables == [[number] * 64 for number in expected]
        again = encode(PIL.Image.fromarray(picture.pixels), "JPEG", qtables=picture.jpeg.qtables)
        with PIL.Image.open(io.BytesIO(again)) as image:
            used = [image.quantization[number][0] for *_, number in image.layer]
        assert used == (expected + expected[-1:] * 2)[:3]

    def test_tags_about_the_pixels_of_a_tiff_are_left_out(self):
        given = {0x010E: "a face", 0x010F: "maker", 0x0132: "2020:01:02 03:04:05"}
        exif = PIL.Image.Exif()
        for tag, value in given.items():
            exif[tag] = value
        image = PIL.Image.fromarray(noise(20, 30))
        data = encode(image, "TIFF", exif=exif, compression="tiff_lzw", dpi=(300, 150))
        picture = photos.read_picture(data)
        kept = PIL.Image.Exif()
        kept.load(picture.exif)
        resolution = {0x011A: 300.0, 0x011B: 150.0, 0x0128: 2}
        assert dict(kept) == given | resolution and picture.dpi == (300, 150)

    @pytest.mark.parametrize(
        ("form", "given", "found"),
        [("JPEG", (300, 72), (300, 72)), ("PNG", None, None), ("PNG", (0.5, 300), None), ("PNG", (300, 0.5), None)],
    )
    def test_resolution(self, form, given, found):
        options = {"dpi": given} if given else {}
        assert photos.read_picture(encode(PIL.Image.fromarray(noise(20, 30)), form, **options)).dpi == found

    def test_profile_of_other_colours_and_files_without_any(self):
        grey = encode(PIL.Image.fromarray(noise(20, 30, None)), "PNG", icc_profile=bytes(16) + b"GRAY" + bytes(108))
        for data in (grey, png(noise(20, 30))):
            picture = photos.read_picture(data)
            assert picture.icc_profile is None and picture.exif is None and picture.jpeg is None

    @pytest.mark.skipif(".heic" in photos.suffixes(), reason="pillow-heif is installed")
    def test_heic_is_named_whatever_its_suffix(self):
        data = struct.pack(">I", 24) + b"ftypheic" + bytes(100)
        with pytest.raises(photos.PhotoError, match=r"^me\.jpg: a HEIC image; .*pip install pillow-heif.*\[heif\]"):
            photos.read_photo(data, "me.jpg")


class TestSuffixes:
    @pytest.mark.parametrize("name", ["a.png", "a.JPG", "a.jfif", "a.Avif", "b/a.webp", "a.tar.gif", "a.jp2"])
    def test_images(self, name):
        assert photos.is_image(name)

    @pytest.mark.parametrize("name", ["a.txt", "png", "a.png.txt", "a.mp4", "a.eps", "a.csv", "a.zip", ".png"])
    def test_others(self, name):
        assert not photos.is_image(name)

    def test_what_is_said_of_others(self):
        assert photos.describe_left_out([]) is None
        one = photos.describe_left_out(["b/a.TXT"])
        assert one == "left out 1 file that is no image by the suffix: .txt (1)"


class TestCropResize:
    @pytest.mark.parametrize(
        ("height", "width", "rows", "columns"), [(40, 64, (0, 40), (12, 52)), (65, 32, (16, 48), (0, 32))]
    )
    def test_the_centre_is_kept(self, height, width, rows, columns):
        image = noise(height, width)
        side = min(height, width)
        expected = image[slice(*rows), slice(*columns)]
        np.testing.assert_array_equal(photos.crop_resize(image, side), expected)

    def test_stripes_of_one_pixel_average_out(self):
        image = np.zeros((128, 128, 3), np.uint8)
        image[:, ::2] = 255
        got = photos.crop_resize(image, 32)[:, 2:-2]
        np.testing.assert_allclose(got, 127.5, atol=3)

    @pytest.mark.parametrize("size", [16, 32, 100])
    def test_nothing_shifts(self, size):
        ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, :, None] * 4, (64, 64, 3))
        centres = (np.arange(size) + 0.5) * 64 / size - 0.5  # of the result's pixels, in the source's
        inside = (centres > 3 * 64 / min(size, 64)) & (centres < 63 - 3 * 64 / min(size, 64))
        got = photos.crop_resize(np.ascontiguousarray(ramp), size)[size // 2, :, 0]
        np.testing.assert_allclose(got[inside], 4 * centres[inside], atol=2)

    @pytest.mark.parametrize("image", [noise(20, 20, None), noise(20, 20, 4), noise(20, 20).astype(float)])
    def test_other_arrays_are_refused(self, image):
        with pytest.raises(ValueError, match="uint8"):
            photos.crop_resize(image, 16)
