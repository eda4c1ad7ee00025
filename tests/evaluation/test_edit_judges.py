"""Columns of the edit benchmark against numbers worked out by hand."""

import numpy as np
import pytest

import tfds_megn
from sdgan_jax import pictures
from sdgan_jax.data import rendered
from sdgan_jax.evaluation import edit_judges
from sdgan_jax.evaluation.edit_cases import Case
from sdgan_jax.metrics import frechet
from tests.evaluation import edit_networks

N = 3


@pytest.fixture(scope="module")
def judges():
    return edit_judges.Judges(edit_networks.Classifier(), edit_networks.Perceptual())


def faces(top, bottom=(40, 60, 80)):
    """Faces whose upper half has one colour and whose lower half has another."""
    made = np.empty((N, 8, 8, 3), np.uint8)
    made[:, :4], made[:, 4:] = top, bottom
    return made


SOURCES = faces((40, 60, 80))
TRUTHS = faces((255, 60, 80))
REFERENCES = np.random.default_rng(0).normal(size=(5, 3))


def compare(judges, edited, removes=False, truths=TRUTHS):
    case = Case("mask", removes, SOURCES, truths, TRUTHS)
    seen, source = judges.see(edited), judges.see(SOURCES)
    return judges.compare(case, seen, source, None if truths is None else judges.see(truths), REFERENCES)


def cosine(first, second):
    first, second = (pictures.to_float(x)[0].mean((0, 1)).astype(np.float64) for x in (first, second))
    return first @ second / np.linalg.norm(first) / np.linalg.norm(second)


def test_the_true_edit_is_perfect(judges):
    values = compare(judges, TRUTHS)
    assert values["accuracy"] == 1
    assert values["id_truth"] == pytest.approx(1) and values["id_source"] == pytest.approx(cosine(TRUTHS, SOURCES))
    assert values["iou"] == 1
    for column in ("l1", "l1_inside", "l1_outside", "perceptual"):
        assert values[column] == pytest.approx(0, abs=1e-6)


def test_the_source_has_changed_nothing(judges):
    values = compare(judges, SOURCES)
    step = (255 - 40) / 127.5 / 3  # one of three colours
    assert values["id_source"] == pytest.approx(1) and values["id_truth"] == pytest.approx(cosine(TRUTHS, SOURCES))
    assert values["l1"] == pytest.approx(step / 2) and values["l1_inside"] == pytest.approx(step)
    assert values["l1_outside"] == pytest.approx(0) and values["iou"] == 0


def test_the_weakest_change_of_the_true_edit_is_inside(judges):
    values = compare(judges, SOURCES, truths=faces((41, 60, 80)))
    assert values["l1_inside"] == pytest.approx(1 / 127.5 / 3, rel=1e-4) and values["l1_outside"] == 0


def test_an_edit_that_is_half_right(judges):
    """The upper quarter as it should be, a quarter of the lower half changed by 51 levels of each colour."""
    edited = SOURCES.copy()
    edited[:, :2] = TRUTHS[:, :2]
    edited[:, 6:, :4] += 51
    values = compare(judges, edited)
    step = (255 - 40) / 127.5 / 3
    assert values["l1_inside"] == pytest.approx(step / 2)
    assert values["l1_outside"] == pytest.approx(0.4 / 4)
    assert values["l1"] == pytest.approx((step / 2 + 0.1) / 2)
    assert values["iou"] == pytest.approx(16 / (32 + 8))
    cosines = [edit_judges.losses.perceptual([pictures.to_float(edited)], [pictures.to_float(TRUTHS)])[0]]
    x, y = (pictures.to_float(each)[0] for each in (edited, TRUTHS))
    x, y = (each / np.linalg.norm(each, axis=-1, keepdims=True) for each in (x, y))
    assert values["perceptual"] == pytest.approx(np.square(x - y).sum(-1).mean(), rel=1e-4)
    assert values["perceptual"] == pytest.approx(float(cosines[0]), rel=1e-4)


def test_accuracy_asks_for_the_attribute_and_after_a_removal_for_none(judges):
    red, dark = faces((255, 0, 0), (255, 0, 0)), faces((0, 0, 0), (0, 0, 0))
    red[0] = 0
    assert compare(judges, red)["accuracy"] == pytest.approx(2 / 3)
    assert compare(judges, red, removes=True)["accuracy"] == pytest.approx(1 / 3)
    assert compare(judges, dark, removes=True)["accuracy"] == 1


def test_frechet_is_that_of_the_features_to_the_references(judges):
    edited = edit_networks.images(N, seed=3)
    expected = frechet.frechet_distance(pictures.to_float(edited).mean((1, 2)), REFERENCES)
    assert compare(judges, edited)["frechet"] == pytest.approx(expected, rel=1e-4)


def test_without_truth_only_some_columns_are_measured(judges):
    values = compare(judges, SOURCES, truths=None)
    assert set(values) == {"accuracy", "id_source", "frechet"}


def test_monotone_counts_the_faces_whose_probability_rises(judges):
    case = Case("mask", False, SOURCES, None, SOURCES)

    def draw(strength, count):
        assert count is None
        made = faces((0, 0, 0), (0, 0, 0))
        made[0, ..., 0] = int(160 * strength)  # rises
        made[1, ..., 0] = int(255 * min(strength, 1.5 - strength))  # rises and falls; the third stays
        return made

    assert judges.monotone(case, draw) == pytest.approx(1 / 3)


def test_verification_of_a_network_that_knows_everyone():
    """The mean colour of these faces depends on the person alone, so that pairs are told apart without an error."""
    people = np.repeat(np.arange(40), 3).astype(np.int32)
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (40, 3), dtype=np.uint8)
    drawn = np.broadcast_to(colours[people][:, None, None], (120, 8, 8, 3))
    labels = np.tile([0, 1, 4], 40).astype(np.int32)
    some = rendered.Faces(drawn, labels, people, np.zeros((120, 2), np.float32))
    judges = edit_judges.Judges(edit_networks.Classifier(), edit_networks.Perceptual())
    found = judges.measure_verification(some)
    assert found["accuracy"] > 0.97 and found["same"] == pytest.approx(1) and found["different"] < 0.7
    assert found["pairs"] == 2 * 120  # 40 persons, three photographs each
    assert judges.measure_verification(some.first(6)) is None
    assert tfds_megn.ATTRIBUTES[4] == "beard"
