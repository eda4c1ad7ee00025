"""Sketches: the mesh on the face and the landmarks, at the positions of the map."""

import numpy as np

from sdgan_jax.face3d import drawing, layout

LAYOUT = layout.megn(32)
GREY = np.full((40, 60, 3), 90, np.uint8)


def spread(left, top, side):
    """A position map that spreads the UV square over a square of the image, texel centres in between."""
    line = (np.arange(32) + 0.5) / 32 * side - 0.5
    x, y = np.meshgrid(left + line, top + line)
    return np.stack([x, y, 0 * x], -1).astype(np.float32)


def test_landmarks_and_mesh_lie_where_the_map_says():
    sketch = drawing.sketch(GREY, spread(10, 4, 32), LAYOUT)
    assert sketch.shape == (280, 420, 3)  # by 7: the least that makes 40 pixels 256
    i, j = LAYOUT.landmark_texels
    rows, columns = (7 * (4 + i + 0.5)).astype(int), (7 * (10 + j + 0.5)).astype(int)
    np.testing.assert_array_equal(sketch[rows, columns], np.broadcast_to((255, 40, 40), (68, 3)))
    blue = np.argwhere((sketch == (0, 120, 255)).all(-1))
    texels = np.argwhere(LAYOUT.face)
    low, high = (7 * (edge + [4.5, 10.5]) for edge in (texels.min(0), texels.max(0)))
    assert (blue.min(0) >= low - 1).all() and (blue.max(0) <= high + 1).all()
    assert (blue.max(0) - blue.min(0) > 0.9 * (high - low)).all()  # the mesh covers the face
    outside = np.ones(sketch.shape[:2], bool)
    outside[28:252, 70:294] = False
    assert (sketch[outside] == 90).all()


def test_a_sheet_of_seven_sketches_has_two_rows():
    images, maps = np.full((7, 64, 64, 3), 90, np.uint8), np.stack([spread(4, 4, side) for side in range(44, 51)])
    sheet = drawing.sheet(images, maps, LAYOUT)
    assert sheet.shape == (2 + 2 * 258, 2 + 6 * 258, 3)
    np.testing.assert_array_equal(sheet[260:516, 2:258], drawing.sketch(images[6], maps[6], LAYOUT))
