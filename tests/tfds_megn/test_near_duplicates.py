"""Perceptual hashes: rendered faces, the same at other sizes and compressions, and a transform computed by hand."""

import io

import numpy as np
import PIL.Image
import pytest
from scipy import fft

import tfds_megn
from tfds_megn import near_duplicates

FACES = [tfds_megn.render(tfds_megn.sample_params(person), "none", 96) for person in range(8)]


def compressed(image, quality):
    file = io.BytesIO()
    PIL.Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(PIL.Image.open(file))


def resized(image, size):
    return np.asarray(PIL.Image.fromarray(image).resize((size, size), PIL.Image.Resampling.BICUBIC))


COPIES = {
    "smaller": lambda image: resized(image, 48),
    "larger": lambda image: resized(image, 150),
    "compressed": lambda image: compressed(image, 15),
    "mirrored": lambda image: image[:, ::-1],
    "brighter": lambda image: np.minimum(image * 1.1 + 5, 255).astype(np.uint8),
    "grey": lambda image: np.repeat(image.mean(-1, keepdims=True).astype(np.uint8), 3, -1),
    "cropped": lambda image: image[1:-1, 1:-1],
}


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_found_and_other_people_are_not(kind):
    images = [*FACES, *(COPIES[kind](face) for face in FACES)]
    assert near_duplicates.group([near_duplicates.describe(image) for image in images]) == [*range(8), *range(8)]


def test_the_hash_is_that_of_the_cosine_transform():
    """Against scipy's; the central square alone is seen."""
    grey = np.random.default_rng(0).integers(0, 256, (64, 80)).astype(np.uint8)
    found, _ = near_duplicates.describe(np.repeat(grey[..., None], 3, -1))
    square = grey[:, 8:72].astype(np.float64)
    scale = np.sqrt(np.r_[0.5, np.ones(15)])  # scipy's orthogonal form has another factor at frequency 0
    expected = (fft.dctn(square, norm="ortho")[:16, :16] / np.outer(scale, scale)).reshape(-1)[1:]
    bits = np.unpackbits(np.frombuffer(found, np.uint8), count=near_duplicates.BITS)
    np.testing.assert_array_equal(bits, expected > np.median(expected))


def test_groups_are_chains_and_rows_are_compared_in_parts(monkeypatch):
    """Hashes of known bits: 0, 40, 80 bits set form a chain; 200 set is apart; None is like nothing."""
    monkeypatch.setattr(near_duplicates, "_ROWS", 2)
    far = np.packbits(np.arange(255) % 2).tobytes()  # as the mirror image: like none of these

    def look(count):
        return np.packbits(np.arange(255) < count).tobytes(), far

    looks = [None, look(200), look(80), None, look(0), look(40), look(241)]
    assert near_duplicates.group(looks) == [0, 1, 2, 3, 2, 2, 6]
    assert near_duplicates.group([look(0), look(241), look(200)]) == [0, 1, 2]
    assert near_duplicates.group([None, None]) == [0, 1] and near_duplicates.group([]) == []


def test_plain_images_have_no_hash():
    assert near_duplicates.describe(np.full((30, 40, 3), 7, np.uint8)) is None
