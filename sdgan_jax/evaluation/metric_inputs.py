"""Evaluation by published metrics: opens the images and networks that names and paths stand for, and writes results."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from sdgan_jax import model as model_lib
from sdgan_jax import outputs, pretrained
from sdgan_jax.data.stream import Examples
from sdgan_jax.evaluation import feature_networks, image_metrics, image_sources, metric_names, report
from sdgan_jax.evaluation.feature_networks import DistanceNetwork, FeatureNetwork
from sdgan_jax.evaluation.image_sources import Source
from sdgan_jax.evaluation.metric_names import Metric
from sdgan_jax.metrics import conventions
from sdgan_jax.model import Model
from sdgan_jax.pretrained import directories, storage
from sdgan_jax.training import sharding
from tfds_megn import names as dataset_names
from tfds_megn.listing import printable

RESULTS = ("image_metrics.json", "image_metrics.txt")
_FOLDER_STARTS = ("/", ".", "~")


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Names and paths of what is measured; "" is the default of each.

    Attributes:
        metrics: names, see `metric_names.parse`.
        model: for `sdgan_jax.load`; not used with `fake`.
        fake: folder of the images that are measured, in the place of a model's.
        real: TFDS data set or folder that they are compared with; the model's own data set by default.
        split: split of data sets.
        data_dir: folder of prepared data; by default the model's own.
        convention: one of `conventions.CONVENTIONS`.
        inception: network directory of Inception.
        lpips: network directory of LPIPS.
        classifier: network directory of the attribute classifier; the project's own by default.
        seed: random seed of the latents.
    """

    metrics: Sequence[str]
    model: str = ""
    fake: str = ""
    real: str = ""
    split: str = "train"
    data_dir: str = ""
    convention: str = "nvlabs"
    inception: str = ""
    lpips: str = ""
    classifier: str = ""
    seed: int = 0


def evaluate(inputs: Inputs, out_dir: epath.PathLike, quiet: bool = False) -> dict[str, Any]:
    """Computes metrics and writes `image_metrics.json` and `image_metrics.txt`. Every process must call this.

    Args:
        inputs: what is measured.
        out_dir: folder for the results, local or remote; the first process writes them.
        quiet: whether to leave out progress bars.

    Returns:
        See `image_metrics.measure`.

    Raises:
        FileExistsError: a file that was not written by an evaluation is in the way.
        FileNotFoundError: a folder or a network is missing; the message says which file a network is made of.
        OSError: the disk is full or cannot be written.
        ValueError: a name is unknown, images cannot be read, or a metric cannot be computed of them.
    """
    metrics = metric_names.parse(inputs.metrics)
    outputs.check_own([epath.Path(out_dir) / name for name in RESULTS], report.BY)
    networks, distances = open_networks(metrics, inputs)
    model = None if inputs.fake else model_lib.load(inputs.model)
    if jax.process_index() == 0:
        epath.Path(out_dir).mkdir(parents=True, exist_ok=True)  # it may be impossible; no image is drawn then
    with sharding.first_process_first():  # it prepares the data
        real = open_real(metrics, inputs, model)
        if model is None:
            fake = image_sources.open_folder(inputs.fake)
        else:
            fake = open_model(inputs, model, open_labels(metrics, inputs, model))

    def write(results: dict[str, Any]) -> None:
        if jax.process_index() == 0:
            outputs.write_json(epath.Path(out_dir) / RESULTS[0], results, report.BY)
            outputs.write_text(epath.Path(out_dir) / RESULTS[1], image_metrics.table(results), report.BY)
        if jax.process_count() > 1:  # no process removes its statistics before
            multihost_utils.sync_global_devices("the results are written")

    return image_metrics.measure(metrics, fake, real, networks, distances, model, inputs.seed, quiet, write)


def open_networks(
    metrics: Sequence[Metric], inputs: Inputs
) -> tuple[dict[str, FeatureNetwork], dict[str, DistanceNetwork]]:
    """Reads the networks that metrics need: those of features, and those of the distances of PPL, by their names.

    Raises:
        FileNotFoundError: a network is missing; the message says which file it is made of.
        ValueError: a network is damaged, or the convention unknown.
    """
    features = {name: _open_features(name, metric, inputs) for name, metric in _needed(metrics, path=False).items()}
    distances = {name: _open_distance(name, metric, inputs) for name, metric in _needed(metrics, path=True).items()}
    return features, distances


