"""Pictures: rounding by hand, sheets by their pixels."""

import io
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from PIL import ExifTags, Image

from sdgan_jax import pictures
from sdgan_jax.photos import picture_files
from tfds_megn import photos


def test_rounding_rule():
    # floor(127.5 x + 128): 0 -> 128, 1 -> 255.5 clipped, -1 -> 0.5, 0.5 -> 191.75
    values = np.array([0.0, 1.0, -1.0, 0.5, 2.0, -7.0], np.float32)
    np.testing.assert_array_equal(pictures.to_uint8(values), [128, 255, 0, 191, 255, 0])


def test_round_trip_of_all_values():
    values = np.arange(256, dtype=np.uint8)
    as_float = pictures.to_float(values)
    assert as_float.dtype == np.float32 and as_float[0] == -1.0 and as_float[255] == 1.0
    np.testing.assert_array_equal(pictures.to_uint8(as_float), values)


def test_arrays_of_jax_are_scaled_as_those_of_numpy_also_in_a_compiled_function():
    values = np.arange(256, dtype=np.uint8)
    for scaled in (pictures.to_float(jnp.asarray(values)), jax.jit(pictures.to_float)(values)):
        assert isinstance(scaled, jax.Array) and scaled.dtype == np.float32
        np.testing.assert_allclose(scaled, values / 127.5 - 1.0, atol=1e-7)


def test_nan_and_wrong_type_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        pictures.to_uint8(np.array([0.0, np.nan]))
    with pytest.raises(ValueError, match="must be uint8, got float64"):
        pictures.to_float(np.zeros(3))


def test_quantised_images_are_those_of_files_inside_compiled_functions_too():
    values = np.linspace(-1.1, 1.1, 1001, dtype=np.float32)
    expected = pictures.to_uint8(values)
    np.testing.assert_array_equal(pictures.quantise(values), expected)
    found = np.asarray(jax.jit(pictures.quantise)(values))
    assert found.dtype == np.float32 and (np.abs(found - expected) > 0).mean() < 0.01  # at the edge of two bins
    assert np.isnan(jax.jit(pictures.quantise)(np.array([np.nan], np.float32))).all()


def test_shrinking_takes_the_mean_of_blocks():
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 32, 3), dtype=np.uint8)
    small = pictures.resize(images, 32, 16)
    blocks = images.reshape(2, 32, 2, 16, 2, 3).mean(axis=(2, 4))
    assert np.abs(small - blocks).max() <= 1.0  # two passes, each rounded
    assert pictures.resize(images, 64, 32) is images


def test_enlarging_a_ramp_leaves_it_a_ramp():
    """The colour is 8 times the position, whatever the size; bicubic interpolation is exact away from the edges."""
    ramp = np.broadcast_to(8 * np.arange(30, dtype=np.uint8)[:, None], (20, 30, 3))
    large = pictures.resize(ramp, 60, 90)
    assert large.shape == (60, 90, 3)
    position = pictures.scale_positions(np.stack(np.meshgrid(np.arange(90), np.arange(60)), -1), 1 / 3)[..., 0]
    assert np.abs(large[:, 9:-9, 1] - 8 * position[:, 9:-9]).max() <= 0.51


def test_transparent_pixels_give_no_colour():
    image = np.zeros((2, 2, 4), np.uint8)
    image[0, 0] = (200, 100, 50, 255)
    image[0, 1, :3] = 255  # white, but transparent
    np.testing.assert_allclose(pictures.resize(image, 1, 1)[0, 0], (200, 100, 50, 64), atol=2)


@pytest.mark.parametrize(
    ("shape", "side", "expected"), [((50, 100), 40, (20, 40)), ((30, 20), 40, (30, 20)), ((3000, 2), 30, (30, 1))]
)
def test_images_are_shrunk_to_fit_and_never_enlarged(shape, side, expected):
    assert pictures.fit(np.zeros((*shape, 3), np.uint8), side).shape == (*expected, 3)


