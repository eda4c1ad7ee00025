"""Finds the faces in a photo of any size with a position network alone.

On a face, the network predicts the same position in the photo from every frame around it, and the texture there looks
like eyes and a nose. Elsewhere it predicts the place in its frame where faces usually are, and that moves with the
frame. Squares of several sizes are searched, or the places that `proposals` names, the largest first; the best are
framed again as in the network's training, and these alone are scored.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from sdgan_jax import pictures
from sdgan_jax.face3d import alignment, cutting, detection, proposals, resemblance
from sdgan_jax.face3d.layout import Layout

Predict = Callable[[np.ndarray], np.ndarray]
Place = tuple[list[np.ndarray], np.ndarray, np.ndarray]  # `halvings` of a photo, a square of it, one of `_FRAMES`

THRESHOLD = 0.0125  # largest score of a face, see `Found`, of a network that names no other
MOST_SQUARES = 128  # per scale; a photo of 16:9 has 120 of the smallest, narrow strips are covered more sparsely
SCALES = (2.4, 1.75, 1.25, 1.0, 0.7, 0.5, 0.35)  # sides of the squares, in shorter sides of the photo
_LARGE = 4  # number of scales searched first; the others follow if these contain no face
_FACES = (1.2, 0.3, 0.12)  # bounds of the mean sides of faces, likewise, that `proposals` are searched for in turn
_AT_ONCE = (6, 12)  # number of proposals of each of these that are looked at together
_GROUP, _DISTANT = 4, 0.05  # number of faces from which on those are searched for, too, that are smaller than these
_MANY = 2  # faces found in so many proposals for which the next are looked at
_MOST, _BATCH = 400, 4  # proposals of a photo; frames that a network is shown at once
_CANDIDATES = 60  # of a search
_GLANCED, _UNSTEADY = 0.08, 0.05  # disagreement of two frames from which on a square is not looked at: first, and then
_SIMILAR, _SAME = 0.6, 0.5  # share that the boxes of two candidates may have in common: the steadier need not be better
_SHARED = 0.5  # share of a face's box that may lie in another face's
_SMALLEST, _LARGEST = 0.2, 0.85  # mean side of a face's box, in sides of its frame
_MISSHAPEN = 0.25  # a `resemblance.shape_error`; faces in photos have up to 0.15, a mean face of half the width 0.26
# Frames of a square: shift to the right and down in sides; scale; clockwise rotation of the content in degrees. The
# first is the square itself. The search and `score_aligned` use the first two, the score of a candidate all.
_PARTS = (4, 8)  # numbers of frames after which a candidate is looked at, in whole batches
_FRAMES = np.array([
    (0.0, 0.0, 1.0, 0.0), (0.08, -0.06, 1.15, 0.0),
    (-0.08, 0.06, 0.9, 0.0), (0.12, 0.1, 1.0, 0.0), (-0.12, -0.1, 1.0, 0.0), (0.0, 0.0, 1.3, 0.0),
    (0.0, 0.0, 0.82, 0.0), (0.0, 0.0, 1.0, -10.0), (0.0, 0.0, 1.0, 10.0), (0.0, 0.0, 1.0, -20.0),
    (0.0, 0.0, 1.0, 20.0),
])  # fmt: skip


class Framing(NamedTuple):
    """Size and position of the faces in a network's training images.

    Attributes:
        share: mean of width and height of the landmarks' box, in sides of the frame.
        x: horizontal position of the box's centre in the frame, from 0 to 1.
        y: vertical position, likewise.
    """

    share: float
    x: float
    y: float


MEGN = Framing(0.467, 0.50, 0.645)  # measured on 300 faces of `tfds_megn`
PRNET = Framing(0.625, 0.50, 0.50)  # Feng et al. 2018: a square of 1.6 times the box


class Found(NamedTuple):
    """A face in a photo.

    Attributes:
        position_map: f32[S,S,3], in pixels of the photo.
        score: disagreement times unlikeness; smaller is better. Disagreement is the distance between the landmarks of
            two frames in diagonals of their box: the median over the 68 landmarks and over ten frames that are shifted,
            scaled and rotated, or the first seven where six of these decide. Unlikeness is 1 - r, where r in [-1, 1]
            is the correlation of brows, eyes and nose on the UV square with those of a mean face. The threshold was
            calibrated for `prnet64` on 140 photos with known landmarks, also upside down: no wrong place scores below
            it (best score 0.0137), nor any of 62 photos without a face (0.031), but all of 40 rendered faces do.
        box: f32[4], left, top, right, bottom of the landmarks in pixels of the photo.
    """

    position_map: np.ndarray
    score: float
    box: np.ndarray


class Find(Protocol):
    """Search for faces in photos, such as `find_all` with a network."""

    def __call__(self, image: np.ndarray, *, most: int | None = None, enough: int | None = None) -> list[Found]:
        """Returns the faces of a photo u8[H,W,3], at most the `most` largest, in the order of `choose`.

        Small ones are not searched for where there are `enough` large ones, by default `most`.
        """


def find_all(
    image: np.ndarray,
    predict: Predict,
    layout: Layout,
    framing: Framing = MEGN,
    glance: Predict | None = None,
    most: int | None = None,
    enough: int | None = None,
    threshold: float = THRESHOLD,
    edges: np.ndarray | None = None,
    size: int = cutting.SIZE,
    thorough: bool = True,
) -> list[Found]:
    """Searches for upright faces, the large ones first.

    Args:
        image: u8[H,W,3]. At most `MOST_SQUARES` squares of each scale are searched, whatever its size and shape.
        predict: maps f32[N,size,size,3] in [-1, 1] to position maps f32[N,S,S,3] in pixels of these frames.
        layout: layout of the maps.
        framing: framing of the faces that `predict` was trained on.
        glance: a faster and less exact `predict`, by which the squares are searched; the scores are those of `predict`.
        most: largest number of faces.
        enough: number of large faces from which on small ones are not searched for; `most` by default.
        threshold: largest score of a face.
        edges: filter of `proposals`, whose best places are searched first. Where it is None, and where no face is
            there, the squares of `pyramid` are.
        size: side of the frames.
        thorough: search the squares of `pyramid` where no face is at the best places.

    Returns:
        The faces whose score is below the threshold, in the order of `choose`.
    """
    levels, found = cutting.halvings(image), list[Found]()
    enough = most if enough is None else enough
    for places, least in _searches(levels, framing, edges):
        for some in places if len(found) >= least else []:
            some, before = _elsewhere(some, found, framing), len(found)
            squares = _search(levels, some, predict, glance or predict, layout, framing, size)
            found = choose([*found, *_faces(levels, squares, predict, layout, threshold, size)])
            if len(found) < before + _MANY:
                break
        if enough is not None and len(found) >= enough:
            break
    if not found and edges is not None and thorough:  # masked faces, for example, are less alike
        return find_all(image, predict, layout, framing, glance, most, enough, threshold, None, size)
    return found[:most]


def _elsewhere(squares: np.ndarray, faces: Sequence[Found], framing: Framing) -> np.ndarray:
    """Returns the squares f64[N,3] whose faces would not have their middle in another one's box, as its parts have."""
    middles = squares[:, None, :2] - (0.5 - np.array([framing.x, framing.y])) * squares[:, None, 2:]
    boxes = np.reshape([face.box for face in faces], (-1, 4))
    return squares[~((middles > boxes[:, :2]) & (middles < boxes[:, 2:])).all(-1).any(-1)]


