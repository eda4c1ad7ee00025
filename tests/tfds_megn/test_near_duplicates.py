"""Perceptual hashes: rendered faces, the same at other sizes and compressions, and a transform computed by hand."""

import io
import itertools

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
}


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_found_and_other_people_are_not(kind):
    images = [*FACES, *(COPIES[kind](face) for face in FACES)]
    assert near_duplicates.group([near_duplicates.describe(image) for image in images]) == [*range(8), *range(8)]


@pytest.mark.parametrize("shape", [(128, 128), (128, 100), (90, 128)])
@pytest.mark.parametrize("sides", [sides for sides in itertools.product((0, 1), repeat=4) if any(sides)])
def test_crops_of_a_twentieth_are_found_for_nine_of_ten_and_other_people_are_not(shape, sides):
    """5 % at any sides, of squares, portraits and landscapes; every other one is mirrored."""
    images, crops = [], []
    for person in range(10):
        image = tfds_megn.render(tfds_megn.sample_params(person), "none", 128)[: shape[0], : shape[1]]
        left, top, right, bottom = (round(0.05 * k * size) for k, size in zip(sides, (*shape[::-1], *shape[::-1])))
        images.append(image)
        crops.append(image[top : shape[0] - bottom, left : shape[1] - right][:, :: (-1) ** person])
    groups = near_duplicates.group([near_duplicates.describe(image) for image in (*images, *crops)])
    assert groups[:10] == list(range(10))
    assert sum(group == person for person, group in enumerate(groups[10:])) >= 9
    assert all(group in (person, 10 + person) for person, group in enumerate(groups[10:]))


def test_the_hash_is_that_of_the_cosine_transform():
    """Against scipy's; the central square alone is seen."""
    grey = np.random.default_rng(0).integers(0, 256, (64, 80)).astype(np.uint8)
    found, _ = near_duplicates.describe(np.repeat(grey[..., None], 3, -1))
    square = grey[:, 8:72].astype(np.float64)
    scale = np.sqrt(np.r_[0.5, np.ones(15)])  # scipy's orthogonal form has another factor at frequency 0
    expected = (fft.dctn(square, norm="ortho")[:16, :16] / np.outer(scale, scale)).reshape(-1)[1:]
    bits = np.unpackbits(np.frombuffer(found, np.uint8)[:32], count=near_duplicates.BITS)
    np.testing.assert_array_equal(bits, expected > np.median(expected))


def test_groups_are_chains_and_rows_are_compared_in_parts(monkeypatch):
    """Hashes of known bits: 0, 40, 80 bits set form a chain; 200 set is apart; None is like nothing."""
    monkeypatch.setattr(near_duplicates, "_ROWS", 2)
    far = np.packbits(np.arange(255) % 2).tobytes()  # as the mirror image: like none of these

    def look(count):
        hashed = np.packbits(np.arange(255) < count).tobytes()
        return hashed + np.packbits(np.arange(255) // 2 % 2).tobytes() * (len(near_duplicates._SQUARES) - 1), far

    looks = [None, look(200), look(80), None, look(0), look(40), look(241)]
    assert near_duplicates.group(looks) == [0, 1, 2, 3, 2, 2, 6]
    assert near_duplicates.group([look(0), look(241), look(200)]) == [0, 1, 2]
    assert near_duplicates.group([None, None]) == [0, 1] and near_duplicates.group([]) == []


@pytest.mark.parametrize("bits, joined", [(34, True), (35, False)])
@pytest.mark.parametrize("square", [1, 16])
def test_a_square_that_is_like_the_central_one_of_another_image_joins_both(bits, joined, square):
    """Random hashes differ in 90 bits or more; those of one square and one central square in `bits`."""
    one, other = (np.random.default_rng(seed).integers(0, 2, (18, 255)).astype(np.uint8) for seed in (0, 1))
    other[square] = one[0] ^ (np.arange(255) < bits)
    looks = [(np.packbits(image[:17], axis=1).tobytes(), np.packbits(image[17]).tobytes()) for image in (one, other)]
    assert near_duplicates.group(looks) == near_duplicates.group(looks[::-1]) == ([0, 0] if joined else [0, 1])


def test_plain_images_have_no_hash():
    assert near_duplicates.describe(np.full((30, 40, 3), 7, np.uint8)) is None
