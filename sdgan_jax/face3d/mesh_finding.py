"""Finds the faces in a photo of any size with a face detector and a face mesh.

The detector sees faces that take up a fifth of its frame or more. So the whole photo is searched first, then squares of
it that get smaller by halves. Where that finds nothing, a dark photo is searched again with more light, and turned
copies of the large squares are searched.

The detector's boxes are right for faces at any angle, but its angle is not, and some boxes contain no face. On a face,
the mesh finds the same points from regions that are moved a little; elsewhere, or upside down, it does not. So the mesh
is run on each box at four angles, and the steadiest points are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from sdgan_jax import pictures
from sdgan_jax.face3d import alignment, cutting, detection, finding, mesh
from sdgan_jax.face3d import layout as layouts
from sdgan_jax.face3d.finding import Found

Detect = Callable[[np.ndarray], tuple[jax.Array, jax.Array, jax.Array]]
Inspect = Callable[[np.ndarray, np.ndarray], tuple[jax.Array, jax.Array, jax.Array]]

THRESHOLD = 0.05  # largest score of a face, see `unsteadiness`
PRESENT = 0.5  # smallest probability of a face that the mesh network gives
HOPEFUL = 0.05  # least presence for which points are refined: faces have 0.11 at once, three false boxes in four less
DETECTED = 0.5  # smallest score of a box (MediaPipe's default)
SCALES = (1.0, 0.5, 0.25, 0.125)  # sides of the squares in shorter sides of the photo
_STEP = 0.65  # from one square to the next, in sides: a face of up to a third of a side is whole in one of them
_FINEST = 128  # smallest side of a square in pixels: faces of 24 pixels are a fifth of it
_SMALLER = 0.8  # largest side of the squares of a scale, in sides of those before
_MOST_SQUARES = 400  # per scale
_MOST_CANDIDATES = 400  # per scale, those with the best scores
_BATCH = 8
_TOGETHER = 8  # number of squares from which on they are windows of one resized photo
_PLAIN = 4.0  # deviation of the brightness of a square, in levels of 255, below which it shows no face
_FRAME = 512  # side of the square that the mesh is run on
_AROUND = 2.0  # side of that square in sides of the region, which is turned and refined in it
_SURE = 0.013  # score of points for which no other angle is tried
_TURNS = (0.0, 180.0, 90.0, 270.0)  # degrees that are added to the detector's angle
_DARK = 80  # levels of 255; a photo with less light than this is searched again with more
_BRIGHTEST = 98  # per cent of the pixels that are darker than what counts as the brightest
_LIGHTER = 0.6  # power of the shares of the brightest
_COPIES = (90.0, 180.0, 270.0, 45.0, 315.0, 135.0, 225.0)  # degrees by which copies are turned
# Regions from which the points are found again: shift to the right and down in sides; scale; radians.
_MOVES = np.array([(0.08, 0.05, 1.1, 0.15), (-0.08, -0.05, 0.95, -0.15), (0.0, 0.1, 1.25, 0.0)], np.float32)


def find_all(
    image: np.ndarray,
    detect: Detect,
    inspect: Inspect,
    to_map: Callable[[jax.Array], jax.Array],
    most: int | None = None,
    enough: int | None = None,
) -> list[Found]:
    """Searches for faces, the large ones first.

    Args:
        image: u8[H,W,3].
        detect: maps f32[N,128,128,3] in [-1,1] to regions and boxes, both f32[N,A,4] in sides of the image, and scores
            f32[N,A].
        inspect: maps f32[512,512,3] in [-1,1] and a region f32[4] in pixels to points f32[478,3], presence f32[] and
            `unsteadiness` f32[].
        to_map: maps points f32[478,3] to a position map in MEGN's layout.
        most: largest number of faces.
        enough: number of large faces from which on small ones are not searched for; `most` by default.

    Returns:
        The faces whose presence is at least `PRESENT` and whose unsteadiness, their score, is at most `THRESHOLD`; in
        the order of `finding.choose`. The box is that of the landmarks.
    """
    levels = cutting.halvings(image)
    found: list[Found] = []
    enough = most if enough is None else enough

    def search(squares: np.ndarray, degrees: float) -> list[Found]:
        regions = _detect(levels, squares, degrees, detect, [one.box for one in found])
        here = list(found)
        for region in regions[:_MOST_CANDIDATES]:
            # After the first face, the others are expected to stand as it does: this spares most runs of the mesh.
            roll = _roll(here[0].position_map) if here else None
            one = _locate(levels, region, inspect, to_map, roll)
            here += [one] if one is not None else []
        return finding.choose(here, most)

    for squares in _searches(*image.shape[:2]):
        found = search(squares, 0.0)
        if enough is not None and len(found) >= enough:
            return found
    if not found and (light := lightened(image)) is not None:
        return find_all(light, detect, inspect, to_map, most, enough)
    for degrees in _COPIES if not found else ():
        found = search(next(_searches(*image.shape[:2])), degrees)
        if found:
            break
    return found


def lightened(image: np.ndarray) -> np.ndarray | None:
    """Returns a dark photo u8[H,W,3] with more light, u8[H,W,3]; None for a photo that is bright enough, or black.

    Of 13 portraits with a twentieth of their light and some noise, none is found as it is, and all are with more light.
    """
    brightest = float(np.percentile(image.max(-1), _BRIGHTEST))
    if not 0 < brightest < _DARK:
        return None
    table = 255.0 * np.minimum(np.arange(256) / brightest, 1.0) ** _LIGHTER
    return np.round(table).astype(np.uint8)[image]


def unsteadiness(points: jax.Array, again: jax.Array, presence: jax.Array) -> jax.Array:
    """Scores the points of a face by those that the mesh network finds from regions that are moved a little.

    Args:
        points: f32[478,3].
        again: f32[K,478,3], points from `moved` regions.
        presence: f32[K], probabilities of a face there.

    Returns:
        f32[]: the median distance of the points, in diagonals of their box, times two minus presence; mean over the
        regions. On 25 real faces, ten of them masked, it is at most 0.047, and mostly 0.01; where there is no face, or
        at a wrong angle, it is above 0.05 or above that at the right angle.
    """
    flat, others = points[: mesh.VERTICES, :2], again[:, : mesh.VERTICES, :2]
    distance = jnp.median(jnp.linalg.norm(others - flat, axis=-1), -1)
    return (distance / (jnp.linalg.norm(jnp.ptp(flat, 0)) + 1e-6)).mean() * (2.0 - presence.mean())


def moved(region: jax.Array) -> jax.Array:
    """Returns regions f32[K,4] near a region f32[4]: shifted, scaled and turned."""
    right, down, larger, angle = jnp.asarray(_MOVES).T
    x, y, side, turned = region
    return jnp.stack([x + right * side, y + down * side, larger * side, turned + angle], -1)


def _searches(height: int, width: int) -> Iterator[np.ndarray]:
    """Yields the squares f64[N,3] of each scale: the whole photo first, with the largest ones."""
    shorter, longer = sorted((height, width))
    whole = np.array([[0.5 * width - 0.5, 0.5 * height - 0.5, longer]])
    before = np.inf
    for scale in SCALES:
        side = shorter if scale == SCALES[0] else max(scale * shorter, _FINEST)
        if side < _SMALLER * before:
            squares = finding.pyramid(height, width, (side / shorter,), _STEP, _MOST_SQUARES)
            yield squares if before < np.inf or longer == shorter else np.concatenate([whole, squares])
            before = side


def region_of(points: jax.Array) -> jax.Array:
    """Returns the region f32[N,4] around the points f32[N,478,3] of faces."""
    flat = points[..., :2]
    return detection.region_around(flat, flat[..., mesh.LEFT_EYE, :], flat[..., mesh.RIGHT_EYE, :])


def scale_regions(regions: jax.Array, size: int) -> jax.Array:
    """Converts regions f32[...,4] in sides of an image to pixels; the centre of the first pixel is at 0."""
    return jnp.concatenate([size * regions[..., :2] - 0.5, size * regions[..., 2:3], regions[..., 3:]], -1)


def _detect(
    levels: list[np.ndarray], squares: np.ndarray, degrees: float, detect: Detect, known: Sequence[np.ndarray]
) -> np.ndarray:
    """Detects faces in squares f64[K,3] of a photo, turned clockwise; but for those with known boxes f32[4].

    Returns:
        Their regions f64[N,4] in pixels of the photo, the one with the best score first.
    """
    faces = np.reshape(np.asarray(known, np.float64), (-1, 4))
    found, boxes, scores = [], [faces], [np.full(len(known), np.inf)]
    frames, squares = _cut_all(levels, squares, degrees)
    there = _may_show_others(frames, squares, faces)
    frames, squares = frames[there], squares[there]
    for first in range(0, len(squares), _BATCH):
        some = squares[first : first + _BATCH]
        batch = np.zeros((_BATCH, detection.SIZE, detection.SIZE, 3), np.float32)  # one shape: one compilation
        batch[: len(some)] = pictures.to_float(frames[first : first + _BATCH])
        for part, square in zip(zip(*map(np.asarray, detect(batch))), some, strict=False):
            here = part[2] >= DETECTED
            if not here.any():
                continue
            regions = part[0][here].astype(np.float64)
            pixels = np.pad(detection.SIZE * regions[:, :2] - 0.5, ((0, 0), (0, 1)))
            regions[:, :2] = alignment.from_square(pixels, square, detection.SIZE, degrees)[:, :2]
            regions[:, 2:] = regions[:, 2:] * [square[2], 1.0] - [0.0, np.deg2rad(degrees)]
            half = 0.5 * square[2] * (part[1][here, 2:] - part[1][here, :2])
            found.append(regions)
            boxes.append(np.concatenate([regions[:, :2] - half, regions[:, :2] + half], -1))
            scores.append(part[2][here])
    if not found:
        return np.zeros((0, 4))
    kept = detection.suppress(np.concatenate(boxes), np.concatenate(scores), known=len(known))
    return np.concatenate(found)[[k - len(known) for k in kept if k >= len(known)]]


def _cut_all(levels: list[np.ndarray], squares: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Cuts squares f64[K,3] of a photo as frames u8[K,128,128,3], and returns the squares that these show.

    Many squares of the same side, which `_searches` places inside the photo, are windows of one copy of the photo at
    their scale. They are moved to its next whole pixels. Of a long strip, the copy would have many more pixels than the
    frames.
    """
    size = detection.SIZE
    ratio = size / squares[0, 2]
    height, width = (int(ratio * length + 1e-6) for length in levels[0].shape[:2])
    few = len(squares) < _TOGETHER or height * width > len(squares) * size**2
    if degrees or few or np.ptp(squares[:, 2]) > 0:
        return np.stack([cutting.cut_frame(levels, square, degrees, size) for square in squares]), squares
    k = cutting.level_for(levels, squares[0, 2], size)
    box = (0.0, 0.0, width / ratio / 2**k, height / ratio / 2**k)
    small = np.asarray(Image.fromarray(levels[k]).resize((width, height), Image.Resampling.BILINEAR, box=box))
    corners = np.round((squares[:, :2] + 0.5) * ratio - 0.5 * size).clip(0, [width - size, height - size]).astype(int)
    frames = np.stack([small[top : top + size, left : left + size] for left, top in corners])
    return frames, np.column_stack([(corners + 0.5 * size) / ratio - 0.5, squares[:, 2]])


