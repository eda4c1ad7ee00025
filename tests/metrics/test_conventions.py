"""Conventions of FID: Pillow itself, TensorFlow 1's rule pixel by pixel, and torch-fidelity's resize."""

import numpy as np
import PIL.Image
import pytest

from sdgan_jax.metrics import conventions
from tests.metrics import references


def images(height, width, count=2):
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3)).astype(np.float32)


@pytest.mark.parametrize("size", [(64, 64), (299, 299), (320, 200), (512, 300)])
def test_clean_fid_is_pillows_bicubic_filter_on_each_channel(size):
    pixels = images(*size, count=1)
    channels = [
        PIL.Image.fromarray(pixels[0, :, :, c]).resize((299, 299), PIL.Image.Resampling.BICUBIC) for c in range(3)
    ]
    expected = np.stack([np.asarray(channel) for channel in channels], axis=-1).clip(0, 255)
    found = conventions.CONVENTIONS["clean-fid"].prepare(pixels)[0]
    assert expected.min() == 0 and expected.max() == 255
    np.testing.assert_allclose(found, (expected - 128) / 128, atol=3e-6)


@pytest.mark.parametrize("name", ["nvlabs", "torch-fidelity"])
@pytest.mark.parametrize("size", [(32, 64), (400, 299)])
def test_nvlabs_and_torch_fidelity_interpolate_as_tensorflow_1(name, size):
    """Row i is at i · H / 299 in the old image: neither half a pixel further nor an average over several pixels."""
    pixels = images(*size, count=1)[0]
    found = conventions.CONVENTIONS[name].prepare(pixels[None])[0]
    for i, j in ((0, 0), (1, 7), (150, 149), (298, 298), (297, 3)):
        y, x = i * size[0] / 299, j * size[1] / 299
        top, left = int(y), int(x)
        bottom, right = min(top + 1, size[0] - 1), min(left + 1, size[1] - 1)
        upper = pixels[top, left] + (pixels[top, right] - pixels[top, left]) * (x - left)
        lower = pixels[bottom, left] + (pixels[bottom, right] - pixels[bottom, left]) * (x - left)
        expected = upper + (lower - upper) * (y - top)
        np.testing.assert_allclose(found[i, j], (expected - 128) / 128, atol=3e-5)


def test_black_and_white_of_each_convention():
    for convention in conventions.CONVENTIONS.values():
        np.testing.assert_allclose(convention.prepare(np.zeros((1, 16, 16, 3), np.float32)), -1.0, atol=1e-6)
        white = convention.prepare(np.full((1, 16, 16, 3), 255, np.float32))
        np.testing.assert_allclose(white, 127 / 128, atol=1e-6)


def test_divisors_are_those_of_the_implementations():
    divisors = {name: convention.ddof for name, convention in conventions.CONVENTIONS.items()}
    assert divisors == {"nvlabs": 0, "torch-fidelity": 1, "clean-fid": 1}


@pytest.mark.slow
@pytest.mark.parametrize("size", [32, 64, 256, 400])
def test_torch_fidelity_resizes_likewise(size):
    torch = pytest.importorskip("torch")
    reference = references.load("torch_fidelity.interpolate_compat_tensorflow")
    pixels = images(size, size)
    expected = reference.interpolate_bilinear_2d_like_tensorflow1x(
        torch.from_numpy(np.moveaxis(pixels, -1, 1).copy()), size=(299, 299), align_corners=False
    )
    expected = (np.moveaxis(expected.numpy(), 1, -1) - 128) / 128
    np.testing.assert_allclose(conventions.CONVENTIONS["torch-fidelity"].prepare(pixels), expected, atol=2e-6)


@pytest.mark.slow
def test_clean_fid_resizes_likewise():
    reference = references.load("cleanfid.resize")
    pixels = images(64, 64, count=1)
    expected = reference.build_resizer("clean")(pixels[0].astype(np.uint8))
    found = conventions.CONVENTIONS["clean-fid"].prepare(pixels)[0]
    np.testing.assert_allclose(found, (expected - 128) / 128, atol=3e-6)
