"""Similarity of pairs of images: PSNR, and SSIM of Wang et al. 2004, "Image Quality Assessment"."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

_SIDE, _SIGMA = 11, 1.5  # pixels, of the Gaussian window
_K1, _K2 = 0.01, 0.03
_RANGE = 2.0  # of images in [-1,1]


def psnr(a: jax.Array, b: jax.Array) -> jax.Array:
    """Computes the peak signal-to-noise ratio, 10 log10(range² / mean squared error).

    Args:
        a: f32[N,H,W,C] in [-1,1].
        b: likewise.

    Returns:
        f32[N] in dB; infinite for equal images.
    """
    return 10.0 * jnp.log10(_RANGE**2 / jnp.square(a - b).mean((1, 2, 3)))


def ssim(a: jax.Array, b: jax.Array) -> jax.Array:
    """Computes the mean structural similarity, channel by channel.

        (2 μa μb + c1) (2 σab + c2) / ((μa² + μb² + c1) (σa² + σb² + c2)), c = (K · range)²

    Means, variances and covariance are those in a Gaussian window of 11 x 11 pixels with a standard deviation of 1.5;
    only windows that lie inside the image count.

    Args:
        a: f32[N,H,W,C] in [-1,1], of at least 11 pixels along each side.
        b: likewise.

    Returns:
        f32[N], from -1 to 1; 1 for equal images.

    Raises:
        ValueError: the images have other shapes or are smaller.
    """
    if a.shape != b.shape or a.ndim != 4 or min(a.shape[1:3]) < _SIDE:
        raise ValueError(f"images must be [N,H,W,C] of one size, at least {_SIDE} pixels, got {a.shape} and {b.shape}")
    mean_a, mean_b = _window_means(a), _window_means(b)
    variance_a = _window_means(a * a) - mean_a**2
    variance_b = _window_means(b * b) - mean_b**2
    covariance = _window_means(a * b) - mean_a * mean_b
    c1, c2 = (_K1 * _RANGE) ** 2, (_K2 * _RANGE) ** 2
    alike = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return (alike / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))).mean((1, 2, 3))


def _window_means(images: jax.Array) -> jax.Array:
    """Averages f32[N,H,W,C] over the windows inside the image, f32[N,H-10,W-10,C]; the window is separable."""
    offsets = np.arange(_SIDE) - _SIDE // 2
    weights = np.exp(-0.5 * (offsets / _SIGMA) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    height, width = (side - _SIDE + 1 for side in images.shape[1:3])
    rows = sum(weight * images[:, i : i + height] for i, weight in enumerate(weights))
    return jnp.asarray(sum(weight * rows[:, :, i : i + width] for i, weight in enumerate(weights)))
