"""Published metrics of two sets of images, or of a model.

They are FID, KID, precision and recall, density and coverage, inception score and PPL. FID and KID of Inception
features and the inception score compare with published numbers. FID and KID are of as many real images, at most, as
the name says, as StyleGAN2's `fid50k`; `fid50k_full` of StyleGAN2-ADA and StyleGAN3 is of all real images, and
`kid50k_full` of up to a million. Of PPL by LPIPS, `ppl` compares with `ppl2_wend` of StyleGAN2 and later; their
`ppl_wend`, `ppl_wfull`, `ppl_zend` and `ppl_zfull` crop the images to the face, which is not done here. Published
precisions, recalls, densities and coverages use VGG16's last hidden layer; those here, of Inception or of our own
networks, compare with each other only.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from sdgan_jax.evaluation import extraction, image_sources
from sdgan_jax.evaluation.extraction import FEATURES, LENGTHS, LOGITS, Statistics, Task
from sdgan_jax.evaluation.feature_networks import DistanceNetwork, FeatureNetwork, feature_task
from sdgan_jax.evaluation.image_sources import Rows, Source
from sdgan_jax.evaluation.metric_names import DC, FID, IS, KID, LEAST, PPL, PR, Metric
from sdgan_jax.metrics import density_coverage, frechet, inception_score, kid, path_length, precision_recall
from sdgan_jax.model import Model
from sdgan_jax.pretrained import archive
from sdgan_jax.pretrained.archive import Tree

_PPL_SIDE = 256  # pixels; larger images are averaged down to it, as StyleGAN2 does
# Values that a metric needs of each image.
_KEPT = {FID: (), KID: (FEATURES,), PR: (FEATURES,), DC: (FEATURES,), IS: (LOGITS,)}
PARTS = {PR: ("precision", "recall"), DC: ("density", "coverage")}  # names of the numbers of metrics that have two
_PHASES = (1, 2, 3)  # of the random numbers: both ends of a path, and the place of the step on it


def measure(
    metrics: Sequence[Metric],
    fake: Source,
    real: Source | None,
    networks: Mapping[str, FeatureNetwork],
    distances: Mapping[str, DistanceNetwork],
    model: Model | None = None,
    seed: int = 0,
    quiet: bool = False,
    write: Callable[[dict[str, Any]], object] = dict,
) -> dict[str, Any]:
    """Computes metrics. Every process must call this.

    Args:
        metrics: see `metric_names.parse`.
        fake: the images that are measured.
        real: the images that they are compared with; None where no metric compares.
        networks: features by the names in `metrics`.
        distances: distances of PPL by the names in `metrics`.
        model: the model that draws `fake`; PPL needs it.
        seed: random seed of PPL.
        quiet: whether to leave out progress bars.
        write: called with the results. The statistics of a model are removed afterwards, so that an error in it does
            not lose them.

    Returns:
        A dict of plain numbers and texts (JSON): `fake`, `real`, `seed`, `notes`, and in `metrics` for each name its
        numbers, the convention, and how many images they were computed from.

    Raises:
        ValueError: PPL is asked of images without a model, a set has too few images, or a value is not finite.
    """
    check(metrics, fake, real, model)
    rows, used = _measure_features(metrics, fake, real, networks, quiet)
    for metric in metrics:
        if metric.kind == PPL and model is not None:
            task = path_task(model, fake, distances[metric.network], metric, seed)
            rows[metric.name] = _path(metric, extraction.compute(task, metric.number, (LENGTHS,), quiet))
            used.append((task, metric.number))
    rows = {metric.name: rows[metric.name] for metric in metrics}
    results = {
        "fake": fake.name,
        "real": real.name if real else None,
        "seed": seed,
        "notes": _notes(metrics, fake, real, rows),
        "metrics": rows,
    }
    write(results)
    if fake.available is None:  # a model is measured once; its data set again and again
        for task, count in used:
            extraction.forget(task, count)
    return results


def _measure_features(
    metrics: Sequence[Metric],
    fake: Source,
    real: Source | None,
    networks: Mapping[str, FeatureNetwork],
    quiet: bool,
) -> tuple[dict[str, dict[str, Any]], list[tuple[Task, int]]]:
    """Computes the metrics on features; returns their rows by name, and the tasks on `fake` with their numbers."""
    rows: dict[str, dict[str, Any]] = {}
    used: list[tuple[Task, int]] = []
    for (name, number), group in _groups(metrics).items():
        network, kept = networks[name], {value for metric in group for value in _KEPT[metric.kind]}
        task, count, theirs = feature_task(fake, network), _available(fake, number), None
        ours = extraction.compute(task, count, tuple(sorted(kept)), quiet)
        used.append((task, count))
        if real and any(metric.compares for metric in group):
            kept_of_real = tuple(kept - {LOGITS})
            theirs = extraction.compute(feature_task(real, network), _available(real, number), kept_of_real, quiet)
        rows |= {metric.name: _compare(metric, network, ours, theirs) for metric in group}
    return rows, used


def check(metrics: Sequence[Metric], fake: Source, real: Source | None, model: Model | None) -> None:
    """Refuses metrics that cannot be computed of these images.

    Raises:
        ValueError: PPL without a model, a comparison without images to compare with, or too few of them.
    """
    for metric in metrics:
        if metric.kind == PPL and model is None:
            raise ValueError(f"{metric.name} is a property of a model; give --model in the place of --fake")
        if metric.compares and real is None:
            raise ValueError(f"{metric.name} compares with real images; give --real, a data set or a folder")
        for source in _compared(metric, fake, real):
            if source.available is not None and source.available < LEAST[metric.kind]:
                raise ValueError(
                    f"{source.name}: {metric.name} needs at least {LEAST[metric.kind]} images, there are "
                    f"{source.available}; give a larger set"
                )


def _compared(metric: Metric, fake: Source, real: Source | None) -> list[Source]:
    """Returns the sets of images that a metric uses."""
    if metric.kind == PPL:
        return []
    return [fake, real] if metric.compares and real is not None else [fake]


def _groups(metrics: Sequence[Metric]) -> dict[tuple[str, int], list[Metric]]:
    """Returns the metrics on features, by features and number: they share one pass over the images."""
    groups: dict[tuple[str, int], list[Metric]] = collections.defaultdict(list)
    for metric in metrics:
        if metric.kind != PPL:
            groups[metric.network, metric.number].append(metric)
    return groups


def _available(source: Source, number: int) -> int:
    """Returns the number of images that a metric of `number` images uses."""
    return number if source.available is None else min(number, source.available)


def _compare(metric: Metric, network: FeatureNetwork, ours: Statistics, theirs: Statistics | None) -> dict[str, Any]:
    """Computes one metric on features."""
    row: dict[str, Any] = {"features": network.name, "convention": network.convention, "fake": ours.count}
    if metric.kind == IS:
        mean, deviation = inception_score.inception_score(ours.lists[LOGITS])
        return {"value": mean, "deviation": deviation} | row
    assert theirs is not None and ours.moments is not None and theirs.moments is not None
    row["real"] = theirs.count
    if metric.kind == FID:
        value = frechet.moments_frechet_distance(ours.moments, theirs.moments, network.ddof)
        return {"value": value} | row | {"covariance": "N" if network.ddof == 0 else "N-1"}
    features = ours.lists[FEATURES], theirs.lists[FEATURES]
    if metric.kind == KID:
        mean, deviation = kid.kernel_distance(*features)
        row["subset_size"] = min(kid.SUBSET_SIZE, ours.count, theirs.count)
        return {"value": mean, "deviation": deviation} | row
    compare = precision_recall.precision_recall if metric.kind == PR else density_coverage.density_coverage
    return dict(zip(PARTS[metric.kind], compare(features[1], features[0]), strict=True)) | row


def path_task(model: Model, source: Source, distance: DistanceNetwork, metric: Metric, seed: int) -> Task:
    """Returns the task of computing the steps of PPL of a model.

    Attributes and class are the same at both ends of a path and those of the images of `source`, and so is the
    constant noise. Images larger than 256 pixels are averaged down to it.
    """

    def function(both: tuple[Tree, Tree], rows: Rows) -> dict[str, jax.Array]:
        params, variables = both
        first, second = (image_sources.random_inputs(model, seed, rows["number"], phase)[0] for phase in _PHASES[:2])
        places = jnp.zeros(len(first))
        if metric.sampling == "full":
            keys = image_sources.random_inputs(model, seed, rows["number"], _PHASES[2])[1]
            places = jax.vmap(jax.random.uniform)(keys)

        def mapping(z: jax.Array) -> jax.Array:
            return model.nets.to_w_plus(params["G"], z, rows["attributes"], params["basis"], rows.get("label"))

        def synthesize(w_plus: jax.Array) -> jax.Array:
            return _average_down(model.nets.synthesize(params["G"], w_plus, "const"))

        between = functools.partial(distance.apply, variables)
        ends = (first, second)
        return {LENGTHS: path_length.step_lengths(mapping, synthesize, between, ends, places, metric.space)}

    key = {
        "source": source.key,
        "distance": distance.name,
        "network": archive.fingerprint(distance.variables),
        "path": [metric.space, metric.sampling],
        "epsilon": path_length.EPSILON,
        "seed": seed,
    }
    params = (source.params, distance.variables)
    return Task(f"{metric.kind} of {source.name}", key, params, source.read, function)


def _average_down(images: jax.Array) -> jax.Array:
    """Averages blocks of pixels of images f32[N,R,R,3] so that their side is at most `_PPL_SIDE`; R a power of two."""
    count, side = images.shape[:2]
    factor = max(1, side // _PPL_SIDE)
    return images.reshape(count, side // factor, factor, side // factor, factor, 3).mean((2, 4))


def _path(metric: Metric, lengths: Statistics) -> dict[str, Any]:
    """Computes PPL from its steps."""
    return {
        "value": path_length.path_length(lengths.lists[LENGTHS]),
        "distance": metric.network,
        "space": metric.space,
        "sampling": metric.sampling,
        "epsilon": path_length.EPSILON,
        "fake": lengths.count,
    }


def _notes(
    metrics: Sequence[Metric], fake: Source, real: Source | None, rows: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Returns lines about metrics of fewer images than their names say, and about small subsets of KID."""
    notes = []
    for source in (fake, real):
        if source is None or source.available is None:
            continue
        asked = [metric for metric in metrics if source in _compared(metric, fake, real)]
        if short := [metric.name for metric in asked if metric.number > source.available]:
            notes.append(
                f"{source.name} has {source.available:,} images, fewer than {', '.join(short)} asks for; all were used"
            )
    if small := [name for name, row in rows.items() if row.get("subset_size", kid.SUBSET_SIZE) < kid.SUBSET_SIZE]:
        notes.append(f"{', '.join(small)}: subsets of fewer than {kid.SUBSET_SIZE:,} images, which published KIDs have")
    return notes


def table(results: Mapping[str, Any]) -> str:
    """Formats the results of `measure` as text."""
    compared = f", compared with {results['real']}" if results["real"] else ""
    width = max(24, *(len(name) + 11 for name in results["metrics"]))
    lines = [
        f"{results['fake']}{compared}",
        "",
        f"{'':{width}}{'value':>12}{'+-':>10}{'images':>9}{'real':>9}  convention",
    ]
    for name, row in results["metrics"].items():
        parts = {part: row[part] for parts in PARTS.values() for part in parts if part in row}
        values = {f"{name} {part}": value for part, value in parts.items()} or {name: row["value"]}
        for label, value in values.items():
            deviation = f"{row['deviation']:10.4g}" if "deviation" in row else f"{'':10}"
            how = row.get("convention") or f"{row['distance']}, {row['space']}, {row['sampling']}"
            lines.append(f"{label:{width}}{value:12.5g}{deviation}{row['fake']:9d}{row.get('real', ''):>9}  {how}")
    return "\n".join([*lines, *(["", *results["notes"]] if results["notes"] else [])]) + "\n"
