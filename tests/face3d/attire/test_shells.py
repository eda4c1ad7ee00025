"""Masks and hair over the skin of a known face."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.face3d import layout
from sdgan_jax.face3d.attire import shells, styles


@pytest.mark.parametrize("kind", ["surgical", "cup"])
def test_a_sheet_lies_over_the_skin(known_face, kind):
    _, _, wearer = known_face

    @jax.jit
    def heights(wearer, thickness):
        style = styles.default_style("mask", kind).replace(thickness=thickness)
        bearing = jnp.stack(layout.bearings(jnp.asarray(wearer.layout.coordinates)), -1)
        inside, _, _ = shells._mask_place(bearing, style)
        radius = jnp.sqrt((wearer.head**2).sum(-1))
        return shells._stretched(wearer, radius, inside, style) - radius, inside

    usual, inside = (np.asarray(part) for part in heights(wearer, 1.0))
    thick, _ = heights(wearer, 2.0)
    assert usual.min() > 0.0029 and usual.max() < 0.4
    assert (np.asarray(thick) >= usual - 1e-5).all()
    # In the middle twice the thickness is 0.5 of a puff more, see `attire.mask_bulge`.
    at = np.hypot(wearer.layout.coordinates[..., 0], wearer.layout.coordinates[..., 1] - 0.62).argmin()
    assert (np.asarray(thick) - usual).flat[at] == pytest.approx(0.03 if kind == "cup" else 0.025, abs=0.004)
    assert inside.flat[at] > 0.2


def test_a_goatee_is_the_middle_of_a_beard():
    s, t = jnp.meshgrid(jnp.linspace(-0.6, 0.6, 31), jnp.linspace(-0.2, 0.9, 31))
    full, goatee = (np.asarray(shells._beard(s, t, styles.default_style("beard", kind))) for kind in ("full", "goatee"))
    side = np.abs(np.asarray(s))
    assert (goatee <= full + 1e-6).all() and (goatee[side > 0.36] == 0).all() and full[side > 0.36].max() > 0.9
    np.testing.assert_allclose(goatee[side < 0.15], full[side < 0.15], atol=1e-6)
