"""The search, with a detector of bright squares in the place of the network's."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from sdgan_jax.face3d import cutting, finding, layout, mesh, mesh_finding

MEGN = layout.megn(64)


def see_bright(frames):
    """Returns the box of the bright pixels of each frame, twice, and a worse box in the corner."""
    regions, boxes = np.zeros((len(frames), 3, 4)), np.zeros((len(frames), 3, 4))
    scores = np.zeros((len(frames), 3))
    for k, frame in enumerate(frames):
        rows, columns = np.nonzero(frame[..., 0] > 0.5)
        # The true detector finds parts of a face, too; from there the true mesh finds the whole face.
        if len(rows) < 200 or min(rows.min(), columns.min()) == 0 or max(rows.max(), columns.max()) == 127:
            continue
        low, high = np.array([columns.min(), rows.min()]) / 128, np.array([columns.max() + 1, rows.max() + 1]) / 128
        boxes[k], scores[k] = [*low, *high], [0.9, 0.8, 0.3]
        regions[k] = [*(low + high) / 2, 1.5 * (high - low).max(), 0.0]
    return regions, boxes, scores


def inspect(presence=1.0, unsteady=0.01, upright=0.0):
    """A mesh that sees a face in each region; at other angles than the right one (radians) it is unsteady."""

    def run(_, region):
        points = np.zeros((mesh.POINTS, 3))
        points[:, :2] = region[:2]
        points[0, 0] += region[2] / 1.5
        off = np.abs((region[3] - upright + np.pi) % (2 * np.pi) - np.pi)
        return points, presence, unsteady * (1.0 if off < 0.1 else 10.0)

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
        (found,) = mesh_finding.find_all(image, see_bright, inspect(), head_at)
        assert found.score == 0.01
        at = found.position_map.reshape(-1, 3)[:, :2]
        head = MEGN.head.reshape(-1, 3)[:, :2]
        scale = np.polyfit(head[:, 0], at[:, 0], 1)
        np.testing.assert_allclose(2 * scale[0], side, rtol=0.1)
        np.testing.assert_allclose([scale[1], (at - head * scale[0])[:, 1].mean()], middle, atol=0.03 * side)


def test_without_a_box_or_a_steady_face_there_is_none():
    image = photo(300, 300, 100, 120, 90)
    assert mesh_finding.find_all(np.zeros((100, 100, 3), np.uint8), see_bright, inspect(), head_at) == []
    assert mesh_finding.find_all(image, see_bright, inspect(presence=0.49), head_at) == []
    assert mesh_finding.find_all(image, see_bright, inspect(unsteady=0.051), head_at) == []
    assert len(mesh_finding.find_all(image, see_bright, inspect(0.51, 0.049), head_at)) == 1


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_the_steadiest_angle_is_taken(degrees):
    """The mesh is unsteady at three of the four angles."""
    (found,) = mesh_finding.find_all(
        photo(300, 300, 100, 120, 90), see_bright, inspect(unsteady=0.02, upright=np.deg2rad(degrees)), head_at
    )
    assert found.score == 0.02


def test_after_the_first_face_the_others_stand_as_it_does():
    """Two faces are upside down; of the second one, only that angle is looked at."""
    angles = []
    image = photo(600, 600, 60, 120, 200) | photo(600, 600, 380, 150, 120)

    def run(frame, region):
        angles.append(round(float(np.rad2deg(region[3]))) % 360)
        return inspect(upright=np.pi)(frame, region)

    def head_upside_down(points):
        turned = np.asarray(head_at(points)) - [*points[1, :2], 0]
        return turned * [-1, -1, 1] + [*points[1, :2], 0]

    assert len(mesh_finding.find_all(image, see_each, run, head_upside_down)) == 2
    assert angles[:3] == [0, 180, 180]


@pytest.mark.parametrize("degrees", [45, 90, 180, 315])
def test_where_nothing_is_found_turned_copies_are_searched(degrees):
    """A detector that only sees bright squares left of a dark middle, in a photo of 400 pixels turned by an angle."""
    at = np.array([-90.0, -30.0])  # from the centre of the upright photo
    turn = np.deg2rad(degrees)
    x, y = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ at + 199.5
    image = photo(400, 400, round(x) - 25, round(y) - 25, 50)

    def see_left(frames):
        regions, boxes, scores = see_bright(frames)
        middles = regions[:, 0, :2]
        here = (np.abs(middles - (at / 400 + 0.5)) < 0.02).all(-1)
        return regions, boxes, scores * here[:, None]

    (found,) = mesh_finding.find_all(image, see_left, inspect(upright=turn), head_at)
    np.testing.assert_allclose(found.position_map[..., 0].mean(), x, atol=8)


def test_points_that_stay_are_steady():
    """Three times the points of a face of 30 x 40 pixels, moved by 1, 2 and 3 pixels; probabilities 1, 0.5 and 0."""
    points = np.random.default_rng(0).uniform([0, 0, -5], [30, 40, 5], (mesh.POINTS, 3))
    points[:2] = [[0, 0, 0], [30, 40, 0]]
    again = np.stack([points + [k, 0, 7] for k in (1, 2, 3)])
    unsteady = mesh_finding.unsteadiness(jnp.asarray(points), jnp.asarray(again), jnp.array([1.0, 0.5, 0.0]))
    np.testing.assert_allclose(unsteady, (1 + 2 + 3) / 3 / 50 * 1.5, rtol=1e-5)
    regions = mesh_finding.moved(jnp.array([100.0, 200.0, 50.0, 0.1]))
    assert regions.shape == (3, 4) and (np.abs(regions[:, :2] - np.array([100, 200])) <= 5.01).all()


def see_each(frames):
    """Returns the box of each bright square of a frame that does not touch its edge."""
    regions, boxes, scores = np.zeros((len(frames), 9, 4)), np.zeros((len(frames), 9, 4)), np.zeros((len(frames), 9))
    for k, frame in enumerate(frames):
        places, count = ndimage.label(frame[..., 0] > 0.5)
        for n, (rows, columns) in enumerate(ndimage.find_objects(places)[:9] if count else []):
            low, high = (np.array([getattr(columns, end), getattr(rows, end)]) for end in ("start", "stop"))
            if low.min() > 0 and high.max() < 128 and (high - low).min() > 12:  # a tenth of the frame
                boxes[k, n], scores[k, n] = np.concatenate([low, high]) / 128, 0.9
                regions[k, n] = [*(low + high) / 256, 1.5 * (high - low).max() / 128, 0.0]
    return regions, boxes, scores


def test_all_faces_are_found_the_largest_first():
    """Nine squares, the smallest of 24 pixels; two have the same size."""
    image = np.zeros((900, 1200, 3), np.uint8)
    squares = [(500, 100, 300), (900, 500, 120), (100, 60, 96), (60, 700, 96), (300, 500, 60), (400, 700, 40),
               (700, 700, 40), (1100, 60, 28), (1000, 800, 24)]  # fmt: skip
    for left, top, side in squares:
        image[top : top + side, left : left + side] = 255
    found = mesh_finding.find_all(image, see_each, inspect(), head_at)
    middles = [one.position_map[..., :2].mean((0, 1)) for one in found]
    assert len(found) == 9
    for (left, top, side), middle in zip(squares, middles, strict=True):
        np.testing.assert_allclose(middle[0], left + side / 2, atol=0.1 * side)
        assert top < middle[1] < top + side
    largest = mesh_finding.find_all(image, see_each, inspect(), head_at, most=3)
    for one, other in zip(largest, found[:3], strict=True):
        np.testing.assert_array_equal(one.box, other.box)


def test_no_more_is_searched_where_there_are_enough_faces():
    calls = []

    def counted(frames):
        calls.append(len(frames))
        return see_each(frames)

    image = photo(800, 800, 100, 100, 400)
    assert len(mesh_finding.find_all(image, counted, inspect(), head_at, most=1)) == 1 and len(calls) == 1
    assert len(mesh_finding.find_all(image, counted, inspect(), head_at)) == 1 and len(calls) > 5


def test_windows_of_one_copy_show_what_single_cuts_do():
    """In a smooth picture of 601 x 803 pixels, each frame is the cut of the square that it stands for."""
    y, x = np.mgrid[:601, :803]
    image = np.stack([255 * x / 802, 255 * y / 600, 127 + 100 * np.sin(x / 40) * np.cos(y / 50)], -1).astype(np.uint8)
    levels = cutting.halvings(image)
    squares = finding.pyramid(601, 803, (151 / 601,), 0.65)
    frames, places = mesh_finding._cut_all(levels, squares, 0.0)
    assert len(frames) == len(squares) == len(places) and np.abs(places - squares).max() < 1.3
    for frame, place in zip(frames, places, strict=True):
        np.testing.assert_allclose(frame, cutting.cut_frame(levels, place, size=128), atol=3)


def test_a_long_strip_is_not_copied_for_its_few_squares():
    """The copy would have 128 x 480000 pixels, 180 MB; the squares are cut one by one, and not moved."""
    strip = np.random.default_rng(0).integers(0, 255, (16, 60_000, 3)).astype(np.uint8)
    squares = finding.pyramid(16, 60_000, (1.0,), 0.65, 40)
    frames, places = mesh_finding._cut_all([strip], squares, 0.0)
    np.testing.assert_array_equal(places, squares)
    np.testing.assert_array_equal(frames[7], cutting.cut_frame([strip], squares[7], size=128))


def test_plain_squares_and_those_within_a_face_are_not_looked_at():
    frames = np.random.default_rng(0).integers(0, 255, (4, 128, 128, 3)).astype(np.uint8)
    frames[1] = 90 + np.arange(128)[:, None] // 32  # brightness of 90 to 93
    squares = np.array([[50.0, 50, 40], [50, 50, 40], [200, 200, 40], [220, 200, 40]])
    face = np.array([[175.0, 175, 225, 225]])
    seen = mesh_finding._may_show_others(frames, squares, face)
    np.testing.assert_array_equal(seen, [True, False, False, True])
    assert mesh_finding._may_show_others(frames, squares, np.zeros((0, 4))).tolist() == [True, False, True, True]


def test_of_a_known_face_no_part_is_looked_at_again():
    """A bright square in a bright ring: the detector sees the ring in the whole photo, the square in smaller ones."""
    image = photo(800, 800, 150, 150, 420)
    image[160:560, 160:560] = 0
    image[300:360, 300:360] = 255
    looked = []

    def run(frame, region):
        looked.append(region)
        return inspect()(frame, region)

    assert len(mesh_finding.find_all(image, see_each, run, head_at)) == 1
    assert len(looked) == 1


def test_dark_photos_are_searched_again_with_more_light():
    """The detector sees squares brighter than three quarters; this one has a brightness of 20 of 255 on black."""
    dark = photo(300, 300, 100, 120, 90) // 255 * 20
    (found,) = mesh_finding.find_all(dark, see_bright, inspect(), head_at)
    (bright,) = mesh_finding.find_all(photo(300, 300, 100, 120, 90), see_bright, inspect(), head_at)
    np.testing.assert_allclose(found.box, bright.box, atol=1)
    # A photo that is not dark is not searched again.
    assert mesh_finding.find_all(photo(300, 300, 100, 120, 90) // 255 * 100, see_bright, inspect(), head_at) == []


def test_light_is_added_by_a_power_of_the_share_of_the_brightest():
    image = np.full((10, 10, 3), 10, np.uint8)
    image[:5, :, 1] = 40
    light = mesh_finding.lightened(image)
    np.testing.assert_allclose(light[0, 0], [255 * 0.25**0.6, 255, 255 * 0.25**0.6], atol=1)
    assert mesh_finding.lightened(image + 60) is None and mesh_finding.lightened(0 * image) is None