def _searches(
    levels: list[np.ndarray], framing: Framing, edges: np.ndarray | None
) -> Iterator[tuple[Iterable[np.ndarray], int]]:
    """Yields the places of large faces, of small ones, and of those far away in a group.

    Each are squares f64[N,3] that are searched together, the most promising first; and the number of faces that must
    have been found for these places to be searched.
    """
    height, width = levels[0].shape[:2]
    if edges is None:
        yield from (([pyramid(height, width, scales)], 0) for scales in (SCALES[:_LARGE], SCALES[_LARGE:]))
        return

    def proposed(largest: float, smallest: float, count: int) -> Iterator[np.ndarray]:
        sides = (share * min(height, width) for share in (smallest, largest))
        boxes = proposals.propose(levels, edges, *sides)[:_MOST, :4]
        squares = frame_as_trained(boxes.reshape(-1, 2, 2), framing)
        yield from (squares[first : first + count] for first in range(0, len(squares), count))

    yield from ((proposed(*kind), 0) for kind in zip(_FACES, _FACES[1:], _AT_ONCE, strict=False))
    yield proposed(_FACES[-1], _DISTANT, 2 * _AT_ONCE[-1]), _GROUP


def choose(candidates: Sequence[Found], most: int | None = None) -> list[Found]:
    """Returns one candidate for each face: of those at one place that with the best score.

    Args:
        candidates: faces, some of them perhaps twice or with a part of a face beside the whole.
        most: number of faces to return at most, the largest.

    Returns:
        The faces, the largest first; of equally large ones, the upper and then the left one first.
    """
    boxes = np.array([one.box for one in candidates], np.float64).reshape(-1, 4)
    kept = detection.suppress(boxes, -np.array([one.score for one in candidates]), inside=_SHARED)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], -1)
    return [candidates[k] for k in sorted(kept, key=lambda k: (-areas[k], boxes[k, 1], boxes[k, 0]))][:most]


