"""The fit of spectacles against the face that they sit on."""

import jax
import numpy as np
import pytest

from sdgan_jax.face3d import geometry
from sdgan_jax.face3d.attire import spectacles, styles
from tfds_megn import attire


@pytest.mark.parametrize("attribute", ["eyeglasses", "sunglasses"])
def test_they_touch_the_face_and_do_not_cut_it(known_face, attribute):
    _, _, wearer = known_face
    style = styles.default_style(attribute)

    @jax.jit
    def gaps(wearer):
        shape, middle = spectacles._fitted(wearer, style, attribute)
        x, y, z = (wearer.head[..., k] for k in range(3))
        x, y = x - middle[0], y - middle[1]
        lens, rim = attire.spectacles_distances(shape, x, y)
        marks = geometry.sample(wearer.head, wearer.layout.landmarks)
        return spectacles._sheet_z(shape, x) - z, (lens < 0.004) | (rim < 0.004), middle, marks, shape.aside

    gap, under, middle, marks, aside = (np.asarray(part) for part in gaps(wearer))
    front = under & (np.asarray(wearer.head)[..., 2] > 0)
    assert gap[front].min() == pytest.approx(0.012, abs=1e-4)
    eyes = marks[36:48].reshape(2, 6, 3).mean(1)
    np.testing.assert_allclose(middle, eyes[:, :2].mean(0) + [0, 0.012], atol=1e-5)
    assert aside >= 0.5 * (eyes[1, 0] - eyes[0, 0]) - 1e-5


def test_size_is_a_factor_and_thickness_one_of_the_rims(known_face):
    _, _, wearer = known_face

    @jax.jit
    def fit(wearer, size, thickness):
        style = styles.default_style("eyeglasses").replace(size=size, thickness=thickness)
        shape, _ = spectacles._fitted(wearer, style, "eyeglasses")
        return shape.wide, shape.high, shape.thick

    usual, changed = fit(wearer, 1.0, 1.0), fit(wearer, 1.1, 2.0)
    np.testing.assert_allclose(np.divide(changed[:2], usual[:2]), 1.1, rtol=1e-5)
    assert float(usual[2]) == pytest.approx(0.015 + 0.004) and float(changed[2]) == pytest.approx(0.03 + 0.004)
