"""PSNR and SSIM: closed forms, the definition window by window, and scikit-image's."""

import numpy as np
import pytest
from scipy import signal

from sdgan_jax.metrics import similarity
from tests.metrics import references


def random_pairs(height=16, width=19):
    rng = np.random.default_rng(0)
    a = rng.uniform(-1, 1, (2, height, width, 3)).astype(np.float32)
    return a, np.clip(a + rng.normal(0, 0.3, a.shape), -1, 1).astype(np.float32)


def test_psnr_of_a_constant_error():
    a = np.zeros((2, 4, 4, 3), np.float32)
    np.testing.assert_allclose(similarity.psnr(a, a + 0.2), 20.0, rtol=1e-5)  # 10 log10(4 / 0.04)
    assert np.isinf(similarity.psnr(a, a)).all()


def test_ssim_of_constant_images_compares_their_brightness():
    a = np.full((1, 12, 12, 3), 0.5, np.float32)
    c1 = 0.02**2
    expected = (2 * 0.5 * -0.25 + c1) / (0.5**2 + 0.25**2 + c1)
    np.testing.assert_allclose(similarity.ssim(a, -0.5 * a), expected, rtol=1e-4)
    pairs = random_pairs()
    np.testing.assert_allclose(similarity.ssim(pairs[0], pairs[0]), 1.0, rtol=1e-5)


def test_ssim_follows_the_definition():
    """With scipy's 2D convolution in float64."""
    a, b = random_pairs()
    grid = np.arange(-5, 6)
    window = np.exp(-(grid[:, None] ** 2 + grid**2) / (2 * 1.5**2))
    window /= window.sum()

    def means(image):
        return signal.convolve2d(image.astype(np.float64), window, "valid")

    for n in range(2):
        values = []
        for x, y in zip(np.moveaxis(a[n], -1, 0), np.moveaxis(b[n], -1, 0), strict=True):
            mx, my = means(x), means(y)
            vx, vy, cov = means(x**2) - mx**2, means(y**2) - my**2, means(x * y) - mx * my
            c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
            values.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
        np.testing.assert_allclose(similarity.ssim(a, b)[n], np.mean(values), rtol=1e-4)


def test_small_images_are_refused():
    with pytest.raises(ValueError, match="at least 11 pixels"):
        similarity.ssim(np.zeros((1, 10, 20, 3)), np.zeros((1, 10, 20, 3)))


@pytest.mark.slow
def test_scikit_image_gives_the_same():
    reference = references.load("skimage.metrics")
    a, b = random_pairs()
    options = {"data_range": 2.0, "channel_axis": -1, "gaussian_weights": True, "sigma": 1.5}
    for n in range(2):
        expected = reference.structural_similarity(a[n], b[n], use_sample_covariance=False, **options)
        np.testing.assert_allclose(similarity.ssim(a, b)[n], expected, rtol=1e-4)
        expected = reference.peak_signal_noise_ratio(a[n], b[n], data_range=2.0)
        np.testing.assert_allclose(similarity.psnr(a, b)[n], expected, rtol=1e-5)
