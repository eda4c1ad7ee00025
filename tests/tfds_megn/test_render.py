"""Pictures of faces: the same outside an attribute, changed inside it; the map against rigid rotation."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from tests.tfds_megn.rotations import rotation
from tfds_megn import eyewear, head, varied
from tfds_megn.params import ATTRIBUTES, PARAM_NAMES, as_face, sample_params
from tfds_megn.render import attribute_region, render, table_side
from tfds_megn.uv import LANDMARKS, landmarks, position_map, uv_directions

SHOWN = ATTRIBUTES[1:]
GOLDEN = pathlib.Path(__file__).parent / "golden_faces.png"  # rows of GOLDEN_FACES, columns of ATTRIBUTES
GOLDEN_FACES = (0, 1, 3, 5, 8)


def changed(params, **values):
    params = params.copy()
    for name, value in values.items():
        params[PARAM_NAMES.index(name)] = value
    return params


def frontal(identity):
    return changed(sample_params(identity), yaw=0, pitch=0, roll=0, shift_x=0, shift_y=0, scale=0.66)


def texel(s, t, size):
    """Row and column of the map where the mean head, an ellipsoid of 0.70, 1, 0.86, has x, y = s, t."""
    z = 0.86 * np.sqrt(1 - (s / 0.70) ** 2 - t**2)
    below, azimuth = np.arctan2(t, np.hypot(s, z)), np.arctan2(s, z)
    v = (np.rad2deg(below) + 46) / 122
    u = (np.rad2deg(azimuth) + 80) / 160
    return int(v * size), int(u * size)


@pytest.mark.parametrize("size", [32, 64, 101])
def test_a_picture_is_uint8_and_the_same_every_time(size):
    params = sample_params(3, 1)
    a = render(params, "mask", size)
    assert a.dtype == np.uint8 and a.shape == (size, size, 3)
    assert a.tobytes() == render(params.copy(), 1, size).tobytes()
    assert a.std() > 15


def test_a_batch_is_its_pictures():
    params = np.stack([sample_params(k, k) for k in range(3)])
    batch = render(params, ["none", 4, "sunglasses"], 32)
    for k, name in enumerate(("none", "beard", "sunglasses")):
        np.testing.assert_array_equal(batch[k], render(params[k], name, 32))
    np.testing.assert_array_equal(render(params, "mask", 32)[1], render(params[1], "mask", 32))
    assert render(params[:0], "mask", 32).shape == (0, 32, 32, 3)


@pytest.mark.parametrize("name", SHOWN)
def test_an_attribute_changes_its_region_and_not_a_bit_outside(name):
    for identity in range(8):
        params = sample_params(identity, identity)
        bare, worn, region = (
            render(params, "none", 64),
            render(params, name, 64),
            attribute_region(params, name, 64),
        )
        assert region.dtype == bool and region.shape == (64, 64)
        np.testing.assert_array_equal(bare[~region], worn[~region])
        assert (bare[region] != worn[region]).any(-1).mean() > 0.5
        assert 0.003 < region.mean() < 0.45


def test_nothing_worn_touches_nothing():
    assert not attribute_region(sample_params(1), "none", 64).any()


@pytest.mark.parametrize(
    "name,least", [("mask", 30), ("sunglasses", 20), ("beard", 8), ("eyeglasses", 8), ("mustache", 8)]
)
def test_the_change_can_be_seen(name, least):
    """Mean change in grey levels over the region, averaged over people."""
    levels = []
    for identity in range(16):
        params = sample_params(identity, 2)
        difference = np.abs(render(params, name, 64).astype(int) - render(params, "none", 64))
        levels.append(difference[attribute_region(params, name, 64)].mean())
    assert np.mean(levels) > least


def test_each_attribute_is_where_it_is_worn():
    """Against rows of the frontal picture: the head is 1.32 half frames high, its centre in the middle."""
    row = {name: [] for name in SHOWN}
    for identity in range(12):
        for name in SHOWN:
            where = np.argwhere(attribute_region(frontal(identity), name, 64))
            row[name].append((where[:, 0].mean() - 31.5) / (0.66 * 32))
            assert abs(where[:, 1].mean() - 31.5) < 4  # symmetric about the nose
    mean = {name: np.mean(v) for name, v in row.items()}
    assert 0.3 < mean["mask"] < 0.75 and 0.3 < mean["beard"] < 0.9 and 0.4 < mean["mustache"] < 0.7
    assert abs(mean["eyeglasses"]) < 0.25 and abs(mean["sunglasses"]) < 0.25


def painted_columns(params, attribute, colour, size):
    """Mean column of the pixels that take on `colour` of an attribute: its shadow is the same in black and white."""
    black, white = (
        render(changed(params, **{f"{colour}_{c}": level for c in "rgb"}), attribute, size).astype(int)
        for level in (0, 1)
    )
    share = np.abs(white - black).mean(-1) > 40
    return np.argwhere(share)[:, 1].mean()


def test_glasses_stand_off_the_face_and_shift_with_the_yaw():
    """A point at depth z moves by z sin(yaw): lenses move further than the eyes, as far as their sheet lies."""
    size, yaw = 128, 0.35
    for identity in (4, 6):
        params = changed(frontal(identity), sun_shape=0, lens_mirror=0, glare=0)
        turned = changed(params, yaw=yaw)
        lens = painted_columns(turned, "sunglasses", "lens", size) - painted_columns(params, "sunglasses", "lens", size)
        eyes = (landmarks(turned, size) - landmarks(params, size))[36:48, 0].mean()
        sheet, _ = eyewear._fit(as_face(params), head.build(as_face(params), 144), "sunglasses")
        depth = sheet.axis + np.sqrt(1.25**2 - sheet.aside**2)  # of the middle of a lens
        assert 1.08 * eyes < lens
        assert 0.88 < lens / (depth * np.sin(yaw) * 0.66 * size / 2) < 1.0  # the far lens turns away


def test_a_mask_shifts_with_the_yaw():
    """It moves with the mouth, less by what the face hides of its far side."""
    size = 96
    params, turned = frontal(4), changed(frontal(4), yaw=0.35)
    shift = painted_columns(turned, "mask", "mask", size) - painted_columns(params, "mask", "mask", size)
    mouth = (landmarks(turned, size) - landmarks(params, size))[48:60, 0].mean()
    assert 0.7 * mouth < shift < mouth


@pytest.mark.parametrize("person", [47, 1193, 1284, 1394])
def test_a_mask_covers_the_nose_of_a_face_that_looks_up(person):
    """At the landmarks of the nose's lower ridge, tip and base, with a pitch of 40° to 45°."""
    params = varied.sample_params(person, 1)
    x, y = landmarks(params, 96)[29:36, :2].round().astype(int).T
    change = np.abs(render(params, "mask", 96).astype(int) - render(params, "none", 96))
    assert change.max(-1)[y, x].min() > 10


