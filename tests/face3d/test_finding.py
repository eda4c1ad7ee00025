"""Finding faces: with a network that sees one painted square, and one that always answers the same."""

import jax
import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy import ndimage

import tfds_megn
from sdgan_jax import pretrained
from sdgan_jax.face3d import alignment, finding, layout, proposals, resemblance

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


def test_the_threshold_decides_what_is_a_face():
    image = painted(300, 300, 150, 140, 200)
    (found,) = finding.find_all(image, see_square, LAYOUT)
    assert finding.find_all(image, see_square, LAYOUT, threshold=0.9 * found.score) == []


# The last is too small to be a face in the whole photo: smaller squares are looked at.
@pytest.mark.parametrize(
    ("height", "width", "x", "y", "side"),
    [(300, 300, 150, 140, 200), (400, 640, 450, 220, 160), (400, 640, 450, 220, 64), (1300, 1200, 650, 560, 800)],
)
def test_a_face_is_found_where_it_is(height, width, x, y, side):
    (found,) = finding.find_all(painted(height, width, x, y, side), see_square, LAYOUT)
    assert found.score < finding.THRESHOLD
    landmarks = (LAYOUT.head * (94 * side / 188) + np.array([x - 0.5, y - 0.5, 0]))[..., :2]
    assert np.abs(found.position_map[..., :2] - landmarks).max() < 0.02 * side
    assert np.abs(found.position_map[..., 2] - LAYOUT.head[..., 2] * side / 2).max() < 0.02 * side


def test_proposed_places_are_searched_first(monkeypatch):
    """The filter proposes the painted square, and once more a place without a face; see `proposals`."""
    box = np.array([[95, 125, 205, 235, 6.0], [300, 20, 360, 80, 5.0]])
    monkeypatch.setattr(proposals, "propose", lambda levels, edges, smallest, largest: box)
    image, frames = painted(300, 420, 150, 180, 110), []

    def counted(images):
        frames.append(len(images))
        return see_square(images)

    (found,) = finding.find_all(image, counted, LAYOUT, edges=np.zeros(1))
    np.testing.assert_allclose(found.box[[0, 2]].mean(), 149.5, atol=3)
    assert sum(frames) < 80  # the squares of all scales take 250


def test_proposals_in_the_middle_of_a_face_are_not_looked_at(monkeypatch):
    face, parts = np.array([[95, 125, 205, 235, 6.0]]), np.array([[125, 165, 175, 215, 5.0], [150, 160, 180, 190, 4.0]])
    beside = np.array([[210, 130, 260, 180, 3.0]])
    frames = []
    for small in (parts, np.zeros((0, 5)), np.concatenate([parts, beside])):
        given, count = iter((face, small)), []
        monkeypatch.setattr(proposals, "propose", lambda *_, given=given: next(given))
        image = painted(300, 420, 150, 180, 110)
        (found,) = finding.find_all(
            image, lambda images, count=count: count.append(1) or see_square(images), LAYOUT, edges=np.zeros(1)
        )
        np.testing.assert_allclose(found.box[[0, 2]].mean(), 149.5, atol=3)
        frames.append(len(count))
    assert frames[0] == frames[1] < frames[2]


@pytest.mark.parametrize("boxes", [np.zeros((0, 5)), np.array([[300, 20, 360, 80, 5.0]])])
def test_all_squares_are_searched_where_no_face_is_proposed(monkeypatch, boxes):
    monkeypatch.setattr(proposals, "propose", lambda levels, edges, smallest, largest: boxes)
    photo, edges = painted(300, 420, 150, 180, 110), np.zeros(1)
    (found,) = finding.find_all(photo, see_square, LAYOUT, edges=edges)
    np.testing.assert_allclose(found.box[[0, 2]].mean(), 149.5, atol=3)
    assert finding.find_all(photo, see_square, LAYOUT, edges=edges, thorough=False) == []