def _may_show_others(frames: np.ndarray, squares: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Returns bool[K]: the squares f64[K,3], with frames u8[K,128,128,3], that may show other faces than those known.

    These are the squares that are neither plain nor within the box of a face f64[N,4], where they show parts of it.
    """
    plain = frames[:, ::4, ::4].mean(-1).std((1, 2)) < _PLAIN
    low, high = (squares[:, None, :2] + sign * 0.5 * squares[:, None, 2:] for sign in (-1, 1))
    return ~plain & ~((low >= faces[:, :2]) & (high <= faces[:, 2:])).all(-1).any(-1)


def _locate(
    levels: list[np.ndarray],
    region: np.ndarray,
    inspect: Inspect,
    to_map: Callable[[jax.Array], jax.Array],
    roll: float | None,
) -> Found | None:
    """Returns the face in a region f64[4], or None if there is none.

    It is looked for at the angle of the four that is nearest to a roll in degrees, or at the best one if that is None.
    """
    square = np.array([*region[:2], _AROUND * region[2]])
    frame = pictures.to_float(cutting.cut_frame(levels, square, size=_FRAME))
    middle = 0.5 * _FRAME - 0.5
    best, score = np.zeros(0), np.inf
    turns = sorted(_TURNS, key=lambda turn: abs((np.rad2deg(region[3]) + turn - (roll or 0.0) + 180) % 360 - 180))
    for degrees in turns[:1] if roll is not None else _TURNS:
        inside = np.array([middle, middle, _FRAME / _AROUND, region[3] + np.deg2rad(degrees)], np.float32)
        points, presence, unsteady = map(np.asarray, inspect(frame, inside))
        if np.isfinite(points).all() and presence >= PRESENT and unsteady < score:
            best, score = points, float(unsteady)
        if score < _SURE:
            break
    if score > THRESHOLD:
        return None
    points = alignment.from_square(best, square, _FRAME)
    position_map = np.asarray(to_map(jnp.asarray(points, jnp.float32)))
    return Found(position_map, score, finding.box_of(position_map, layouts.megn(len(position_map))))


def _roll(position_map: np.ndarray) -> float:
    """Returns the clockwise angle in degrees of the line between the outer corners of the eyes."""
    points = position_map[layouts.megn(len(position_map)).landmark_texels]
    across = points[45] - points[36]
    return float(np.rad2deg(np.arctan2(across[1], across[0])))