def test_an_image_lies_in_the_middle_of_its_square():
    square = pictures.square(np.full((10, 40, 3), 7, np.uint8), 20)  # shrunk to 5 x 20
    assert (square[7:12] == 7).all() and (np.delete(square, range(7, 12), 0) == 255).all()


def test_positions_scale_about_the_corner_of_the_image():
    """The corner (-0.5, -0.5) and the far corner keep their places; depths are lengths."""
    corners = np.array([[-0.5, -0.5, 0.0], [7.5, 3.5, 2.0], [0.0, 0.0, -1.0]])
    expected = [[-0.5, -0.5, 0.0], [23.5, 11.5, 6.0], [1.0, 1.0, -3.0]]
    np.testing.assert_allclose(pictures.scale_positions(corners, 3), expected)
    scaled = jax.jit(lambda xy: pictures.scale_positions(xy, 3))(corners[:, :2].astype(np.float32))
    assert isinstance(scaled, jax.Array)
    np.testing.assert_allclose(scaled, np.array(expected)[:, :2])


def test_grid_places_images_row_by_row():
    colours = np.array([[250, 0, 0], [0, 240, 0], [0, 0, 230], [9, 9, 9], [80, 80, 80]], np.uint8)
    images = np.broadcast_to(colours[:, None, None], (5, 100, 100, 3))
    sheet = pictures.grid(images, columns=3)
    assert sheet.shape == (2 + 2 * 102, 2 + 3 * 102, 3) and sheet.dtype == np.uint8
    for i, colour in enumerate(colours):
        row, column = divmod(i, 3)
        cell = sheet[2 + 102 * row : 102 + 102 * row, 2 + 102 * column : 102 + 102 * column]
        np.testing.assert_array_equal(cell, np.broadcast_to(colour, (100, 100, 3)))
    assert (sheet[104:, 206:] == 255).all()  # the sixth cell stays white
    assert (sheet[:, 102:104] == 255).all()  # a gap


@pytest.mark.parametrize("size, cell", [(32, 96), (64, 128), (96, 96), (40, 120), (256, 256)])
def test_small_images_are_enlarged_by_an_integer(size, cell):
    assert pictures.grid(np.zeros((1, size, size, 3), np.uint8), 1).shape == (cell + 4, cell + 4, 3)


def test_labels_are_drawn_beside_the_images():
    images = np.full((4, 96, 96, 3), 200, np.uint8)
    sheet = pictures.grid(images, 2, row_labels=["mask", "none"], column_labels=["a very long label of a column", "b"])
    left, top = sheet.shape[1] - 2 * 98, sheet.shape[0] - 2 * 98
    assert (sheet[top:, :left] < 128).any() and (sheet[:top, left:] < 128).any()
    for row in range(2):  # no ink on the pictures
        for column in range(2):
            cell = sheet[top + 98 * row : top + 98 * row + 96, left + 98 * column : left + 98 * column + 96]
            assert (cell == 200).all()
    with pytest.raises(ValueError, match="row_labels has 1 texts for 2 rows"):
        pictures.grid(images, 2, row_labels=["mask"])
    with pytest.raises(ValueError, match="float32"):
        pictures.grid(images.astype(np.float32), 2)


def test_png_is_lossless_and_makes_its_folder(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    path = tmp_path / "new" / "picture.png"
    pictures.write_png(path, image)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), image)
    with pytest.raises(ValueError, match="float32"):
        pictures.write_png(path, image.astype(np.float32))