def test_pictures_are_those_of_the_golden_file():
    """Other processors may round a level up that this one rounds down."""
    golden = np.asarray(Image.open(GOLDEN)).reshape(len(GOLDEN_FACES), 32, len(ATTRIBUTES), 32, 3).swapaxes(1, 2)
    for row, identity in zip(golden, GOLDEN_FACES, strict=True):
        for picture, name in zip(row, ATTRIBUTES, strict=True):
            off = np.abs(render(sample_params(identity, 1), name, 32).astype(int) - picture)
            assert off.max() <= 2 and (off > 0).mean() < 0.01


def test_the_tables_of_larger_pictures_are_as_fine_as_before():
    """The golden pictures are small. Other tables are other pictures, and these another version of the data set."""
    sides = {8: 96, 64: 96, 65: 144, 128: 144, 129: 256, 1024: 256}
    assert {size: table_side(size) for size in sides} == sides


def test_the_map_turns_as_a_rigid_body():
    size = 48
    rest = frontal(7)
    pose = dict(yaw=0.45, pitch=-0.2, roll=0.12, scale=0.6, shift_x=0.05, shift_y=-0.1)
    here, there = (position_map(p, size).astype(np.float64) for p in (rest, changed(rest, **pose)))
    points = np.stack(
        [
            ((here[..., 0] + 0.5) / 24 - 1) / 0.66,
            ((here[..., 1] + 0.5) / 24 - 1) / 0.66,
            here[..., 2] / (24 * 0.66),
        ]
    )
    turn = rotation((0, 0, 1), 0.12) @ rotation((-1, 0, 0), -0.2) @ rotation((0, 1, 0), 0.45)
    x, y, z = np.einsum("ij,jvu->ivu", turn, points)
    np.testing.assert_allclose(there[..., 0], (x * 0.6 + 0.05 + 1) * 24 - 0.5, atol=1e-3)
    np.testing.assert_allclose(there[..., 1], (y * 0.6 - 0.10 + 1) * 24 - 0.5, atol=1e-3)
    np.testing.assert_allclose(there[..., 2], z * 0.6 * 24, atol=1e-3)


def test_the_map_of_a_frontal_face_is_a_frontal_face():
    for identity in range(6):
        params = frontal(identity)
        p = position_map(params, 64)
        assert p.dtype == np.float32 and p.shape == (64, 64, 3)
        v, u = np.unravel_index(p[..., 2].argmax(), (64, 64))
        assert u in (30, 31, 32, 33)  # the nose tip is the nearest point, on the middle column
        assert abs(v - texel(0.0, 0.325, 64)[0]) <= 2  # at the same texel, however long the nose
        assert (np.diff(p[:, 32, 1]) > -0.2).all() and p[0, 32, 1] < 25 and p[-1, 32, 1] > 45  # forehead above chin
        assert (np.diff(p[24, :, 0]) > -0.3).all()  # left to right
        np.testing.assert_allclose(p[:, ::-1, 0], 63 - p[..., 0], atol=1e-3)  # symmetric


