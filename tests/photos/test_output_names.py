"""Names of results: as the photos, and never two for one file."""

import os
import time
import unicodedata

import pytest

from sdgan_jax.photos import output_names

RESERVED = ("manifest.csv", "sheet.png")


def assign(*names, **options):
    return output_names.assign(names, lambda name: ".png", reserved=RESERVED, **options)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.jpg", "b/c.JPG", "b/d"], ["a.png", "b/c.png", "b/d.png"]),
        (["a.jpg", "a.png"], ["a.png", "a.png.png"]),
        (["a.jpg", "A.png"], ["a.png", "A.png.png"]),
        (["\u00e9.jpg", "e\u0301.png"], ["\u00e9.png", "e\u0301.png.png"]),
        (["sheet.png", "SHEET.jpg", "b/sheet.png"], ["sheet.png.png", "SHEET.jpg.png", "b/sheet.png"]),
        (["sheet.png/a.jpg", "Manifest.csv/b.jpg"], ["sheet.png_/a.png", "Manifest.csv_/b.png"]),
        (["x.jpg", "x.png/a.jpg"], ["x.jpg.png", "x.png/a.png"]),  # x.png is a folder
        ([os.fsdecode(b"caf\xe9.jpg")], ["caf_xe9.png"]),
        (["a\\b.jpg", "a\nb.jpg", "a_b.jpg"], ["a_b.png", "a_b.jpg.png", "a_b.jpg~abf22849.png"]),
        ([".. /a.jpg", " . /b.jpg"], ["_/a.png", "_/b.png"]),
        ([" mask /  a.jpg", " /\t.jpg"], ["mask/a.png", "_/_.png"]),
    ],
)
def test_names(names, expected):
    assert [results for results in assign(*names).values()] == [(name,) for name in expected]


def test_several_results_of_a_photo():
    assert assign("a.jpg", "a.png", "a.0.jpg", count=2) == {
        "a.jpg": ("a.0.png", "a.1.png"),
        "a.png": ("a.png.0.png", "a.png.1.png"),
        "a.0.jpg": ("a.0.0.png", "a.0.1.png"),
    }


def test_results_that_are_there_keep_their_names():
    found = assign("a.bmp", "a.jpg", kept={"a.jpg": ("a.png",)})
    assert found == {"a.bmp": ("a.bmp.png",), "a.jpg": ("a.png",)}


@pytest.mark.parametrize("stem", ["x" * 251, "\u00e9" * 125, os.fsdecode(b"\xe9" * 251)])
def test_long_names_are_cut_and_stay_apart(stem):
    names = [f"{stem}{end}.jpg" for end in ("", "a")[: 2 if len(os.fsencode(stem)) < 251 else 1]] + [f"{stem}.png"]
    found = assign(*names, count=12)
    results = [name for some in found.values() for name in some]
    assert len(set(results)) == 12 * len(names) and max(len(name.encode()) for name in results) <= 255
    assert found == assign(*names, count=12)


def test_names_are_unique_for_every_file_system():
    stems = ("x", "X", "x.jpg", "sheet", "\u00e9", "e\u0301")
    ends = (".jpg", ".JPG", ".png", ".png.png", "")
    names = [folder + stem + end for folder in ("", "A/", "a/") for stem in stems for end in ends]
    names = list(dict.fromkeys(names))
    results = [name for some in assign(*names).values() for name in some]
    keys = {unicodedata.normalize("NFC", name).lower() for name in results}
    assert len(keys) == len(names) and not keys & set(RESERVED)


def test_time_is_linear():
    """By search through a list, 40,000 took twenty seconds."""
    names = [f"{k // 1000}/{k}.{end}" for k in range(20_000) for end in ("jpg", "png")]
    began = time.process_time()
    assign(*names)
    assert time.process_time() - began < 5
