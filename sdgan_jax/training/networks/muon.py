"""Muon for kernels and Adam for all other parameters: the optimiser of the networks beside the GAN.

Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024: the momentum of a matrix is replaced by
(approximately) the nearest orthogonal matrix, so that all directions learn at one speed. PRNet's deep decoder, which
has no shortcuts, reaches after 700 steps the loss that Adam (at a rate of 1.5e-3) reaches after 1,300.
"""

from __future__ import annotations

from typing import Any

import jax
import optax
from optax import contrib

WARM = 20  # the warm-up takes 1/WARM of the run
_ADAM = 0.25  # learning rate of Adam, as a share of that of Muon
_RMS = (
    0.2  # root mean square of an update at rate 1, as Adam has (Liu et al., "Muon is Scalable for LLM Training", 2025)
)


def optimizer(learning_rate: float, total_steps: int, weight_decay: float = 0.0) -> optax.GradientTransformation:
    """Makes the optimiser: linear warm-up, then half a cosine to 0.

    Args:
        learning_rate: the peak for kernels; a quarter of it for all other parameters.
        total_steps: steps after which the rate is 0.
        weight_decay: decay of all parameters, times the rate.

    Returns:
        The optimiser.
    """

    def rate(peak: float) -> optax.Schedule:
        warm = min(max(1, total_steps // WARM), total_steps - 1)  # the cosine needs a step of its own
        return optax.warmup_cosine_decay_schedule(0.0, peak, warm, total_steps)

    return contrib.muon(
        rate(learning_rate),
        weight_decay=weight_decay,
        adam_weight_decay=weight_decay,
        adam_learning_rate=rate(_ADAM * learning_rate),
        muon_weight_dimension_numbers=kernels,
        consistent_rms=_RMS,
    )


def kernels(params: Any) -> Any:
    """Returns the axes of each kernel seen as a matrix (all but the last, and the last); None for other parameters."""

    def axes(path: tuple, array: jax.Array) -> contrib.MuonDimensionNumbers | None:
        if getattr(path[-1], "key", None) != "kernel":
            return None
        return contrib.MuonDimensionNumbers(tuple(range(array.ndim - 1)), array.ndim - 1)

    return jax.tree_util.tree_map_with_path(axes, params)