def _needed(metrics: Sequence[Metric], path: bool) -> dict[str, Metric]:
    """Returns the networks of PPL, or those of all other metrics, each with the first metric that needs it."""
    chosen = [metric for metric in metrics if (metric.kind == metric_names.PPL) == path]
    return {metric.network: metric for metric in reversed(chosen)}


def _open_features(name: str, metric: Metric, inputs: Inputs) -> FeatureNetwork:
    """Reads the network of features with this name."""
    if name == metric_names.CLASSIFIER:
        return feature_networks.classifier_features(inputs.classifier)
    if name == metric_names.IDENTITY:
        return feature_networks.identity_features()
    if inputs.convention not in conventions.CONVENTIONS:
        raise ValueError(
            f"--convention={inputs.convention} is unknown; the conventions are {', '.join(conventions.CONVENTIONS)}"
        )
    network = pretrained.inception_network(_given(inputs.inception, metric, "inception"))
    return feature_networks.inception_features(network, inputs.convention)


def _open_distance(name: str, metric: Metric, inputs: Inputs) -> DistanceNetwork:
    """Reads the distance of PPL with this name."""
    if name == metric_names.PERCEPTUAL:
        return feature_networks.perceptual_distance()
    return feature_networks.lpips_distance(pretrained.lpips_network(_given(inputs.lpips, metric, "lpips")))


def _given(path: str, metric: Metric, kind: str) -> str:
    """Returns the path of a network that the project does not contain; without one, the message says how to get it."""
    if path:
        return path
    own = "perceptual_ppl" if kind == metric_names.LPIPS else f"{metric_names.CLASSIFIER}_{metric.kind}"
    instead = f"; {own} needs no download" if metric.kind != metric_names.IS else ""
    raise FileNotFoundError(
        f"{metric.name} needs --{kind}=DIR (--config.{kind}=DIR in a training), made by "
        "`python -m experiments.convert --source=FILE --out=DIR` of "
        f"{directories.PUBLISHED[kind]}{instead}"
    )


def open_real(metrics: Sequence[Metric], inputs: Inputs, model: Model | None) -> Source | None:
    """Opens the images that others are compared with; None where no metric compares.

    Raises:
        FileNotFoundError, ValueError: they are not named, or there are none.
    """
    if not any(metric.compares for metric in metrics):
        return None
    if _is_folder(inputs.real):
        return image_sources.open_folder(os.path.expanduser(inputs.real))
    if not inputs.real and model is None:
        raise ValueError("give --real, a data set or a folder that the images of --fake are compared with")
    dataset, data_dir, manual_dir = inputs.real, inputs.data_dir, ""
    if model is not None:
        config = model.config
        dataset, data_dir = dataset or config.dataset, data_dir or config.data_dir
        manual_dir = config.manual_dir if dataset == config.dataset else ""
    if name := dataset_names.parse(dataset):
        resolution = name.resolution
    elif model is not None:
        resolution = model.config.resolution
    else:
        resolution = _side(image_sources.open_folder(inputs.fake))
    try:
        return image_sources.open_dataset(dataset, inputs.split, resolution, data_dir, manual_dir)
    except (ValueError, FileNotFoundError) as error:
        way_out = "give a folder that exists, or another data set" if inputs.real else "give --real=DATASET or a folder"
        raise ValueError(f"--real={dataset}: {error}; {way_out}") from error


def _is_folder(name: str) -> bool:
    """Returns whether the value of --real is a folder and not the name of a data set."""
    return name.startswith(_FOLDER_STARTS) or outputs.is_remote(name) or (bool(name) and os.path.isdir(name))


def _side(folder: Source) -> int:
    """Returns the shorter side of the images of a folder in pixels."""
    return min(folder.read(np.zeros(1, np.int64))["image"].shape[1:3])


def open_model(inputs: Inputs, model: Model, labelled: Examples | None) -> Source:
    """Returns the images of a model, with the attributes of `labelled`, see `open_labels`, or evenly without."""
    name = printable(inputs.model or storage.SHIPPED_MODEL)
    return image_sources.open_model(model, name, inputs.seed, labelled)


def open_labels(metrics: Sequence[Metric], inputs: Inputs, model: Model) -> Examples | None:
    """Opens the data set of a model where a metric compares the model with it, else None.

    IS and PPL alone are so those of equally many images of each attribute, and prepare no data set.
    """
    compared = any(metric.compares for metric in metrics) and inputs.real in ("", model.config.dataset)
    if model.config.num_attributes == 1 or not compared:
        return None
    config = dataclasses.replace(model.config, data_dir=inputs.data_dir or model.config.data_dir)
    return Examples(config, inputs.split)