def score_aligned(images: np.ndarray, predict: Predict, layout: Layout) -> np.ndarray:
    """Scores images that are framed as in training, such as generated faces: nothing is searched.

    The score is that of `Found`, but with one other frame instead of ten, which is enough where the framing is right.

    Args:
        images: u8[N,R,R,3].
        predict: as in `find`.
        layout: layout of the maps.

    Returns:
        f64[N]: below its threshold the network takes the image for a face; infinite for what has no shape of a face.
    """
    side = images.shape[1]
    square = np.array([0.5 * side - 0.5, 0.5 * side - 0.5, side])
    maps = _predict([([image], square, frame) for image in images for frame in _FRAMES[:2]], predict)
    scores = []
    for image in images:
        pair = list(itertools.islice(maps, 2))
        unlike = _judge([image], square, pair[0], layout)
        points = (_landmarks(one, layout)[None, :, :2] for one in pair)
        scores.append(_disagreement(*points)[0] * unlike if np.isfinite(unlike) else np.inf)
    return np.array(scores)


def _search(
    levels: list[np.ndarray],
    squares: np.ndarray,
    predict: Predict,
    glance: Predict,
    layout: Layout,
    framing: Framing,
    size: int,
) -> np.ndarray:
    """Returns the squares f64[N,3] of the best candidates among these, framed as in training."""
    points = _steady_points(levels, squares, glance, layout, _SIMILAR, _GLANCED, size)
    squares = frame_as_trained(points, framing)
    points = _predict_landmarks(levels, squares, _FRAMES[:1], glance, layout, size)[:, 0]
    points = points[_plausible(points, squares)]
    points = _steady_points(levels, frame_as_trained(points, framing), predict, layout, _SAME, _UNSTEADY, size)
    return frame_as_trained(points, framing)


def _steady_points(
    levels: list[np.ndarray],
    squares: np.ndarray,
    predict: Predict,
    layout: Layout,
    overlap: float,
    unsteady: float,
    size: int,
) -> np.ndarray:
    """Returns the plausible landmarks f32[N,68,2] in squares where two frames agree, the steadiest first.

    Two frames agree where their disagreement is below `unsteady`. Of those whose boxes have a larger share than
    `overlap` in common, the steadiest are returned.
    """
    first, second = np.moveaxis(_predict_landmarks(levels, squares, _FRAMES[:2], predict, layout, size), 1, 0)
    scores = _disagreement(first, second)
    here = np.flatnonzero(_plausible(first, squares) & (scores < unsteady))
    boxes = np.concatenate([first[here].min(1), first[here].max(1)], -1)
    return first[here[detection.suppress(boxes, -scores[here], overlap)[:_CANDIDATES]]]


def _faces(
    levels: list[np.ndarray], squares: np.ndarray, predict: Predict, layout: Layout, threshold: float, size: int
) -> list[Found]:
    """Returns the faces in squares f64[N,3] whose score is below the threshold.

    A candidate is shown in further frames only until the median cannot cross the threshold any more.
    """
    faces, found, unlikeness = [], dict[int, np.ndarray](), dict[int, float]()
    scores: list[list[float]] = [[] for _ in squares]
    left, enough = list(range(len(squares))), (len(_FRAMES) - 1) // 2 + 1
    for frames in np.split(_FRAMES, _PARTS):
        maps = _predict([(levels, squares[k], frame) for k in left for frame in frames], predict, size)
        for k in left:
            some = list(itertools.islice(maps, len(frames)))
            if k not in found:
                found[k] = some.pop(0)
                unlikeness[k] = _judge(levels, squares[k], found[k], layout)
            if not np.isfinite(unlikeness[k]):
                continue
            points = np.stack([_landmarks(one, layout)[:, :2] for one in some])
            scores[k] += list(_disagreement(_landmarks(found[k], layout)[None, :, :2], points) * unlikeness[k])
        below = {k: sum(score < threshold for score in scores[k]) for k in left if np.isfinite(unlikeness[k])}
        sure = [k for k, n in below.items() if n >= enough or len(scores[k]) == len(_FRAMES) - 1]
        faces += [Found(found[k], float(np.median(scores[k])), box_of(found[k], layout)) for k in sure]
        left = [k for k, n in below.items() if k not in sure and len(scores[k]) - n < enough]
    return [one for one in faces if one.score < threshold]


def _judge(levels: list[np.ndarray], square: np.ndarray, position_map: np.ndarray, layout: Layout) -> float:
    """Returns the unlikeness of the face of a square; infinite if it has no shape of a face."""
    points = _landmarks(position_map, layout)[None, :, :2]
    plausible = np.isfinite(position_map).all() and _plausible(points, square[None])[0]
    if not plausible or resemblance.shape_error(position_map, layout) >= _MISSHAPEN:
        return np.inf
    inside = alignment.to_square(position_map, square, cutting.SIZE)
    return resemblance.unlikeness(cutting.cut_frame(levels, square), inside, layout)


