"""The search, with a detector of bright squares in the place of the network's."""

import numpy as np

from sdgan_jax.face3d import layout, mesh, mesh_finding

MEGN = layout.megn(64)


def see_bright(frames):
    """Returns the box of the bright pixels of each frame, twice, and a worse box in the corner."""
    regions, boxes = np.zeros((len(frames), 3, 4)), np.zeros((len(frames), 3, 4))
    scores = np.zeros((len(frames), 3))
    for k, frame in enumerate(frames):
        rows, columns = np.nonzero(frame[..., 0] > 0.5)
        if len(rows) < 200:
            continue
        low, high = np.array([columns.min(), rows.min()]) / 128, np.array([columns.max() + 1, rows.max() + 1]) / 128
        whole = low.min() > 0 and high.max() < 1  # a part of a square has a smaller score
        boxes[k], scores[k] = [*low, *high], [0.9, 0.8, 0.3] if whole else [0.6, 0.6, 0.3]
        regions[k] = [*(low + high) / 2, 1.5 * (high - low).max(), 0.0]
    return regions, boxes, scores


def refine(presence):
    def run(images, regions):
        points = np.zeros((len(images), mesh.POINTS, 3))
        points[:, :, :2] = regions[:, None, :2]
        points[:, 0, 0] += regions[:, 2] / 1.5
        return points, np.full(len(images), presence)

    return run


def head_at(points):
    """A mean head at the first point's place, as wide as the region without its margin."""
    points = np.asarray(points)
    side = points[0, 0] - points[1, 0]
    return np.asarray(MEGN.head) * side / 2 + [points[1, 0], points[1, 1], 0]


def photo(height, width, left, top, side):
    image = np.zeros((height, width, 3), np.uint8)
    image[top : top + side, left : left + side] = 255
    return image


def test_a_face_is_found_at_its_place_in_photos_of_any_shape():
    for image, middle, side in (
        (photo(300, 300, 100, 120, 90), (144.5, 164.5), 90),
        (photo(200, 900, 700, 40, 80), (739.5, 79.5), 80),
        (photo(2400, 1800, 300, 900, 700), (649.5, 1249.5), 700),
        (photo(600, 600, 500, 40, 60), (529.5, 69.5), 60),
    ):
        found = mesh_finding.find(image, see_bright, refine(0.75), head_at)
        assert found.score == 0.25
        at = found.position_map.reshape(-1, 3)[:, :2]
        head = MEGN.head.reshape(-1, 3)[:, :2]
        scale = np.polyfit(head[:, 0], at[:, 0], 1)
        np.testing.assert_allclose(2 * scale[0], side, rtol=0.1)
        np.testing.assert_allclose([scale[1], (at - head * scale[0])[:, 1].mean()], middle, atol=0.03 * side)


def test_without_a_box_or_without_presence_there_is_no_face():
    assert mesh_finding.find(np.zeros((100, 100, 3), np.uint8), see_bright, refine(1.0), head_at) is None
    assert mesh_finding.find(photo(300, 300, 100, 120, 90), see_bright, refine(0.49), head_at) is None


def test_the_largest_face_is_taken():
    image = photo(400, 400, 20, 20, 100)

    def see_two(frames):
        regions, boxes, scores = see_bright(frames)
        seen = scores[:, 0] > 0
        boxes[seen, 2] = [0.8, 0.8, 0.85, 0.85]
        regions[seen, 2], scores[seen, 2] = [0.825, 0.825, 0.075, 0.0], 0.99
        return regions, boxes, scores

    found = mesh_finding.find(image, see_two, refine(0.9), head_at)
    np.testing.assert_allclose(found.position_map[..., 0].mean(), 69.5, atol=5)
