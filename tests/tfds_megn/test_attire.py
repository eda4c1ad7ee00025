"""Outlines and densities against closed forms; numpy and jax.numpy give the same numbers."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from sdgan_jax.face3d.attire import styles
from tfds_megn import attire, uv
from tfds_megn.surface import MEAN_AXES

FACE = SimpleNamespace(**uv.MEAN_FACE, beard_cheek=0.35, mustache_length=1.0, mustache_thick=1.0)
S, T = (a.astype(np.float32) for a in np.meshgrid(np.linspace(-0.6, 0.6, 25), np.linspace(-0.3, 0.9, 41)))
Q = (MEAN_AXES[2] * np.sqrt(np.maximum(1 - (S / MEAN_AXES[0]) ** 2 - T**2, 1e-4))).astype(np.float32)


def spectacles(attribute="eyeglasses", kind="round", **changes):
    wide, high, _ = attire.LENSES[attribute][kind]
    numbers = dict(aside=0.27, wide=wide, high=high, thick=0.02, axis=-0.2) | changes
    return attire.Spectacles(attribute, kind, **numbers)


def everything(s, t, q):
    """All functions of arrays, by name and kind."""
    out = {"beard": attire.beard_density(FACE, s, t, q), "beard height": attire.beard_height(0.08, s, t)}
    for kind in attire.MUSTACHES:
        out[kind] = attire.mustache_density(FACE, kind, s, t, q)
    for kind in attire.MASK_KINDS:
        place = attire.mask_place(kind, attire.MASK_TOP, 0.01, s, t)
        out |= {f"{kind} place {k}": part for k, part in enumerate(place)}
        out |= {f"{kind} cloth {k}": part for k, part in enumerate(attire.mask_cloth(kind, *place))}
        out |= {f"{kind} bulge": attire.mask_bulge(kind, 0.5, s, t), f"{kind} shadow": attire.mask_shadow(place[0])}
    for attribute, kinds in attire.LENSES.items():
        for kind in kinds:
            shape = spectacles(attribute, kind)
            lens, rim = attire.spectacles_distances(shape, s, t)
            out |= {f"{attribute} {kind} lens": lens, f"{attribute} {kind} rim": rim}
            out[f"{attribute} {kind} shadow"] = attire.spectacles_shadow(shape, s, t, abs(s), 0.01)
    streak = attire.glint(s, t, 0.1)
    out |= {"glint": streak, "clear": attire.clear_opacity(t, streak, 0.4)}
    out["dark"] = attire.dark_colour(t, streak, 0.02, 0.5, 0.1, 0.4)
    for beard in (True, False):
        fine = attire.hair_strands(beard, 0.2, 3, s, t)
        out |= {f"hair {beard} {k}": v for k, v in enumerate((fine, *attire.hair_look(out["beard"], fine, 0.9)))}
    return out


def test_numpy_and_jax_give_the_same_numbers():
    ours, theirs = everything(S, T, Q), jax.jit(everything)(S, T, Q)
    assert len(ours) > 50 and set(ours) == set(theirs)
    for name, values in ours.items():
        assert values.dtype == np.float32, name
        # Noise is read at the nearest cell: rounding may choose a neighbour at a few points.
        assert (np.abs(values - np.asarray(theirs[name])) > 1e-4).mean() < 0.02, name


def test_attire_is_the_same_on_both_sides():
    """But hair, whose noise has no mirror."""
    for name, values in everything(S, T, Q).items():
        if not name.startswith(("hair", "glint", "clear", "dark")) and "cloth" not in name and "place 1" not in name:
            np.testing.assert_allclose(values, values[:, ::-1], atol=2e-5, err_msg=name)


def test_a_round_lens_is_a_circle():
    shape = spectacles(wide=0.2, high=0.2)
    lens, rim = attire.spectacles_distances(shape, S, T)
    distance = np.hypot(np.abs(S) - 0.27, T) - 0.2
    np.testing.assert_allclose(lens, distance, atol=1e-5)
    rim_alone = (np.abs(S) > 0.2) & (T > 0) & (np.abs(distance) < 0.05)  # away from bridge and hinges
    np.testing.assert_allclose(rim[rim_alone], np.abs(distance[rim_alone]) - 0.02, atol=1e-5)


@pytest.mark.parametrize(("attribute", "kind"), [(a, k) for a, kinds in attire.LENSES.items() for k in kinds])
def test_a_lens_has_the_area_of_its_superellipse(attribute, kind):
    """Its area is 4 w h Gamma(1 + 1/n)^2 / Gamma(1 + 2/n); skewed shapes keep it roughly."""
    from math import gamma

    x, y = np.meshgrid(np.linspace(0, 0.7, 351, dtype=np.float32), np.linspace(-0.4, 0.4, 401, dtype=np.float32))
    shape = spectacles(attribute, kind, aside=0.35)
    area = (attire.spectacles_distances(shape, x, y)[0] < 0).sum() * 0.002**2
    n = attire.LENSES[attribute][kind][2]
    expected = 4 * shape.wide * shape.high * gamma(1 + 1 / n) ** 2 / gamma(1 + 2 / n)
    assert area == pytest.approx(expected, rel=0.02 if kind in ("round", "oval", "rectangle") else 0.15)


def test_the_middle_of_a_lens_has_a_slope():
    """The root in the distance has none of its own there."""
    slope = jax.jit(jax.grad(lambda x: attire.spectacles_distances(spectacles(), x, x * 0)[0].sum()))
    assert np.isfinite(slope(np.float32([0.27, 0.3]))).all()


@pytest.mark.parametrize("kind", attire.MASK_KINDS)
def test_a_mask_reaches_from_the_nose_to_the_chin_and_its_straps_begin_on_it(kind):
    e = np.linspace(0, 1, 1001, dtype=np.float32)
    inside, _, down = attire.mask_place(kind, 0.2, 0.0, np.zeros_like(e), e)
    on = e[inside > 0]
    top, bottom = (0.17, 0.90) if kind == "cup" else (0.17, 0.94)
    assert on.min() == pytest.approx(top, abs=2e-3) and on.max() == pytest.approx(bottom, abs=2e-3)
    assert np.interp([top, bottom], e, down) == pytest.approx([0, 1], abs=5e-3)
    grown, _, _ = attire.mask_place(kind, 0.2, 0.05, np.zeros_like(e), e)
    assert (grown > inside - 1e-6).all() and (grown > 0).sum() > (inside > 0).sum() + 50
    strap = attire.STRAPS[kind]
    begin = attire.mask_place(kind, 0.2, 0.0, np.full(2, strap.side, np.float32), np.array(strap.rows, np.float32))[0]
    assert (-0.03 < begin).all() and (begin < 0.08).all()  # near the edge


def test_facial_hair_leaves_lips_and_nose_free():
    def at(s, t):
        points = np.float32([s]), np.float32([t]), np.float32([0.6])
        mustache = max(float(attire.mustache_density(FACE, kind, *points)[0]) for kind in attire.MUSTACHES)
        return float(attire.beard_density(FACE, *points)[0]), mustache

    assert at(0.0, 0.90) == (1.0, 0.0)  # chin
    assert at(0.0, 0.605) == (0.0, 0.0)  # lips
    assert at(0.0, 0.33) == (0.0, 0.0)  # nose
    assert at(0.0, 0.51)[1] > 0.9  # over the lip
    assert at(0.3, 0.1)[0] == 0.0  # cheek


def test_more_cheek_is_more_beard():
    low, high = (
        attire.beard_density(SimpleNamespace(**vars(FACE) | {"beard_cheek": cheek}), S, T, Q).sum() for cheek in (0, 1)
    )
    assert high > 1.05 * low


def test_dense_hair_covers_its_area_and_thin_hair_less():
    fine = attire.hair_strands(True, 0.0, 0, S, T)
    assert 0.1 < fine.std() < 0.6 and abs(fine.mean()) < 0.15
    area = np.ones_like(fine)
    dense, thin = (attire.hair_look(area, fine, density)[1] for density in (1.0, 0.5))
    assert (dense == 1).all() and thin.mean() < 0.9
    assert (attire.hair_look(0 * area, fine, 1.0)[1] < 0.05).all()


def test_palettes_have_a_share_for_each_colour():
    pairs = [(attire.MASKS, attire.MASK_SHARES), (attire.TINTS, attire.TINT_SHARES)]
    pairs += [(attire.RIMS, shares) for shares in attire.RIM_SHARES.values()]
    for colours, shares in pairs:
        assert len(colours) == len(shares) and sum(shares) == pytest.approx(1.0)
    for colour in (*attire.MASKS, *attire.CUPS, *attire.RIMS, *attire.TINTS, *attire.HAIRS.values(), attire.GREY_HAIR):
        assert len(colour) == 3 and 0 <= min(colour) and max(colour) <= 1


def test_styles_have_the_kinds_of_the_renderer():
    assert set(styles.KINDS["mask"]) == set(attire.MASK_KINDS) == set(attire.STRAPS)
    assert set(styles.KINDS["mustache"]) == set(attire.MUSTACHES)
    for attribute, kinds in attire.LENSES.items():
        assert set(styles.KINDS[attribute]) == set(kinds)