def box_of(position_map: np.ndarray, layout: Layout) -> np.ndarray:
    """Returns left, top, right, bottom f32[4] of the landmarks, at the nearest texels."""
    points = _landmarks(position_map, layout)[:, :2]
    return np.concatenate([points.min(0), points.max(0)])


def _landmarks(position_map: np.ndarray, layout: Layout) -> np.ndarray:
    """Returns the landmarks f32[68,3], at the nearest texels."""
    return position_map[layout.landmark_texels]


def pyramid(
    height: int, width: int, scales: tuple[float, ...], step: float = 0.3, most: int = MOST_SQUARES
) -> np.ndarray:
    """Returns the squares to search.

    Args:
        height: height of the photo in pixels.
        width: width of the photo.
        scales: sides of the squares, in shorter sides of the photo.
        step: largest distance from one square to the next, in sides.
        most: largest number of squares of each scale; the distance grows where it would be exceeded.

    Returns:
        f64[N,3], see `alignment`; squares that are larger than the photo reach over its edge.
    """
    squares = []
    for scale in scales:
        side, apart = scale * min(height, width), step
        while True:
            rows, columns = (
                1 + max(0, int(np.ceil((length - side) / (apart * side) - 1e-6))) for length in (height, width)
            )
            if rows * columns <= most:
                break
            apart *= 1.02
        for i, j in itertools.product(range(rows), range(columns)):
            y = 0.5 * height if rows == 1 else 0.5 * side + (height - side) * i / (rows - 1)
            x = 0.5 * width if columns == 1 else 0.5 * side + (width - side) * j / (columns - 1)
            squares.append((x - 0.5, y - 0.5, side))
    return np.array(squares)


def frame_as_trained(points: np.ndarray, framing: Framing) -> np.ndarray:
    """Returns the squares f64[N,3] in which landmarks f32[N,68,2] lie as in training."""
    low, high = points.min(1), points.max(1)
    side = np.maximum((high - low).mean(-1, keepdims=True) / framing.share, 8.0)
    return np.concatenate([0.5 * (low + high) + (0.5 - np.array([framing.x, framing.y])) * side, side], 1)


def _plausible(points: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Returns bool[N]: size, place and direction of landmarks f32[N,68,2] in their squares are those of a face."""
    low, high = points.min(1), points.max(1)
    share = (high - low).mean(-1) / squares[:, 2]
    centre = np.abs(0.5 * (low + high) - squares[:, :2]) / squares[:, 2:]
    down, right = (points[:, 48:68].mean(1) - points[:, 36:48].mean(1)).T[::-1]  # from the eyes to the mouth
    return (share > _SMALLEST) & (share < _LARGEST) & (centre < 0.4).all(-1) & (down > np.abs(right))


def _disagreement(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the median distance f64[N] of landmarks f32[N,68,2], in diagonals of the first ones' box."""
    sides = first.max(1) - first.min(1)
    return np.median(np.sqrt(np.square(first - second).sum(-1)), 1) / np.sqrt(np.square(sides).sum(-1) + 1e-6)


def _predict_landmarks(
    levels: list[np.ndarray], squares: np.ndarray, frames: np.ndarray, predict: Predict, layout: Layout, size: int
) -> np.ndarray:
    """Predicts the landmarks f32[N,F,68,2], x and y in the photo, from each frame of each square."""
    maps = _predict([(levels, square, frame) for square in squares for frame in frames], predict, size)
    points = [_landmarks(one, layout)[:, :2] for one in maps]
    return np.array(points, np.float32).reshape(len(squares), len(frames), len(layout.landmarks), 2)


def _predict(places: Sequence[Place], predict: Predict, size: int = cutting.SIZE) -> Iterator[np.ndarray]:
    """Yields the position map f32[S,S,3], in pixels of the photo, from each frame of a square, in their order."""
    for first in range(0, len(places), _BATCH):
        some = [(levels, _move(square, frame), frame[3]) for levels, square, frame in places[first : first + _BATCH]]
        full = np.zeros((_BATCH, size, size, 3), np.float32)  # one shape: one compilation
        for k, (levels, square, degrees) in enumerate(some):
            full[k] = pictures.to_float(cutting.cut_frame(levels, square, degrees, size))
        for found, (_, square, degrees) in zip(np.asarray(predict(full)), some, strict=False):
            yield alignment.from_square(found, square, size, degrees).astype(np.float32)


def _move(square: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Returns the square f64[3] that a frame of a square covers."""
    right, down, larger, _ = frame
    x, y, side = square
    return np.array([x + right * side, y + down * side, larger * side])
