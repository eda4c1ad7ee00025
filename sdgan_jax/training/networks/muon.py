"""The optimiser of the networks that are trained by themselves: Muon for the kernels, Adam for all else.

Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024: the momentum of a matrix is brought near
the orthogonal matrix that is nearest, so that all directions learn alike. PRNet's deep decoder, in which no shortcut
helps, comes after 700 steps to the loss that Adam (at a rate of 1.5e-3) comes to after 1,300.
"""

from __future__ import annotations

from typing import Any

import jax
import optax
from optax import contrib

WARM = 20  # the peak is reached in this part of the run
_ADAM = 0.25  # rate of Adam, in Muon's
_RMS = 0.2  # of an update at the rate 1; about Adam's (Liu et al., "Muon is Scalable for LLM Training", 2025)


def optimizer(learning_rate: float, total_steps: int, weight_decay: float = 0.0) -> optax.GradientTransformation:
    """Warmed up, then down half a cosine.

    Args:
        learning_rate: the peak; a quarter of it for what is no kernel.
        total_steps: of the run; the rate is 0 there.
        weight_decay: of all, times the rate.
    """

    def rate(peak: float) -> optax.Schedule:
        return optax.warmup_cosine_decay_schedule(0.0, peak, max(1, total_steps // WARM), total_steps)

    return contrib.muon(
        rate(learning_rate),
        weight_decay=weight_decay,
        adam_weight_decay=weight_decay,
        adam_learning_rate=rate(_ADAM * learning_rate),
        muon_weight_dimension_numbers=kernels,
        consistent_rms=_RMS,
    )


def kernels(params: Any) -> Any:
    """Which of a tree of parameters are kernels, and their axes as a matrix's: all but the last, and the last."""

    def axes(path: tuple, array: jax.Array) -> contrib.MuonDimensionNumbers | None:
        if getattr(path[-1], "key", None) != "kernel":
            return None
        return contrib.MuonDimensionNumbers(tuple(range(array.ndim - 1)), array.ndim - 1)

    return jax.tree_util.tree_map_with_path(axes, params)
