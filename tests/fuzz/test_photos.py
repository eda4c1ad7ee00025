"""Damaged photos, zips, tables of labels and remains of earlier calls: read, or refused in one line that names them."""

import contextlib
import csv
import functools
import io
import json
import struct
import zipfile
import zlib

import hypothesis
import hypothesis.strategies as st
import numpy as np
import PIL.Image
from etils import epath

from sdgan_jax.data import photo_files as found_files
from sdgan_jax.photos import looks, wearing
from sdgan_jax.photos.landmark_file import LandmarkFile
from sdgan_jax.photos.photo_results import PhotoResults
from tests.fuzz.limits import Tally, cases
from tests.fuzz.mutations import changed_json, damaged, damaged_chunks, damaged_members
from tfds_megn import label_table, photo_folder, photo_record, photos

MEBIBYTES = 1536  # twelve bytes for each of the 134 million pixels that a photo may have
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "TGA", "ICO", "JPEG2000", "PCX", "SGI", "DDS", "ICNS")


def encoded(form, mode="RGB", size=32, **options):
    """Returns a picture of noise as a file of a format of Pillow."""
    channels = len(PIL.Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, channels), np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels.squeeze(), mode=mode).save(file, form, **options)
    return file.getvalue()


def pictures():
    """Returns one file of each format that this Pillow writes, and a few of other modes, with metadata."""
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    found = [encoded("PNG", "RGBA"), encoded("TIFF", "CMYK"), encoded("JPEG", exif=exif, icc_profile=b"0" * 64)]
    frames = [PIL.Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    for form in ("GIF", "PNG", "WEBP"):
        file = io.BytesIO()
        frames[0].save(file, form, save_all=True, append_images=frames[1:])
        found.append(file.getvalue())
    for form in FORMATS:
        with contextlib.suppress(KeyError, OSError):  # not compiled in
            found.append(encoded(form))
    return found


PICTURES = pictures()
PNGS = [data for data in PICTURES if data.startswith(b"\x89PNG")]


def bomb(width, height, kind=b"IDAT"):
    """Returns a PNG of few bytes that unpacks to a great many."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    packed = zlib.compress(bytes(1 << 24))
    body = packed if kind == b"IDAT" else b"key\0\0" + packed
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(kind, body) + chunk(b"IEND", b"")


def test_pictures():
    with Tally("photos", MEBIBYTES) as tally:

        @cases(120, 120)
        @hypothesis.given(damaged(*PICTURES) | damaged_chunks(*PNGS))
        def run(data):
            tally.run(lambda: photos.read_picture(data, "x.png"), photos.PhotoError, ["x.png"])

        run()


def test_bombs():
    """A PNG that claims more pixels than are read, texts that unpack to megabytes, and images that are cut off."""
    with Tally("bombs", MEBIBYTES) as tally:
        for width, height in ((2**31 - 1, 2**31 - 1), (60_000, 60_000), (2**27, 1), (5_000, 5_000)):
            for kind in (b"IDAT", b"zTXt", b"iCCP"):
                read = functools.partial(photos.read_picture, bomb(width, height, kind), "x.png")
                tally.run(read, photos.PhotoError, ["x.png"])
        assert tally.counts["refused"] == 12


def test_textures():
    with Tally("textures", MEBIBYTES) as tally:

        @cases(10, 20)
        @hypothesis.given(damaged(*PICTURES))
        def run(data):
            tally.run(lambda: looks.decode_texture(data, "--texture=x.png"), ValueError, ["x.png"])

        run()


def collection():
    """Returns a zip of photos with a table of labels, and one with folders of labels."""
    made = []
    for table in (True, False):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            if table:
                archive.writestr("labels.csv", "file,mask,beard\nmask/a.png,1,0\nnone/b.jpg,0,1\nno.png,0,0\n")
            archive.writestr("mask/a.png", PICTURES[0])
            archive.writestr("none/b.jpg", PICTURES[2])
            archive.writestr("beard/c.gif", PICTURES[3])
        made.append(file.getvalue())
    return made


def test_collections(tmp_path):
    place = tmp_path / "x.zip"

    def read():
        for photo in photo_folder.scan(place).photos:
            photo_folder.convert_photo((photo, 32))

    with Tally("zips of photos", MEBIBYTES) as tally:

        @cases(10, 20)
        @hypothesis.given(damaged(*collection()) | damaged_members(*collection()))
        def run(data):
            place.write_bytes(data)
            tally.run(read, (ValueError, FileNotFoundError), [str(place)])

        run()


TABLES = (
    b"file,label\na.png,mask\nb c.png,none\n",
    'file;mask;beard\r\n"d\u00e9;j\u00e0.png";1;0\r\nb.png;0;1\r\n'.encode("cp1252"),
    "sep=,\nfile,mask,eyeglasses,sunglasses,beard,mustache\na,1,0,0,0,0\n".encode("utf-16"),
)


def test_tables_of_labels():
    with Tally("labels.csv") as tally:

        @cases(60, 100)
        @hypothesis.given(damaged(*TABLES) | st.binary(max_size=64) | st.text(max_size=64).map(str.encode))
        def run(data):
            tally.run(lambda: label_table.read("labels.csv", data), ValueError, ["labels.csv"])

        run()


def manifest():
    """Returns the manifest that `wear_photos` writes of one photo."""
    columns = (*wearing.COLUMNS, "source_bytes", "source_mtime_ns", "settings")
    file = io.StringIO(newline="")
    rows = csv.DictWriter(file, columns, lineterminator="\n", restval="1")
    rows.writeheader()
    rows.writerows({"file": name, "out": "a.png", "note": ""} for name in ("in/a.png", "in/b.png"))
    return file.getvalue().encode()


def test_what_an_earlier_call_left(tmp_path):
    """Damaged manifests, landmarks and records of prepared photos."""
    out, source = epath.Path(tmp_path / "out"), tmp_path / "a.png"
    out.mkdir()
    source.write_bytes(PICTURES[0])
    photo = found_files.PhotoFile("a.png", epath.Path(source))
    faces = {str(source): [{"box": [1, 2, 3, 4], "score": 0.1, "points": []}]}
    with Tally("manifest.csv") as tally:

        @cases(15, 20)
        @hypothesis.given(damaged(manifest()))
        def tables(data):
            (out / "manifest.csv").write_bytes(data)
            tally.run(
                lambda: PhotoResults(out, [photo], wearing.BY, wearing.COLUMNS, {}, ["photo"]).rows(),
                (ValueError, FileExistsError),
                ["manifest.csv"],
            )

        tables()
    with Tally("landmarks.json") as tally:

        @cases(15, 20)
        @hypothesis.given(damaged(json.dumps(faces).encode()) | changed_json(faces))
        def landmarks(data):
            (out / "landmarks.json").write_bytes(data)
            tally.run(lambda: LandmarkFile(out).write([str(source)]), FileExistsError, ["landmarks.json"])

        landmarks()
    (tmp_path / "in" / "mask").mkdir(parents=True)
    (tmp_path / "in" / "mask" / "a.png").write_bytes(PICTURES[0])
    prepared = epath.Path(tmp_path)
    record = {"mask/a.png": ["10000", len(PICTURES[0]), 5, 0, 0], "b.png": ["10000", 5, None, 1, 2]}
    with Tally("photos.json") as tally:

        @cases(15, 20)
        @hypothesis.given(damaged(json.dumps(record).encode()) | changed_json(record))
        def records(data):
            (prepared / "photos.json").write_bytes(data)
            found = photo_folder.scan(tmp_path / "in")
            tally.run(lambda: photo_record.find_difference(prepared, found), ValueError, ["photos.json"])

        records()
