"""Busy backgrounds: behind the face only, of the kinds that they are drawn for."""

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
