import numpy as np
import pytest

from sdgan_jax.face3d import layout, resemblance

LAYOUT = layout.megn(64)


def test_a_turned_and_scaled_mean_head_has_its_shape():
    a, b = 0.4, -0.3
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    roll = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    assert resemblance.shape_error(50 * LAYOUT.head @ turn @ roll + [100, 80, 3], LAYOUT) < 1e-5


def test_the_error_of_noise_is_its_deviation():
    """Of noise with a tenth of the standard deviation of the landmarks, a similarity takes 7 of 204 freedoms."""
    deviation = LAYOUT.head[LAYOUT.landmark_texels].std(0)
    spread = np.sqrt(np.square(deviation).sum())
    noise = np.random.default_rng(0).normal(size=LAYOUT.head.shape) * 0.1 * spread / np.sqrt(3)
    assert resemblance.shape_error(LAYOUT.head + noise, LAYOUT) == pytest.approx(0.1, rel=0.15)


def test_the_mean_face_resembles_itself_and_not_its_upside_down():
    face = resemblance.mean_face()
    at = (LAYOUT.head + [1, 1, 0]) * 128 - 0.5
    assert resemblance.unlikeness(face, at, LAYOUT) == pytest.approx(0.0, abs=0.05)
    assert resemblance.unlikeness(face[::-1], at, LAYOUT) > 0.5
    assert resemblance.unlikeness(np.full_like(face, 90), at, LAYOUT) == pytest.approx(1.0, abs=1e-6)


def test_light_and_contrast_hardly_matter():
    face = resemblance.mean_face()
    at = (LAYOUT.head + [1, 1, 0]) * 128 - 0.5
    darker = (0.5 * face + np.linspace(0, 60, 256)[None, :, None]).astype(np.uint8)
    assert resemblance.unlikeness(darker, at, LAYOUT) < 0.1
