"""Inception score (Salimans et al. 2016, "Improved Techniques for Training GANs").

The published numbers use the 1008 outputs of the Inception network of FID, without its last bias.
"""

from __future__ import annotations

import numpy as np

SPLITS = 10


def inception_score(logits: np.ndarray, splits: int = SPLITS) -> tuple[float, float]:
    """Computes exp(E KL(p(y|x) | p(y))), where p(y) is the mean of p(y|x) in a split.

    Args:
        logits: float[N,C], N >= splits, of generated images in a random order.
        splits: number of splits; consecutive rows are a split.

    Returns:
        Mean and standard deviation over the splits; each score is from 1 to C.

    Raises:
        ValueError: the logits have another shape, there are fewer than `splits`, or one is NaN or infinite.
    """
    logits = np.asarray(logits)
    if logits.ndim != 2 or splits < 1 or len(logits) < splits:
        raise ValueError(f"logits must be [N,C] with N >= splits = {splits} >= 1, got shape {logits.shape}")
    if not np.isfinite(logits).all():
        raise ValueError("logits are NaN or infinite; leave their images out")
    scores = []
    count = len(logits)
    for i in range(splits):
        log_p = _log_softmax(logits[i * count // splits : (i + 1) * count // splits].astype(np.float64))
        p = np.exp(log_p)
        mean = p.mean(axis=0)
        log_mean = np.log(np.where(mean > 0, mean, 1.0))  # p is 0 where the mean is
        scores.append(np.exp((p * (log_p - log_mean)).sum(axis=1).mean()))
    return float(np.mean(scores)), float(np.std(scores))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    """Returns the logarithms of the softmax of f64[N,C]."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
