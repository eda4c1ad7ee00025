"""A face's numbers: repeatable, within their ranges, split between the person and the photograph."""

import numpy as np
import pytest

from tfds_megn import params
from tfds_megn.params import PARAM_NAMES, attribute_name, sample_params

PERSON = params.SHAPE + params.ALBEDO + params.HAIR


def column(table, name):
    return table[:, PARAM_NAMES.index(name)]


@pytest.fixture(scope="module")
def faces():
    return np.stack([sample_params(i, i % 7) for i in range(500)])


def test_the_same_numbers_give_the_same_face():
    a, b = sample_params(12, 3), sample_params(12, 3)
    assert a.dtype == np.float32 and a.shape == (len(PARAM_NAMES),)
    assert a.tobytes() == b.tobytes()
    assert len(set(PARAM_NAMES)) == len(PARAM_NAMES)


def test_another_photograph_keeps_the_person_and_changes_the_rest():
    a, b = sample_params(5, 0), sample_params(5, 1)
    same = {name for name, x, y in zip(PARAM_NAMES, a, b, strict=True) if x == y}
    assert set(PERSON) <= same
    assert not {"yaw", "pitch", "light_azimuth", "back_r", "gaze_x", "beard_cheek"} & same


def test_other_identities_are_other_people():
    shapes = np.stack([sample_params(i)[[PARAM_NAMES.index(n) for n in PERSON]] for i in range(300)])
    assert len(np.unique(shapes, axis=0)) == 300


def test_pose_lies_within_the_documented_limits(faces):
    for name, limit in (("yaw", 35), ("pitch", 15), ("roll", 10)):
        degrees = np.rad2deg(column(faces, name))
        assert np.abs(degrees).max() <= limit + 1e-3
        assert degrees.min() < -0.6 * limit and degrees.max() > 0.6 * limit


def test_colours_are_colours_and_skin_covers_the_human_range(faces):
    for name in PARAM_NAMES:
        if name[-2:] in ("_r", "_g", "_b"):
            assert 0 <= column(faces, name).min() and column(faces, name).max() <= 1, name
    red = column(faces, "skin_r")
    assert red.min() < 0.42 and red.max() > 0.92
    # Human skin: redder than green, greener than blue.
    assert (red > column(faces, "skin_g")).all()
    assert (column(faces, "skin_g") > column(faces, "skin_b")).all()


def test_every_style_occurs(faces):
    for name, kinds in (
        ("mask_kind", 3),
        ("rim_shape", 4),
        ("sun_shape", 4),
        ("mustache_form", 3),
        ("hair_flow", 3),
    ):
        assert set(column(faces, name).tolist()) == set(range(kinds)), name
    assert (column(faces, "hair_volume") == 0).mean() > 0.02  # bald
    assert (column(faces, "hair_length") > 1).mean() > 0.05  # long


def test_attributes_go_by_name_or_id():
    assert [attribute_name(k) for k in range(6)] == list(params.ATTRIBUTES)
    assert attribute_name(np.int64(3)) == "sunglasses" == attribute_name("sunglasses")


@pytest.mark.parametrize("wrong", ["hat", 6, -1, None, True])
def test_an_unknown_attribute_is_refused_naming_the_known(wrong):
    with pytest.raises(ValueError, match="none, mask, eyeglasses, sunglasses, beard, mustache") as error:
        attribute_name(wrong)
    assert "\n" not in str(error.value)


def test_wrong_params_are_refused():
    with pytest.raises(ValueError, match=f"{len(PARAM_NAMES)} numbers"):
        params.as_face(np.zeros(3))
    with pytest.raises(ValueError, match="NaN"):
        params.as_face(np.full(len(PARAM_NAMES), np.nan))
    with pytest.raises(ValueError, match="0 or more"):
        sample_params(-1)
