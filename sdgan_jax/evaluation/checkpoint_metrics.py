"""Published metrics of the checkpoints of a run (`config.metrics`)."""

from __future__ import annotations

from typing import Any

from sdgan_jax.data.stream import Examples
from sdgan_jax.evaluation import image_metrics, metric_inputs, metric_names
from sdgan_jax.evaluation.image_sources import Source
from sdgan_jax.evaluation.metric_names import Metric
from sdgan_jax.model import Model
from sdgan_jax.networks import Networks
from sdgan_jax.training import sharding
from sdgan_jax.training.gan import weights
from sdgan_jax.training.gan.state import State
from sdgan_jax.training.loop import Measure


def make_measure(nets: Networks) -> Measure:
    """Makes the score of the checkpoints of a run: the metrics of `config.metrics`, on the data that it learns from.

    The first metric ranks the checkpoints; one of two numbers, such as precision and recall, by their sum. Every
    process must call this.

    Args:
        nets: the networks being trained.

    Raises:
        FileNotFoundError: a network is missing; the message says which file it is made of.
        ValueError: a name is unknown, or a metric cannot be computed of this data set.
    """
    config = nets.config
    metrics = metric_names.parse(config.metrics)
    inputs = metric_inputs.Inputs(config.metrics, inception=config.inception, lpips=config.lpips)
    networks, distances = metric_inputs.open_networks(metrics, inputs)
    opened: tuple[Model, Source | None, Examples | None] | None = None  # by the first checkpoint, for all

    def compute(state: State) -> dict[str, float]:
        nonlocal opened
        trees = {field: getattr(state, field) for field in weights.FIELDS}
        if opened is None:
            model = Model(nets, trees)
            with sharding.first_process_first():
                real = metric_inputs.open_real(metrics, inputs, model)
                opened = model, real, metric_inputs.open_labels(metrics, inputs, model)
        model, real, labelled = opened
        model.take(trees)
        fake = metric_inputs.open_model(inputs, model, labelled)
        results = image_metrics.measure(metrics, fake, real, networks, distances, model, quiet=True)
        return {key: value for name, row in results["metrics"].items() for key, value in _numbers(name, row).items()}

    return Measure(compute, lambda values: _rank(metrics[0], values))


def _numbers(name: str, row: dict[str, Any]) -> dict[str, float]:
    """Returns the numbers of a metric by the names that the journal writes."""
    if "value" in row:
        return {name: row["value"]}
    return {f"{name}_{part}": row[part] for parts in image_metrics.PARTS.values() for part in parts if part in row}


def _rank(metric: Metric, values: dict[str, float]) -> float:
    """Returns the score, higher is better."""
    if parts := image_metrics.PARTS.get(metric.kind):
        return sum(values[f"{metric.name}_{part}"] for part in parts)
    return values[metric.name] if metric.kind == metric_names.IS else -values[metric.name]
