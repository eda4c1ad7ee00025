"""Kernel distance between two sets of features (Binkowski et al. 2018, "Demystifying MMD GANs").

This is the formula of KID on any features. Published KID values use Inception features; values on other features are
not comparable with them.
"""

from __future__ import annotations

import numpy as np

from sdgan_jax.metrics import feature_sets

SUBSETS, SUBSET_SIZE = 100, 1000  # of published values


def polynomial_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """Computes the unbiased squared maximum mean discrepancy with the kernel k(a, b) = (a·b / D + 1)^3.

        mean over i != j of k(x_i, x_j) + mean over i != j of k(y_i, y_j) - 2 mean of k(x_i, y_j)

    Args:
        x: float[N,D], N >= 2.
        y: float[M,D], M >= 2.

    Returns:
        The estimate. Its expectation is 0 for equal distributions, so that single values may be negative.

    Raises:
        ValueError: see `feature_sets.checked`.
    """
    x, y = feature_sets.checked(x, y)
    dim = x.shape[1]
    k_xx = (x @ x.T / dim + 1.0) ** 3
    k_yy = (y @ y.T / dim + 1.0) ** 3
    k_xy = (x @ y.T / dim + 1.0) ** 3
    n, m = len(x), len(y)
    within_x = (k_xx.sum() - np.trace(k_xx)) / (n * (n - 1))
    within_y = (k_yy.sum() - np.trace(k_yy)) / (m * (m - 1))
    return float(within_x + within_y - 2.0 * k_xy.mean())


def kernel_distance(
    x: np.ndarray, y: np.ndarray, subsets: int = SUBSETS, subset_size: int = SUBSET_SIZE, seed: int = 0
) -> tuple[float, float]:
    """Computes KID's estimator, the mean of `polynomial_mmd` over random subsets drawn without replacement.

    Args:
        x: float[N,D], N >= 2.
        y: float[M,D], M >= 2.
        subsets: number of subsets, >= 1.
        subset_size: number of samples from each set in a subset, at most min(N, M). If subsets contain both sets
            whole, all subsets are equal and only one is computed.
        seed: random seed of the subsets.

    Returns:
        Mean and standard deviation over the subsets.

    Raises:
        ValueError: the errors of `polynomial_mmd`, or `subsets` or `subset_size` is too small.
    """
    x, y = feature_sets.checked(x, y, None)  # float64 only of a subset: sets may be large
    if subsets < 1 or subset_size < 2:
        raise ValueError(f"subsets is {subsets} and subset_size {subset_size}; at least 1 and 2 are needed")
    size = min(subset_size, len(x), len(y))
    if size == len(x) == len(y):
        subsets = 1
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(subsets):
        chosen_x = rng.choice(len(x), size, replace=False)
        chosen_y = rng.choice(len(y), size, replace=False)
        values.append(polynomial_mmd(x[chosen_x], y[chosen_y]))
    return float(np.mean(values)), float(np.std(values))