def test_further_proposals_are_searched_while_they_show_faces(monkeypatch):
    """Of forty proposals, the most alike first, 29 are faces; the first ten are those of large faces, too."""
    boxes = np.array([[60.0 * k, 100, 60.0 * k + 40, 140, 9 - 0.1 * k] for k in range(40)])
    monkeypatch.setattr(
        proposals, "propose", lambda levels, edges, smallest, largest: boxes[:10] if largest > 300 else boxes
    )
    searched = []

    def search(levels, squares, *rest):
        searched.append(len(squares))
        return squares

    def faces(levels, squares, *rest):
        whole = [k for k, square in enumerate(squares) if square[0] < 60 * 29]
        boxes = [np.array([squares[k][0] - 20, 100, squares[k][0] + 20, 140], np.float32) for k in whole]
        return [finding.Found(MEAN, 0.01, box) for box in boxes]

    monkeypatch.setattr(finding, "_search", search)
    monkeypatch.setattr(finding, "_faces", faces)
    found = finding.find_all(np.zeros((300, 2500, 3), np.uint8), see_square, LAYOUT, edges=np.zeros(1))
    # Large faces six at once, then small ones twelve at once but for those that are found, until a round shows no
    # other face; in a group the first 24 distant ones, which are all found here.
    assert len(found) == 29 and searched == [6, 4, 2, 12, 12, 4, 0]


def test_distant_faces_are_searched_for_in_groups_only(monkeypatch):
    """Of the sides in 300 pixels, 0.05 to 0.12 are those of distant faces; three faces are no group, four are."""
    sides = []

    def propose(levels, edges, smallest, largest):
        sides.append((smallest, largest))
        return np.array([[60.0 * k, 100, 60.0 * k + 40, 140, 9] for k in range(count)])

    monkeypatch.setattr(proposals, "propose", propose)
    monkeypatch.setattr(finding, "_search", lambda levels, squares, *rest: squares)
    monkeypatch.setattr(
        finding,
        "_faces",
        lambda levels, squares, *rest: [finding.Found(MEAN, 0.01, (x, 0, x + 40, 40)) for x, *_ in squares],
    )
    for count, expected in ((3, 2), (4, 3)):
        sides.clear()
        found = finding.find_all(np.zeros((300, 2500, 3), np.uint8), see_square, LAYOUT, edges=np.zeros(1))
        assert len(found) == count and len(sides) == expected
    np.testing.assert_allclose(sides[-1], (15, 36))


def test_each_face_is_chosen_once_the_largest_first():
    def one(left, top, side, score):
        return finding.Found(MEAN, score, np.array([left, top, left + side, top + side], np.float32))

    large, twice, inside, low, right, left = (
        one(0, 0, 100, 0.1), one(10, 0, 100, 0.2), one(60, 60, 30, 0.15), one(300, 90, 40, 0.3), one(400, 20, 40, 0.2),
        one(300, 20, 40, 0.4),
    )  # fmt: skip
    assert finding.choose([low, inside, right, twice, large, left]) == [large, left, right, low]
    assert finding.choose([low, inside, right, twice, large, left], most=2) == [large, left]
    assert finding.choose([]) == []


