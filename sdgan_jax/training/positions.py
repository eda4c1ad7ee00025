"""The position of a training in its data, as a checkpoint contains it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from etils import epath


class Positioned(Protocol):
    """A source of batches with a position, such as `sdgan_jax.data.batch_iterator.BatchIterator`."""

    position: int
    skipped: set[int]
    dataset: str


def describe(batches: Positioned) -> dict[str, Any]:
    """Returns the position in the data, the images that were left out so far, and the data set, for JSON."""
    return {"position": batches.position, "skipped": sorted(batches.skipped), "dataset": batches.dataset}


def move(batches: Positioned, saved: Mapping[str, Any], checkpoint: epath.Path) -> None:
    """Moves batches to a position that `describe` returned.

    Args:
        batches: the batches.
        saved: what `describe` returned; in checkpoints of version 0.1 the position alone.
        checkpoint: the checkpoint that contains it, for the message.

    Raises:
        ValueError: the position is one of another data set.
    """
    if (dataset := saved.get("dataset", batches.dataset)) != batches.dataset:
        raise ValueError(
            f"the data set has changed since {checkpoint} was saved (it was {dataset}; it is {batches.dataset}), and "
            "its images would come in another order; give the old one to resume, or another --workdir to start anew"
        )
    batches.position, batches.skipped = saved["position"], set(saved.get("skipped", []))