def test_the_mirrored_pose_has_the_mirrored_map():
    params = changed(frontal(9), yaw=0.4, pitch=0.1, roll=0.1, shift_x=0.04)
    mirror = changed(params, yaw=-0.4, roll=-0.1, shift_x=-0.04)
    p, q = position_map(params, 32), position_map(mirror, 32)[:, ::-1]
    np.testing.assert_allclose(q[..., 0], 31 - p[..., 0], atol=1e-3)
    np.testing.assert_allclose(q[..., 1:], p[..., 1:], atol=1e-3)


def test_the_map_scales_with_the_picture():
    params = sample_params(2, 2)
    low, high = position_map(params, 128), position_map(params, 256)
    inner = high[1:255, 1:255].reshape(127, 2, 127, 2, 3).mean((1, 3))
    outer = (low[:-1, :-1] + low[1:, :-1] + low[:-1, 1:] + low[1:, 1:]) / 4
    scaled = (inner + [0.5, 0.5, 0]) / 2 - [0.5, 0.5, 0]
    assert np.abs(scaled - outer).mean() < 0.1


def unwrap(picture, position):
    """The picture at the map's positions, nearest pixel."""
    x, y = np.rint(position[..., 0]).astype(int), np.rint(position[..., 1]).astype(int)
    return picture[np.clip(y, 0, len(picture) - 1), np.clip(x, 0, len(picture) - 1)].astype(float)


def test_sampling_the_picture_unwraps_the_face():
    """Two poses unwrap to one texture; by another pose's map they do not."""
    size = 128
    agreement, control = [], []
    for identity in range(5):
        base = changed(frontal(identity), light_strength=0.0, ambient=0.9, hair_volume=0.0, freckles=0.0)
        left, right = changed(base, yaw=-0.3, roll=-0.1), changed(base, yaw=0.25, pitch=0.15, roll=0.08)
        window = (slice(int(0.35 * size), int(0.85 * size)), slice(int(0.36 * size), int(0.64 * size)))
        maps = [position_map(p, size)[window] for p in (left, right)]
        pictures = [render(p, "none", size) for p in (left, right)]
        a, b, wrong = unwrap(pictures[0], maps[0]), unwrap(pictures[1], maps[1]), unwrap(pictures[1], maps[0])
        agreement.append(np.corrcoef(a.ravel(), b.ravel())[0, 1])
        control.append(np.corrcoef(a.ravel(), wrong.ravel())[0, 1])
    assert np.mean(agreement) > 0.75 and np.mean(agreement) > np.mean(control) + 0.2


def test_pupils_lie_at_the_projected_eyes():
    """Black pupils on a white face, found in the picture, against the map at the eyes' texels."""
    size = 192
    white = {name: 0.95 for name in PARAM_NAMES if name[:-1] in ("skin_", "lip_", "iris_")}
    base = changed(
        frontal(3), **white, hair_volume=0, stubble=0, blush=0, freckles=0, age=0, lash=0, brow_density=0,
        mouth_open=0,
        gaze_x=0, gaze_y=0, eye_open=1.2, light_strength=0.0, ambient=0.9,
    )  # fmt: skip
    for yaw, spacing, height in ((-0.3, 0.24, 0.03), (0.0, 0.272, 0.0), (0.3, 0.30, -0.03)):
        params = changed(base, yaw=yaw, eye_spacing=spacing, eye_height=height)
        picture, position = render(params, "none", size).min(-1).astype(int), position_map(params, size)
        for sign in (-1, 1):
            x, y, _ = position[texel(sign * 0.272, 0.0, size)]  # at the same texel, wherever the eyes are
            near = picture[int(y) - 9 : int(y) + 10, int(x) - 9 : int(x) + 10]
            dark = np.argwhere(near < near.min() + 40) - 9
            assert np.abs(dark.mean(0)).max() < 5


def test_lips_end_at_their_landmarks():
    """Red lips on a white face, as far as they reach in the picture, against the landmarks of their outline."""
    size = 256
    paint = {"skin_r": 0.9, "skin_g": 0.9, "skin_b": 0.9, "lip_r": 1.0, "lip_g": 0.0, "lip_b": 0.0}
    flat = {"stubble": 0, "blush": 0, "freckles": 0, "age": 0, "light_strength": 0.0, "ambient": 0.9, "iris_g": 0.3}
    for identity, smile in ((0, -0.3), (1, 0.3), (2, 1.0)):
        params = changed(frontal(identity), **paint, **flat, smile=smile, mouth_open=0.0)
        picture = render(params, "none", size).astype(int)
        rows, columns = np.nonzero((picture[..., 0] - picture[..., 1] > 60) & (np.arange(size)[:, None] > 128))
        x, y, _ = landmarks(params, size)[48:60].T
        assert abs(columns.min() - x.min()) < 3 and abs(columns.max() - x.max()) < 3
        assert abs(rows.min() - y.min()) < 3 and abs(rows.max() - y.max()) < 3


