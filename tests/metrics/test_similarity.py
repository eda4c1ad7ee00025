"""PSNR: the closed form, and scikit-image's."""

import numpy as np
import pytest

from sdgan_jax.metrics import similarity
from tests.metrics import references


def test_psnr_of_a_constant_error():
    a = np.zeros((2, 4, 4, 3), np.float32)
    np.testing.assert_allclose(similarity.psnr(a, a + 0.2), 20.0, rtol=1e-5)  # 10 log10(4 / 0.04)
    assert np.isinf(similarity.psnr(a, a)).all()


@pytest.mark.slow
def test_scikit_image_gives_the_same():
    reference = references.load("skimage.metrics")
    a = np.random.default_rng(0).uniform(-1, 1, (2, 16, 19, 3)).astype(np.float32)
    for n in range(2):
        expected = reference.peak_signal_noise_ratio(a[n], a[n, ::-1], data_range=2.0)
        np.testing.assert_allclose(similarity.psnr(a, a[:, ::-1])[n], expected, rtol=1e-5)