def test_exif_is_of_the_new_picture(tmp_path):
    """Neither previews of the former face nor its size are kept; all else is."""
    preview = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(preview, "jpeg")
    exif = Image.Exif()
    exif[0x010F], exif[0xC6FE] = "Camera", preview.getvalue()
    inside = exif.get_ifd(0x8769)
    inside[0xA002], inside[0xA003], inside[0x9003] = 640, 480, "2020:01:02 03:04:05"
    inside[0x927C] = b"Maker" + preview.getvalue()
    exif.get_ifd(0x8825)[1] = "N"
    block, image = exif.tobytes(), np.zeros((20, 30, 3), np.uint8)
    assert block.count(preview.getvalue()) == 2
    pictures.write_png(tmp_path / "a.png", image, exif=block)
    pictures.write_jpeg(tmp_path / "a.jpg", image, "sdgan-jax wear", exif=block)
    for name, count in (("a.png", 0), ("a.jpg", 1)):
        assert (tmp_path / name).read_bytes().count(b"\xff\xd8\xff") == count, name
        found = Image.open(tmp_path / name).getexif()
        assert found[0x010F] == "Camera" and found.get_ifd(0x8825)[1] == "N"
        assert dict(found.get_ifd(0x8769)) == {0xA002: 30, 0xA003: 20, 0x9003: "2020:01:02 03:04:05"}


def test_a_thumbnail_of_a_photo_is_not_kept(tmp_path):
    """An EXIF block by hand: one entry, then a second directory whose entries point to a JPEG."""
    preview = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(preview, "jpeg")
    size, second = len(preview.getvalue()), 8 + 2 + 12 + 4
    block = b"Exif\x00\x00MM\x00*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 1, 0, second)
    entries = (0x0201, 4, 1, second + 2 + 24 + 4, 0x0202, 4, 1, size)
    block += struct.pack(">HHHIIHHIII", 2, *entries, 0) + preview.getvalue()
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.jpg", exif=block)
    assert Image.open(tmp_path / "photo.jpg").getexif().get_ifd(ExifTags.IFD.IFD1)[0x0202] == size
    assert (tmp_path / "photo.jpg").read_bytes().count(b"\xff\xd8\xff") == 2
    picture = photos.read_picture(tmp_path / "photo.jpg")
    pictures.write_jpeg(tmp_path / "a.jpg", picture.pixels, "sdgan-jax wear", picture.jpeg, exif=picture.exif)
    assert (tmp_path / "a.jpg").read_bytes().count(b"\xff\xd8\xff") == 1


def test_a_result_has_the_resolution_of_its_photo(tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.jpg", dpi=(300, 150))
    picture = photos.read_picture(tmp_path / "photo.jpg")
    for name in ("a.jpg", "a.png"):
        picture_files.write(epath.Path(tmp_path / name), picture.pixels, picture, "sdgan-jax wear")
        assert Image.open(tmp_path / name).info["dpi"] == pytest.approx(
            (300, 150), abs=0.0127
        )  # PNG counts pixels per metre
    Image.new("RGB", (40, 30)).save(tmp_path / "none.jpg")
    picture = photos.read_picture(tmp_path / "none.jpg")
    for name in ("b.jpg", "b.png"):
        picture_files.write(epath.Path(tmp_path / name), picture.pixels, picture, "sdgan-jax wear")
        assert "dpi" not in Image.open(tmp_path / name).info


def test_metadata_that_does_not_fit_is_left_out(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "x" * 70_000
    image = np.zeros((20, 30, 3), np.uint8)
    pictures.write_jpeg(tmp_path / "a.jpg", image, "sdgan-jax wear", exif=exif.tobytes())
    pictures.write_png(tmp_path / "a.png", image, exif=b"no exif")
    assert not Image.open(tmp_path / "a.jpg").getexif() and not Image.open(tmp_path / "a.png").getexif()


def test_an_error_of_an_encoder_is_that_of_the_file(tmp_path):
    settings = photos.JpegSettings([[1] * 63], 0)
    with pytest.raises(OSError, match="^encoding as JPEG failed: Invalid quantization table$"):
        pictures.write_jpeg(tmp_path / "a.jpg", np.zeros((8, 8, 3), np.uint8), "sdgan-jax wear", settings)
    assert not list(tmp_path.iterdir())
