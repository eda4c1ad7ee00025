"""Light against closed forms, and against the light that rendered faces were rendered with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tfds_megn
from sdgan_jax import pictures
from sdgan_jax.face3d import geometry, layout, light, texture
from tests.face3d.surfaces import sphere

_, NORMALS = sphere(40, 1.4, 1.0, (0, 0, 0))
ESTIMATE = jax.jit(light.estimate)


def lit(coefficients):
    basis = np.concatenate([np.ones_like(NORMALS[..., :1]), NORMALS], -1)
    return (basis @ coefficients).astype(np.float32)


def test_known_light_is_found_though_a_tenth_of_the_skin_is_hair():
    truth = np.array([[0.4, 0.3, 0.2], [0.15, 0.1, 0.05], [-0.1, -0.08, -0.06], [0.1, 0.1, 0.1]])
    skin = lit(truth)
    other = np.random.default_rng(0).uniform(size=skin.shape[:2]) < 0.1
    skin[other] = 0.02
    found = ESTIMATE(skin, NORMALS, np.ones(skin.shape[:2], np.float32), 0.8)
    np.testing.assert_allclose(found.coefficients, truth, atol=0.05)
    slope = truth[1:] @ [0.2126, 0.7152, 0.0722]
    np.testing.assert_allclose(found.direction, slope / np.linalg.norm(slope), atol=0.12)


def test_white_looks_white_where_the_light_is_brightest():
    truth = np.array([[0.4, 0.3, 0.2], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.2, 0.15, 0.1]])
    found = light.Light(truth.astype(np.float32), np.float32([0, 0, 1]), np.float32(1.0))
    front, side = np.float32([0, 0, 1]), np.float32([1, 0, 0])
    albedo = np.float32([0.9, 0.5, 0.2])
    np.testing.assert_allclose(light.shade(albedo, front, found), albedo, rtol=1e-5)
    np.testing.assert_allclose(light.shade(albedo, side, found), albedo * 0.4 / 0.6, rtol=1e-5)


def exposure(skin, brightest):
    """Of evenly lit skin of a linear luminance, and of what is brightest around it."""
    grey = np.full((*NORMALS.shape[:2], 3), skin, np.float32)
    return float(ESTIMATE(grey, NORMALS, np.ones(grey.shape[:2], np.float32), brightest).exposure)


@pytest.mark.parametrize("skin", [0.06, 0.3, 0.7])
def test_in_dim_light_white_is_as_much_darker_as_the_picture(skin):
    good, quarter = exposure(skin, 0.7), exposure(skin / 4, 0.7 / 4)
    assert quarter == pytest.approx(good / 4, rel=0.01)  # 0.7 is the luminance of what is brightest, as a rule
    for share in (1 / 10, 1 / 20, 1 / 50):
        assert exposure(skin * share, 0.7 * share) == pytest.approx(good * share, rel=0.01)
        assert exposure(skin * share, 0.9 * share) == pytest.approx(good * share, rel=0.35)


def test_in_good_light_white_is_about_as_bright_on_all_skin():
    for brightest in (0.4, 0.7, 1.0):
        found = [exposure(skin, brightest) for skin in (0.05, 0.1, 0.3, 0.7)]
        assert found[0] > 0.75 and found[-1] == pytest.approx(1.05) and found == sorted(found)
        assert found[2] == pytest.approx(1.0, abs=0.01)


def test_skin_darker_than_any_is_in_the_shade():
    assert exposure(0.01, 0.9) == pytest.approx(2 * exposure(0.005, 0.9), rel=0.01)
    assert exposure(0.01, 0.9) < 0.2
    assert exposure(0.05, 0.9) == pytest.approx(exposure(0.0499, 0.9), rel=0.01)


def test_a_bright_face_in_a_dark_picture_is_in_good_light():
    assert exposure(0.5, 0.01) == exposure(0.5, 0.5) == pytest.approx(1.05)


def test_linear_and_back():
    colours = np.linspace(0.001, 1, 9, dtype=np.float32)
    np.testing.assert_allclose(light.from_linear(light.to_linear(colours)), colours, rtol=1e-5)


def test_gradients_where_no_skin_is_seen_are_finite():
    weights = light.skin_weights(layout.megn(16))
    normals = geometry.normals(layout.megn(16).head)
    gradient = jax.grad(lambda skin: light.estimate(skin, normals, weights, 0.0).exposure)(jnp.zeros((16, 16, 3)))
    assert np.isfinite(gradient).all()


def test_light_comes_from_the_side_from_which_a_face_was_lit():
    square, size = layout.megn(64), 64
    weights = light.skin_weights(square)

    @jax.jit
    def direction(image, position_map):
        skin = light.to_linear(texture.unwrap(0.5 + 0.5 * image, position_map))
        return light.estimate(skin, geometry.normals(position_map), weights, 0.8).direction

    azimuth, found = [], []
    for k in range(40):
        params = tfds_megn.sample_params(k, 3)
        truth = dict(zip(tfds_megn.PARAM_NAMES, params))
        if abs(truth["light_azimuth"]) < np.deg2rad(20):
            continue
        image = pictures.to_float(tfds_megn.render(params, "none", size))
        found.append(float(direction(image, tfds_megn.position_map(params, size))[0]))
        azimuth.append(truth["light_azimuth"])
    assert (np.sign(found) == np.sign(azimuth)).mean() > 0.9
    assert np.corrcoef(found, np.sin(azimuth))[0, 1] == pytest.approx(1.0, abs=0.2)
