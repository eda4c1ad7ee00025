"""Fréchet distance between the Gaussians fitted to two sets of features.

This is the formula of FID (Heusel et al. 2017). Only the distance of Inception features is called FID; values on other
features are not comparable with it.
"""

from __future__ import annotations

import numpy as np

from sdgan_jax.metrics import feature_sets
from sdgan_jax.metrics.moments import Moments


def frechet_distance(x: np.ndarray, y: np.ndarray, ddof: int = 1) -> float:
    """Computes the Fréchet distance of Gaussians with the means and covariances of two sets.

    Args:
        x: float[N,D], N >= 2.
        y: float[M,D], M >= 2.
        ddof: the covariances are divided by N - ddof: 1, or 0 as in StyleGAN3, see `conventions`.

    Returns:
        The distance, >= 0. Its bias decreases as N and M grow, so compare only values of equally many samples.

    Raises:
        ValueError: see `feature_sets.checked`.
    """
    x, y = feature_sets.checked(x, y)
    if len(x) * len(y) <= x.shape[1] ** 2:
        return _few_frechet_distance(x, y, ddof)
    return moments_frechet_distance(Moments.of(x), Moments.of(y), ddof)


def moments_frechet_distance(x: Moments, y: Moments, ddof: int = 1) -> float:
    """Computes the Fréchet distance from running sums; see `frechet_distance`.

    Raises:
        ValueError: the features have other lengths, or a set has fewer than two samples.
    """
    if x.mean.shape != y.mean.shape or min(x.count, y.count) < 2:
        raise ValueError(
            f"two sets of at least 2 samples and one D are needed, got {x.count} of {len(x.mean)} and {y.count} of "
            f"{len(y.mean)}"
        )
    return gaussian_frechet_distance(x.mean, x.covariance(ddof), y.mean, y.covariance(ddof))


def gaussian_frechet_distance(
    mean_x: np.ndarray, covariance_x: np.ndarray, mean_y: np.ndarray, covariance_y: np.ndarray
) -> float:
    """Computes |m_x - m_y|² + tr(S_x + S_y - 2 (S_x S_y)^½) (Dowson & Landau 1982).

    tr (S_x S_y)^½ equals the sum of the singular values of S_x^½ S_y^½. `eigh` computes both roots in real arithmetic
    and at any rank, and no root of a product's eigenvalue near 0 is needed.

    Args:
        mean_x: float64[D].
        covariance_x: float64[D,D], symmetric, positive semidefinite.
        mean_y: float64[D].
        covariance_y: float64[D,D], symmetric, positive semidefinite.

    Returns:
        The distance, >= 0.
    """
    covariance_x, covariance_y = np.atleast_2d(covariance_x), np.atleast_2d(covariance_y)
    cross = np.linalg.svd(_square_root(covariance_x) @ _square_root(covariance_y), compute_uv=False).sum()
    distance = np.square(mean_x - mean_y).sum() + np.trace(covariance_x) + np.trace(covariance_y) - 2.0 * cross
    return float(max(distance, 0.0))  # rounding gives about -1e-11 for equal sets


def _few_frechet_distance(x: np.ndarray, y: np.ndarray, ddof: int) -> float:
    """Computes the same as `moments_frechet_distance` of a few samples, without matrices of the features' length.

    By the polar decomposition X = U S_x^½ of centred and scaled samples, S_x^½ S_y^½ has the singular values of X Yᵀ.

    Args:
        x: float64[N,D].
        y: float64[M,D].
        ddof: see `frechet_distance`.
    """
    mean = x.mean(axis=0) - y.mean(axis=0)
    x, y = ((each - each.mean(axis=0)) / np.sqrt(len(each) - ddof) for each in (x, y))
    cross = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return float(max(np.square(mean).sum() + np.square(x).sum() + np.square(y).sum() - 2.0 * cross, 0.0))


def _square_root(covariance: np.ndarray) -> np.ndarray:
    """Returns the symmetric square root of a symmetric positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