def test_the_map_has_the_landmarks_at_their_texels():
    """By interpolation between the texels around; the head's surface is looked up anew for each landmark."""
    for identity in range(4):
        params = sample_params(identity, identity)
        at = LANDMARKS * 256 - 0.5
        x, y = np.floor(at).astype(int).T
        fx, fy = (at - np.floor(at)).T[..., None]
        p = position_map(params, 256)
        top, bottom = (p[row, x] * (1 - fx) + p[row, x + 1] * fx for row in (y, y + 1))
        np.testing.assert_allclose(top * (1 - fy) + bottom * fy, landmarks(params, 256), atol=0.4)


def test_the_landmarks_are_in_the_order_of_the_scheme():
    x, y, _ = landmarks(frontal(0), 256).T
    np.testing.assert_allclose(x[:17] + x[16::-1], 255, atol=1e-3)  # each from the left to the right
    assert (np.diff(x[:17]) > 0).all() and (np.diff(x[17:27]) > 0).all() and (np.diff(x[31:36]) > 0).all()
    assert y[8] > y[57] > y[66] >= y[62] > y[51] > y[33] > y[27] > y[19]  # chin, lips, nose, brow
    assert x[36] < x[39] < x[42] < x[45] and y[37] < y[41] and y[44] < y[46]
    assert x[48] == x[48:60].min() and x[54] == x[48:60].max() and x[60] < x[62] < x[64]


def test_the_points_between_corner_and_middle_of_the_inner_lips_are_nearer_to_the_middle():
    """As in 300-W, by the mean that dlib's alignment of faces uses: 0.12 of 0.38 distances of the eyes' centres."""
    x = landmarks(frontal(0), 256)[:, 0]
    half = (x[64] - x[60]) / 2
    np.testing.assert_allclose((x[63] - x[61]) / 2 / half, 0.12 / 0.38, atol=0.03)
    np.testing.assert_allclose((x[65] - x[67]) / 2 / half, 0.12 / 0.38, atol=0.03)


def test_the_jaw_has_the_heights_of_300_w():
    """Of its mean, as OpenFace publishes it, in distances of the eyes' centres from the middle between the eyes."""
    mean = np.mean([sample_params(person) for person in range(60)], 0)
    mean[[PARAM_NAMES.index(name) for name in ("yaw", "pitch", "roll")]] = 0.0
    points = landmarks(mean.astype(np.float32), 256)[:, :2].astype(np.float64)
    left, right = points[36:42].mean(0), points[42:48].mean(0)
    x, y = (points[:9] - (left + right) / 2).T / (right - left)[0]
    np.testing.assert_allclose(y, [0.04, 0.35, 0.67, 0.98, 1.27, 1.53, 1.75, 1.92, 1.97], atol=0.1)
    np.testing.assert_allclose(x, [-1.19, -1.18, -1.14, -1.07, -0.95, -0.76, -0.525, -0.265, 0.0], atol=0.22)
    assert (np.abs(x[:4]) > 1.0).all()  # the contour, not the cheek


def test_uv_directions_follow_the_documented_angles():
    d = uv_directions(64)
    np.testing.assert_allclose((d**2).sum(0), 1, atol=1e-5)
    azimuth, below = np.rad2deg(np.arctan2(d[0], d[2])), np.rad2deg(np.arcsin(d[1]))
    np.testing.assert_allclose(azimuth[0], (np.arange(64) + 0.5) * 160 / 64 - 80, atol=1e-3)
    np.testing.assert_allclose(below[:, 5], (np.arange(64) + 0.5) * 122 / 64 - 46, atol=1e-3)


def test_bad_input_is_refused_in_one_line():
    params = sample_params(0)
    for call, match in (
        (lambda: render(params, "hat", 32), "unknown attribute 'hat'; the known ones are none, mask"),
        (lambda: render(params[:-1], "mask", 32), f"{len(PARAM_NAMES)} numbers"),
        (lambda: render(np.stack([params] * 2), ["mask"], 32), "2 faces but 1 attributes"),
        (lambda: render(params, "mask", 4), "size must be 8 to 1024"),
        (lambda: position_map(params[None], 32), f"{len(PARAM_NAMES)} numbers"),
        (lambda: attribute_region(params * np.nan, "mask", 32), "NaN"),
    ):
        with pytest.raises(ValueError, match=match) as error:
            call()
        assert "\n" not in str(error.value)
