"""Report on bases: changes of probabilities in closed form, places of the faces on a sheet, the table."""

import json

import numpy as np
import pytest
import scipy.special

from sdgan_jax import config as c
from sdgan_jax import pictures
from sdgan_jax.latents import Directions
from sdgan_jax.training.gan import basis_report

CONFIG = c.Config(attributes=("none", "mask", "beard"))
ROWS = np.float32([[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, -1]])
DIRECTIONS = Directions(ROWS, np.float32([0, 3, 5]))


def draw(w):
    """Grey faces of one pixel, as bright as the second minus the fourth coordinate."""
    value = (100 + 10 * (w[:, 1] - w[:, 3])) / 127.5 - 1
    return np.broadcast_to(value[:, None, None, None], (len(w), 96, 96, 3))


@pytest.fixture
def probe():
    plain = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    plain[:, [1, 3]] = np.arange(50)[:, None] * [0.1, 0.0]
    return basis_report.Probe(draw, lambda w: 0.7 * w[:, [0, 1, 2, 3]], [0, 1, 3], plain)


def test_entanglement_is_the_mean_change_of_the_softmax(probe):
    change = basis_report.entanglement(probe, {"means": DIRECTIONS})["means"]
    before = scipy.special.softmax(0.7 * probe.plain, axis=1)
    for row, shift in zip(change, ([0, 4, 0, 0], [0, 0, 0, -4]), strict=True):
        after = scipy.special.softmax(0.7 * (probe.plain + np.float32(shift)), axis=1)
        np.testing.assert_allclose(row, (after - before).mean(0)[[0, 1, 3]], atol=1e-6)
    assert change[0, 1] > 0 > change[1, 2]


def test_a_row_of_the_sheet_moves_one_latent_along_one_direction(probe):
    sheet = basis_report.draw_traversal(probe, CONFIG, DIRECTIONS, 4.0)
    step = pictures.CELL_PIXELS + pictures.GAP_PIXELS
    rows, columns = 2 * basis_report.ROWS, len(basis_report.STRENGTHS)
    centres = sheet[-rows * step + 48 :: step, -columns * step + 48 :: step, 0]
    # Both directions brighten by 10 a unit; strength 1 is 4 units.
    expected = 100 + 10 * np.tile(probe.plain[:3, 1], 2)[:, None] + 40 * np.float32(basis_report.STRENGTHS)
    np.testing.assert_allclose(centres, expected, atol=1)


def test_table_and_json(probe):
    found = {"random": DIRECTIONS, "means": Directions(ROWS[[0, 1, 0]], np.float32([0, 2, 0]))}
    results = basis_report.measure(probe, CONFIG, found, np.float32([np.nan, 0.875, np.nan]), np.array([0, 0, 1, -1]))
    assert results["faces"] == {"none": 2, "mask": 1, "beard": 0}
    assert results["cosines"] == {"random means": {"mask": 1.0, "beard": 0.0}}
    assert results["estimators"]["random"]["basis_length"] == 4.0
    assert results["estimators"]["means"]["basis_length"] == 2.0  # beard, which has no direction, does not count
    judge = {"held_out_accuracy": 0.9, "held_out_images": 10}
    results = {"model": "m", "samples": 4, "estimator": "random", "basis_length": 4.0, "classifier": judge} | results
    json.dumps(results, allow_nan=False)
    text = basis_report.table(results)
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert {"random 3.00 5.00 4.00", "svm accuracy 0.88 -", "random means 1.00 0.00", "faces 1 0"} <= set(rows)
