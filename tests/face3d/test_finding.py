"""Finding faces: with a network that sees one painted square, and one that always answers the same."""

import numpy as np
import pytest

import tfds_megn
from sdgan_jax.face3d import finding, layout

LAYOUT = layout.megn(32)
MEAN = (LAYOUT.head * 94 + np.array([128, 128, 0])).astype(np.float32)  # as in a 256² picture


def painted(height, width, x, y, side):
    """A photo that is dark but for a green square."""
    image = np.full((height, width, 3), 40, np.uint8)
    image[int(y - side / 2) : int(y + side / 2), int(x - side / 2) : int(x + side / 2)] = (40, 220, 40)
    return image


def see_square(images):
    """Lays the mean face over the green in each frame; a network as it should be."""
    maps = []
    for image in images:
        i, j = np.nonzero(image[..., 1] > 0.3)
        if len(i) < 20:
            maps.append(MEAN)
            continue
        scale = (j.max() - j.min() + 1) / 188.0
        centre = np.array([j.mean(), i.mean(), 0.0])
        maps.append((MEAN - np.array([128, 128, 0])) * scale + centre)
    return np.stack(maps)


# The last is too small to be a face in the whole photo: smaller squares are looked at.
@pytest.mark.parametrize(
    ("height", "width", "x", "y", "side"),
    [(300, 300, 150, 140, 200), (400, 640, 450, 220, 160), (400, 640, 450, 220, 64)],
)
def test_a_face_is_found_where_it_is(height, width, x, y, side):
    found = finding.find(painted(height, width, x, y, side), see_square, LAYOUT)
    assert found is not None and found.score < 0.02
    landmarks = (LAYOUT.head * (94 * side / 188) + np.array([x - 0.5, y - 0.5, 0]))[..., :2]
    assert np.abs(found.position_map[..., :2] - landmarks).max() < 0.02 * side
    assert np.abs(found.position_map[..., 2] - LAYOUT.head[..., 2] * side / 2).max() < 0.02 * side


def test_the_mean_answer_is_no_face():
    image = np.random.default_rng(0).integers(0, 255, (200, 260, 3)).astype(np.uint8)
    assert finding.find(image, lambda images: np.stack([MEAN] * len(images)), LAYOUT) is None


def test_frames_are_cut_to_the_pixel():
    """A ramp stays a ramp: the colour at a frame's pixel is that of its place in the photo."""
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (100, 200, 3))
    frame = finding.cut(ramp, np.array([100.25, 50.0, 40.0]), 80)
    place = 100.25 + 0.5 - 20 + (np.arange(80) + 0.5) / 2 - 0.5
    assert np.abs(frame[40, :, 0] - place).max() < 0.76  # rounded to u8


def test_the_framing_is_that_of_the_rendered_faces():
    shares, centres = [], []
    for k in range(40):
        points = tfds_megn.landmarks(tfds_megn.sample_params(k, 1), 64)[:, :2]
        low, high = points.min(0), points.max(0)
        shares.append((high - low).mean() / 64)
        centres.append((0.5 * (low + high) + 0.5) / 64)
    assert np.mean(shares) == pytest.approx(finding.MEGN.share, abs=0.02)
    np.testing.assert_allclose(np.mean(centres, 0), finding.MEGN[1:], atol=0.02)
