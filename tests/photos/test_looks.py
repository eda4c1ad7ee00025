"""Choices of a user: checked, read, and the same for every call."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from sdgan_jax.photos import looks
from sdgan_jax.photos.looks import Looks, Texture


@pytest.mark.parametrize(
    ("choice", "line"),
    [
        ({"kinds": ["round"]}, "--style=round: no such style; mask: surgical, cloth, cup"),
        ({"kinds": ["cup", "cloth"]}, "--style=cup,cloth: mask takes one style"),
        (
            {"attributes": ["hat"]},
            "--attribute=hat: what can be worn is mask, eyeglasses, sunglasses, beard, mustache",
        ),
        ({"attributes": ["mask", "mask"]}, "--attribute=mask,mask: each can be worn once, and one pair of glasses"),
        ({"attributes": ["sunglasses", "eyeglasses"]}, "--attribute=sunglasses,eyeglasses: each can be worn once"),
        ({"colours": ["blue"]}, "colour 'blue' is not #rrggbb"),
        ({"colours": ["#000000"] * 2}, "--colour has 2 values for 1 attributes"),
        ({"textures": ["a.png", "b.png"]}, "--texture has 2 values for 1 attributes"),
        ({"textures": ["/no.png"]}, "--texture=/no.png: there is no such file"),
        ({"textures": ["/"]}, "--texture=/ is a folder; give an image file"),
        ({"textures": ["/dev/zero"]}, "--texture=/dev/zero is a pipe or device; give an image file"),
        ({"textures": ["http://x/a.png"]}, "http://x/a.png: http:// is unknown; gs:// and s3:// are read"),
        ({"per_image": 1001, "seed": 0}, "--per_image=1001: at most 1000 images are made of each photo"),
        ({"per_image": 2}, "--per_image above 1 needs --random_styles"),
    ],
)
def test_choices_that_do_not_fit_are_refused(choice, line):
    with pytest.raises((ValueError, FileNotFoundError)) as raised:
        looks.read(**{"attributes": ["mask"]} | choice)
    assert str(raised.value).startswith(line)


def test_a_texture_is_read_with_its_transparency_and_shrunk(tmp_path, monkeypatch):
    image = np.full((1024, 512, 4), (90, 60, 30, 255), np.uint8)
    image[512:, :, 3] = 0
    Image.fromarray(image).save(tmp_path / "t.png")
    ((path, pixels),) = looks.read(["mask"], textures=[str(tmp_path / "t.png")]).textures
    assert path == str(tmp_path / "t.png") and pixels.shape == (512, 256, 4)
    assert (pixels[:256] == (90, 60, 30, 255)).all() and (pixels[256:, :, 3] == 0).all()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert looks.read(["mask"], textures=["~/t.png"]).textures[0].path == path
    (tmp_path / "t.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="--texture=.*t.png: not an image, or its header is broken"):
        looks.read(["mask"], textures=[str(tmp_path / "t.png")])


def test_a_texture_is_decoded_as_a_photo_is():
    """Upright by its EXIF data, and 16 bits of grey as 8."""
    stored, exif = np.zeros((16, 24, 3), np.uint8), Image.Exif()
    stored[:, :12] = 255  # the left half of what is stored is the upper half of what is shown
    exif[0x0112] = 6
    grey = np.linspace(0, 65535, 400).reshape(20, 20).astype(np.uint16)
    files = []
    for image, form, options in ((stored, "JPEG", {"exif": exif, "quality": 100}), (grey, "PNG", {})):
        files.append(io.BytesIO())
        Image.fromarray(image).save(files[-1], form, **options)
    turned, rounded = (looks.decode_texture(file.getvalue(), "x") for file in files)
    assert turned.shape == (24, 16, 4) and (turned[:12, :, 0] > 250).all() and (turned[12:, :, 0] < 5).all()
    np.testing.assert_array_equal(rounded[..., 0], np.round(grey / 257))


def test_one_value_serves_all_attributes_and_several_go_in_order():
    pixels = [np.full((1, 1, 4), k, np.uint8) for k in range(2)]
    textures = tuple(Texture(f"{k}.png", part) for k, part in enumerate(pixels))
    both = Looks(("mask", "eyeglasses"), ("round", "cup"), ("#ff0000", "#0000ff"), textures).choose_styles("a.jpg")
    assert [both[name].kind for name in ("mask", "eyeglasses")] == ["cup", "round"]
    np.testing.assert_array_equal([style.colour for style in both.values()], [[1, 0, 0], [0, 0, 1]])
    assert [style.texture for style in both.values()] == pixels
    one = Looks(("mask", "eyeglasses"), (), ("#ff0000",), textures[:1]).choose_styles("a.jpg")
    assert [style.kind for style in one.values()] == ["surgical", "rectangle"]  # the usual ones
    assert all((style.colour == [1, 0, 0]).all() and style.texture is pixels[0] for style in one.values())


def test_random_styles_do_not_depend_on_the_other_photos():
    random = Looks(("mask", "eyeglasses"), seed=3)
    styles = [random.choose_styles(name, k) for name in ("a.jpg", "b.jpg") for k in (0, 1)]
    assert len({str(style) for style in styles}) == 4
    assert str(random.choose_styles("b.jpg", 0)) == str(styles[2])
    assert str(dataclasses.replace(random, seed=4).choose_styles("b.jpg", 0)) != str(styles[2])


def test_settings_name_all_that_changes_a_picture():
    texture = np.zeros((2, 2, 4), np.uint8)
    different = [
        Looks(("mask",), ("cup",)),
        Looks(("beard",)),
        Looks(("mask",)),
        Looks(("mask",), ("cup",), ("#ffffff",)),
        Looks(("mask",), ("cup",), (), (Texture("t.png", texture),)),
        Looks(("mask",), ("cup",), (), (Texture("t.png", texture + 1),)),
        Looks(("mask",), ("cup",), seed=0),
        Looks(("mask",), ("cup",), seed=1),
        Looks(("mask",), ("cup",), seed=1, per_image=2),
    ]
    assert len({str(one.settings()) for one in different}) == len(different)
    moved = Looks(("mask",), ("cup",), (), (Texture("elsewhere/t.png", texture),))
    assert moved.settings() == different[4].settings()
