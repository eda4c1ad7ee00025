"""Mean and covariance of features that are never all in memory: running sums, joined from batches and processes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Moments:
    """Number, mean and centred outer products of vectors.

    The products are centred at the mean of their own vectors, and `merge` corrects them by the difference of two means
    (Chan, Golub & LeVeque 1983, "Algorithms for Computing the Sample Variance"). Sums of x xᵀ alone would lose the
    covariance where the mean is much larger than the spread.

    Attributes:
        count: number of vectors.
        mean: f64[D].
        scatter: f64[D,D], the sum of (x - mean)(x - mean)ᵀ.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> Moments:
        """Returns the moments of float[N,D], N >= 1, computed in float64.

        Raises:
            ValueError: for another shape.
        """
        features = np.asarray(features, np.float64)
        if features.ndim != 2 or not len(features):
            raise ValueError(f"features must be [N,D] with N >= 1, got {features.shape}")
        mean = features.mean(axis=0)
        centred = features - mean
        return cls(len(features), mean, centred.T @ centred)

    def merge(self, other: Moments) -> Moments:
        """Returns the moments of both sets together.

        Raises:
            ValueError: the vectors have other lengths.
        """
        if self.mean.shape != other.mean.shape:
            raise ValueError(f"moments of {len(self.mean)} and of {len(other.mean)} features cannot be joined")
        count = self.count + other.count
        change = other.mean - self.mean
        correction = np.outer(change, change) * (self.count * other.count / count)
        return Moments(count, self.mean + change * (other.count / count), self.scatter + other.scatter + correction)

    def covariance(self, ddof: int = 1) -> np.ndarray:
        """Returns the covariance f64[D,D], divided by N - ddof.

        Raises:
            ValueError: there are too few vectors.
        """
        if self.count <= ddof:
            raise ValueError(f"a covariance needs at least {ddof + 1} vectors, got {self.count}")
        return self.scatter / (self.count - ddof)


def merge_all(parts: Iterable[Moments]) -> Moments:
    """Returns the moments of all parts together, joined from the first to the last; there is at least one."""
    return functools.reduce(Moments.merge, parts)