def test_two_faces_are_found_the_largest_first():
    image = np.concatenate([painted(300, 300, 150, 140, 120), painted(300, 300, 150, 140, 160)], 1)

    def see_nearest(images):
        """Sees the square that is nearest to the middle of a frame."""
        seen = images.copy()
        for one in seen:
            places, count = ndimage.label(one[..., 1] > 0.3)
            if count > 1:
                offs = [
                    np.abs(np.array(middle) - 127.5).max()
                    for middle in ndimage.center_of_mass(places, places, range(1, count + 1))
                ]
                one[(places != 1 + np.argmin(offs)) & (places > 0)] = -0.7
        return see_square(seen)

    found = finding.find_all(image, see_nearest, LAYOUT)
    assert [round(one.box[[0, 2]].mean()) // 100 for one in found] == [4, 1]
    assert len(finding.find_all(image, see_nearest, LAYOUT, most=1)) == 1


def test_the_mean_answer_is_no_face():
    image = np.random.default_rng(0).integers(0, 255, (200, 260, 3)).astype(np.uint8)
    assert finding.find_all(image, lambda images: np.stack([MEAN] * len(images)), LAYOUT) == []


def test_a_face_anywhere_in_a_strip_is_found():
    for x in (60, 3440):
        (found,) = finding.find_all(painted(100, 6000, x, 50, 66), see_square, LAYOUT)
        assert np.abs(found.box[[0, 2]].mean() - x) < 7


class Counting:
    """A predictor that always answers the same, and counts the frames that it is shown."""

    def __init__(self, answer):
        self.answer, self.frames = answer, 0

    def __call__(self, images):
        self.frames += len(images)
        return np.stack([self.answer] * len(images))


@pytest.mark.parametrize(("height", "width"), [(100, 6000), (16, 20000), (20000, 16), (1, 1)])
def test_the_frames_are_bounded_whatever_the_shape(height, width):
    predict = Counting(MEAN)
    assert finding.find_all(np.full((height, width, 3), 90, np.uint8), predict, LAYOUT) == []
    # Two frames a square; then of three candidates, twice, what is framed again, and what is scored.
    assert predict.frames <= 2 * 128 * len(finding.SCALES) + 2 * (2 * 8 + 40)


@pytest.mark.parametrize("side", [256, 11586])
def test_no_scale_has_more_squares_in_a_larger_photo(side):
    squares = finding.pyramid(side, side, finding.SCALES)
    assert len(squares) == len(finding.pyramid(300, 300, finding.SCALES)) < 128
    assert len(finding.pyramid(9 * side, 16 * side, (0.35,))) == 8 * 15  # not thinned out
    assert len(finding.pyramid(side, 1000 * side, (0.35,))) <= 128


def test_frames_of_a_large_photo_are_cut_from_small_copies(monkeypatch):
    cut, sides = alignment.cut, []

    def recorded(image, square, *rest):
        sides.append(square[2])
        return cut(image, square, *rest)

    monkeypatch.setattr(alignment, "cut", recorded)
    finding.find_all(np.full((1100, 1100, 3), 90, np.uint8), Counting(MEAN), LAYOUT)
    assert len(sides) > 100 and max(sides) <= 1024


def test_each_frame_shows_the_same_place():
    """A predictor that lays the mean head between a red and a blue dot sees it in one place, turned frames too."""

    def between(images):
        maps = []
        for image in images:
            if not image.any():  # the rest of the batch
                maps.append(MEAN)
                continue
            red, blue = (np.argwhere(image[..., k] > 0.5).mean(0)[::-1] for k in (0, 2))
            along, centre = (blue - red) / 100, (red + blue) / 2
            x, y, z = np.moveaxis(LAYOUT.head * 47, -1, 0)
            length = np.hypot(*along)
            maps.append(np.stack([
                centre[0] + x * along[0] - y * along[1], centre[1] + x * along[1] + y * along[0], z * length
            ], -1))  # fmt: skip
        return np.stack(maps)

    photo = np.zeros((200, 220, 3), np.uint8)
    photo[98:103, 58:63, 0], photo[98:103, 158:163, 2] = 255, 255
    square = np.array([110.0, 104.0, 180.0])
    maps = list(finding._predict([([photo], square, frame) for frame in finding._FRAMES], between))
    truth = LAYOUT.head * 47 + [110, 100, 0]
    assert len(maps) == len(finding._FRAMES)
    for one in maps:
        np.testing.assert_allclose(one, truth, atol=0.6)


class Unsure:
    """`see_square`, but out by a share of the face's width, in each frame elsewhere; the same in each run."""

    def __init__(self, share):
        self.random, self.share = np.random.default_rng(0), share

    def __call__(self, images):
        maps = see_square(images)
        sides = np.ptp(maps[..., 0], axis=(1, 2))
        off = self.random.choice([-1, 1], (len(images), 2)) * (self.share * sides[:, None])
        maps[..., :2] += off[:, None, None]
        return maps


def with_a_face(turn):
    """A photo of a mean face on green, as large as the green; turned."""
    image = painted(300, 300, 150, 140, 200)
    face = np.asarray(Image.fromarray(resemblance.mean_face()).resize((200, 200))).copy()
    face[..., 1] = np.maximum(face[..., 1], 180)  # green for the predictor: red and blue show the face
    image[40:240, 50:250] = turn(face)
    return image


@pytest.mark.parametrize(
    ("turn", "seen"),
    [
        (lambda face: face, True),
        (lambda face: face[::-1, ::-1], False),
        (lambda face: face[::-1], False),
        (lambda face: np.rot90(face), False),
        (lambda face: np.rot90(face, -1), False),
        (lambda face: np.full_like(face, (200, 200, 200)), False),
    ],
)
def test_where_the_frames_agree_roughly_a_face_must_be_seen(turn, seen):
    assert len(finding.find_all(with_a_face(turn), Unsure(0.012), LAYOUT)) == seen


def test_frames_that_do_not_agree_are_no_face_whatever_is_seen():
    assert finding.find_all(with_a_face(lambda face: face), Unsure(0.06), LAYOUT) == []


class Drifting:
    """`see_square`, but so many pixels too far right in every other frame; and a count of the frames."""

    def __init__(self, pixels):
        self.pixels, self.frames = pixels, 0

    def __call__(self, images):
        self.frames += len(images)
        maps = see_square(images)
        maps[1::2, ..., 0] += self.pixels
        return maps


def test_aligned_images_are_scored_by_what_two_frames_disagree():
    """A face is seen in the first and the third image, none in the second, and no green in the last."""
    faces = [with_a_face(turn) for turn in (np.asarray, np.flipud, np.asarray)]
    photos = np.stack([*faces, painted(300, 300, 0, 0, 0)])
    predict = Drifting(4.0)
    once = finding.score_aligned(photos, predict, LAYOUT)
    assert predict.frames == 8  # two for each image
    assert once[0] == once[2] < finding.THRESHOLD
    # A pixel of that frame is 1.15 * 300 / 256 of the photo; the landmarks' box follows from the mean head.
    points = LAYOUT.head[LAYOUT.landmark_texels][:, :2] * 100
    disagreement = 4 * 1.15 * 300 / 256 / np.hypot(*np.ptp(points, axis=0))
    frames = np.stack([alignment.cut(photo, np.array([149.5, 149.5, 300.0]), 256) for photo in photos[:2]])
    maps = see_square(frames / 127.5 - 1)
    unlikeness = [resemblance.unlikeness(*each, LAYOUT) for each in zip(frames, maps, strict=True)]
    assert unlikeness[0] < 0.2 and 0.5 < unlikeness[1] < 2
    np.testing.assert_allclose(once[:2], np.multiply(disagreement, unlikeness), rtol=0.1)
    twice = finding.score_aligned(photos, Drifting(8.0), LAYOUT)
    np.testing.assert_allclose(twice[:3], 2 * once[:3], rtol=0.05)  # the predictor reads whole pixels
    assert once[3] > finding.THRESHOLD  # the mean answer moves with the frame
    assert np.isinf(finding.score_aligned(photos[:1], Counting(np.full_like(MEAN, np.nan)), LAYOUT)).all()


@pytest.mark.parametrize("form", [(0.4, 1, 1), (1, 1, 0), (1, 1, -1)])
def test_what_has_no_shape_of_a_face_is_refused(form):
    """However well its frames agree: too narrow, flat, or hollow."""

    def predict(images):
        maps = see_square(images)
        centre = 0.5 * (maps.max((1, 2), keepdims=True) + maps.min((1, 2), keepdims=True))
        return (maps - centre) * np.array(form) + centre

    assert finding.find_all(painted(300, 300, 150, 140, 200), predict, LAYOUT) == []


@pytest.mark.parametrize(
    ("away", "shown", "is_face"),
    [
        ((), 8, True),
        ((1, 8, 9, 10), 8, True),  # six of the first seven agree: the last three cannot change the median of ten
        ((1, 2), 12, True),
        ((1, 2, 3, 10), 12, True),
        ((1, 2, 3, 4, 5, 6), 8, False),
        ((1, 2, 3, 8, 9, 10), 12, False),
    ],
)
def test_frames_are_shown_until_they_cannot_change_the_median(monkeypatch, away, shown, is_face):
    """Of eleven frames, the first one is compared with the ten others; those of `away` disagree with it."""
    values, predict = iter([float(k in away) for k in range(1, 11)]), Drifting(0.0)
    photo = painted(300, 300, 150, 140, 200)
    (face,) = finding.find_all(photo, see_square, LAYOUT)
    squares = finding.frame_as_trained(face.position_map[LAYOUT.landmark_texels][None, :, :2], finding.MEGN)
    monkeypatch.setattr(finding, "_disagreement", lambda first, points: np.array([next(values) for _ in points]))
    assert len(finding._faces([photo], squares, predict, LAYOUT, finding.THRESHOLD, 256)) == is_face
    assert predict.frames == shown


def test_numbers_that_are_none_are_no_face():
    assert finding.find_all(painted(120, 100, 50, 60, 70), Counting(np.full_like(MEAN, np.nan)), LAYOUT) == []


@pytest.mark.slow
def test_rendered_faces_are_found_and_turned_ones_are_not():
    """By the network that comes with the project."""
    network = pretrained.position_network()
    predict, square = jax.jit(network), network.uv_layout
    for k in range(6):
        params = tfds_megn.sample_params(k, 1)
        photo = tfds_megn.render(params, tfds_megn.ATTRIBUTES[k], 256)
        (found,) = finding.find_all(photo, predict, square, network.framing)
        truth = tfds_megn.landmarks(params, 256)[:, :2]
        np.testing.assert_allclose(found.box, [*truth.min(0), *truth.max(0)], atol=0.1 * np.ptp(truth))
        assert finding.find_all(photo[::-1, ::-1], predict, square, network.framing) == []


@pytest.mark.slow
def test_rendered_faces_are_taken_for_faces_and_blobs_and_noise_are_not():
    """By the network for photos, at 64 pixels; blurred to a blob by a Gaussian of 4 pixels."""
    network = pretrained.position_network(pretrained.SHIPPED_FINDER)
    params = np.stack([tfds_megn.sample_params(10 * k + 9, k) for k in range(6)])
    faces = tfds_megn.render(params, list(range(6)), 64)
    blur = ImageFilter.GaussianBlur(4)
    blobs = np.stack([np.asarray(Image.fromarray(face).filter(blur)) for face in faces])
    noise = np.random.default_rng(0).integers(0, 255, faces.shape).astype(np.uint8)
    images = np.concatenate([faces, blobs, noise])
    scores = finding.score_aligned(images, jax.jit(network.single_pass), network.uv_layout).reshape(3, 6)
    assert (scores < network.threshold).tolist() == [[True] * 6, [False] * 6, [False] * 6]


def test_the_framing_is_that_of_the_rendered_faces():
    shares, centres = [], []
    for k in range(40):
        points = tfds_megn.landmarks(tfds_megn.sample_params(k, 1), 64)[:, :2]
        low, high = points.min(0), points.max(0)
        shares.append((high - low).mean() / 64)
        centres.append((0.5 * (low + high) + 0.5) / 64)
    assert np.mean(shares) == pytest.approx(finding.MEGN.share, abs=0.02)
    np.testing.assert_allclose(np.mean(centres, 0), finding.MEGN[1:], atol=0.02)
