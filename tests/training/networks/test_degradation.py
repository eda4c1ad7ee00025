"""Each kind of degradation against its closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
from scipy import fft

from sdgan_jax.training.networks import degradation

RNG = np.random.default_rng(0)
IMAGE = RNG.uniform(-0.9, 0.9, (16, 16, 3)).astype(np.float32)


def test_a_blur_spreads_a_dot_by_the_binomial_kernel_and_keeps_the_borders():
    image = np.zeros((5, 5, 3), np.float32)
    image[2, 2] = 16.0
    np.testing.assert_allclose(degradation.blur(image)[1:4, 1:4, 0], np.outer([1, 2, 1], [1, 2, 1]))
    np.testing.assert_allclose(degradation.blur(np.full((5, 5, 3), 0.7, np.float32)), 0.7, rtol=1e-6)


def test_a_faded_image_is_the_luma_that_pillow_computes_with_one_tint():
    levels = RNG.integers(0, 256, (16, 16, 3)).astype(np.uint8)
    luma = np.asarray(PIL.Image.fromarray(levels).convert("L")) / 127.5 - 1
    plain = np.asarray(degradation.fade(levels / 127.5 - 1, jnp.full(3, 0.5)))
    np.testing.assert_allclose(plain, np.repeat(luma[..., None], 3, -1), atol=1 / 127)
    tinted = np.asarray(degradation.fade(levels / 127.5 - 1, jnp.array([1.0, 0.5, 0.0])))
    np.testing.assert_allclose(tinted - plain, np.broadcast_to([0.15, 0.0, -0.15], plain.shape), atol=1e-6)


@pytest.mark.parametrize(("draw", "way"), [(0.0, (0, 1)), (0.3, (1, 0)), (0.6, (1, 1)), (1.0, (1, -1))])
def test_motion_spreads_a_dot_over_five_pixels_of_a_line(draw, way):
    image = np.zeros((9, 9, 3), np.float32)
    image[4, 4] = 5.0
    expected = np.zeros((9, 9))
    for k in range(-2, 3):
        expected[4 + k * way[0], 4 + k * way[1]] = 1.0
    np.testing.assert_allclose(degradation.smear(image, jnp.float32(draw))[..., 0], expected, atol=1e-6)


def test_gamma_is_a_power_of_the_brightness():
    np.testing.assert_allclose(degradation.bend(IMAGE, 0.0), IMAGE, atol=1e-5)
    squared = degradation.bend(IMAGE, np.float32(np.log(2.0)))
    np.testing.assert_allclose((squared + 1) / 2, ((IMAGE + 1) / 2) ** 2, atol=1e-5)


def test_quantised_blocks_have_whole_coefficients_of_scipys_transform():
    step = 0.1
    block = np.asarray(degradation.quantise(IMAGE, step))[8:, :8, 1]
    parts = fft.dctn(block, norm="ortho")
    order = np.arange(8)
    steps = step * (1 + 7 * (order[:, None] + order) / 14)
    np.testing.assert_allclose(parts / steps, np.round(parts / steps), atol=1e-3)
    np.testing.assert_allclose(degradation.quantise(IMAGE, 0.0), IMAGE, atol=1e-4)


def test_none_asked_is_none_given_and_all_together_stay_in_range():
    degrade = jax.jit(degradation.degrade)
    np.testing.assert_array_equal(degrade(jax.random.key(0), IMAGE, 0.0), IMAGE)
    some = [np.asarray(degrade(jax.random.key(seed), IMAGE, 1.0)) for seed in range(4)]
    assert all(np.abs(each).max() <= 1.0 for each in some) and np.abs(some[0] - some[1]).max() > 0.05


def test_tones_go_up_and_down_and_noise_is_weak_or_strong():
    """Of a mid-grey image, on which blur and blocks show nothing: 0.5 to the power exp(±0.8) is 0.73 or 0.21."""
    keys = jax.random.split(jax.random.key(1), 60)
    images = np.asarray(jax.jit(jax.vmap(degradation.degrade, (0, None, None)))(keys, jnp.zeros((16, 16, 3)), 1.0))
    means, noise = images.mean((1, 2, 3)), images.std((1, 2)).mean(1)
    assert 0.3 < means.max() < 2 * 0.73 - 1 + 0.15 and -0.3 > means.min() > 2 * 0.21 - 1 - 0.15
    assert noise.min() < 0.03 and 0.12 < noise.max() < 0.22  # standard deviations up to 0.2
