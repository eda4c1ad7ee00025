"""Busy backgrounds: behind the face only, of the kinds that they are drawn for."""

import types

import numpy as np
import pytest

import tfds_megn
from tfds_megn import backdrop, params, varied


def face(kind, seed=7.0):
    flat = varied.sample_params(2)
    for name, value in {"back_kind": kind, "back_seed": seed, "hand": 0.0, "hat": 0.0}.items():
        flat[params.VARIED_NAMES.index(name)] = value
    return flat


@pytest.mark.parametrize("kind", [backdrop.PLAIN, backdrop.PLAIN + 1])
def test_busy_backgrounds_have_edges_and_stay_behind_the_face(kind):
    plain, busy, other = (tfds_megn.render(face(*of), "none", 64) for of in ((0.0,), (kind,), (kind, 8.0)))
    corner = np.s_[:10, :10]  # above the shoulders, beside the head
    steps = [np.abs(np.diff(picture[corner].astype(int), axis=0)).mean() for picture in (plain, busy)]
    assert steps[1] > 2 * steps[0]
    assert (busy[corner] != other[corner]).mean() > 0.5
    nose = tfds_megn.landmarks(face(0.0), 64)[30, :2].round().astype(int)
    inside = np.s_[nose[1] - 4 : nose[1] + 5, nose[0] - 4 : nose[0] + 5]
    np.testing.assert_array_equal(busy[inside], plain[inside])


def test_clutter_is_of_boxes_and_discs(monkeypatch):
    """A thing alone fills all of its box, or π/4 of it."""
    monkeypatch.setattr(backdrop, "_THINGS", 1)
    shares = []
    for seed in range(40):
        picture = backdrop._clutter(types.SimpleNamespace(side=400), np.random.default_rng(seed))
        colours, counts = np.unique(picture.reshape(3, -1), axis=1, return_counts=True)
        rows, columns = np.nonzero((picture == colours[:, [counts.argmin()], None]).all(0))
        box = np.ptp(rows) + 1, np.ptp(columns) + 1
        if len(counts) == 2 and min(box) > 40:
            shares.append(len(rows) / np.prod(box))
    shares = np.array(shares)
    discs = np.abs(shares - np.pi / 4) < 0.08  # those at the edge of the picture are cut
    assert ((shares == 1) | discs).all() and 3 < discs.sum() < len(shares) - 3
