"""Measures a model: accuracy, share of faces, diversity, distances to real images; or its edits of test persons.

python -m experiments.evaluate --out=DIR [--model=DIR]                       (the project's own model, or another)
python -m experiments.evaluate --benchmark=edits --out=DIR                   (edits against true edited faces)
python -m experiments.evaluate --benchmark=edits --input=FOLDER --out=DIR    (edits of your labelled photos)
python -m experiments.evaluate --benchmark=inversion --out=DIR               (how well latents reproduce test faces)
python -m experiments.evaluate --metrics=fid50k,pr50k --inception=DIR --out=DIR [--model=DIR] [--real=DATASET]
python -m experiments.evaluate --metrics=classifier_fid2k --fake=FOLDER --real=FOLDER --out=DIR     (no download)

The benchmark `edits` puts each attribute on faces and takes it off, by the prior basis alone and by SD-GAN, and by the
models of --variants, and holds the results against the true image of the same face. The benchmark `inversion` compares
faces with what G draws from their latents: by the encoder, with a search, and with pivotal tuning.

--metrics computes published metrics of a model against its data set, of a model or a folder against any TFDS data set,
or of two folders. Statistics of data sets and folders are stored in ~/.cache/sdgan_jax, or in XDG_CACHE_HOME; the same
command continues an interrupted one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import jax
from absl import flags

import sdgan_jax
from experiments import launch
from sdgan_jax import outputs, pretrained
from sdgan_jax.evaluation import (
    attributes,
    edit_report,
    edits,
    image_metrics,
    inversions,
    metric_inputs,
    metric_names,
    report,
)
from sdgan_jax.metrics import conventions
from tfds_megn.listing import printable

MODEL = launch.define_model()
OUT = launch.define_path("out", None, "folder for tables, JSON and sheets", required=True)
BENCHMARK = flags.DEFINE_enum(
    "benchmark",
    "attributes",
    ["attributes", "edits", "inversion"],
    "attributes: generated faces; edits: edited faces; inversion: reconstructed faces",
)
NUM_IMAGES = flags.DEFINE_integer(
    "num_images",
    None,
    f"images to generate, all attributes together ({attributes.NUM_IMAGES} by default); with --benchmark=edits persons "
    f"to edit, a third for each of three seeds ({edits.NUM_PERSONS} by default); with --benchmark=inversion faces "
    f"({inversions.NUM_FACES} by default)",
    lower_bound=6,
)
DATA_DIR = launch.define_path("data_dir", "", "where prepared data live; the model's own by default")
CLASSIFIER = launch.define_path("classifier", "", "attribute classifier directory; the project's own by default")
SEED = launch.define_seed("seed", 0, "random seed of the latents of generated faces")
VARIANTS = flags.DEFINE_list(
    "variants", [], "with --benchmark=edits: more rows, such as no_3d=DIR,concatenation=DIR: models with another F"
)
INPUT = launch.define_path(
    "input",
    None,
    "with --benchmark=edits: photos in folders named by attribute, or with a labels.csv; with --benchmark=inversion: "
    "images whose central squares are reconstructed; the test faces of the model's data set by default",
)

METRICS = flags.DEFINE_list(
    "metrics",
    [],
    f"published metrics, separated by commas: {metric_names.KNOWN}; at most as many real images are used, whereas "
    "fid50k_full of StyleGAN2-ADA is of all",
)
REAL = flags.DEFINE_string(
    "real", "", "with --metrics: TFDS data set or folder to compare with; the model's own data set by default"
)
FAKE = launch.define_path("fake", "", "with --metrics: folder of images to measure in the place of a model's")
SPLIT = flags.DEFINE_string("split", "train", "with --metrics: split of data sets")
CONVENTION = flags.DEFINE_enum(
    "convention",
    "nvlabs",
    list(conventions.CONVENTIONS),
    "with --metrics: how images are resized for Inception, and the divisor of the covariance",
)
INCEPTION = launch.define_path("inception", "", "with --metrics: network directory of Inception; experiments.convert")
LPIPS = launch.define_path("lpips", "", "with --metrics: network directory of LPIPS, for ppl; experiments.convert")
JOIN_PROCESSES = launch.define_processes()

# Flags that have a use with one kind of evaluation only.
_OF_BENCHMARKS = {
    "variants": ["edits"],
    "input": ["edits", "inversion"],
    "seed": ["attributes"],
    "classifier": ["attributes", "edits"],
}
_OF_METRICS = ("real", "fake", "split", "convention", "inception", "lpips")


def main(argv: Sequence[str]) -> None:
    """Evaluates the model, or the images, that the flags name."""
    del argv
    outputs.check_folder(OUT.value)
    _check_flags()
    JOIN_PROCESSES()
    if jax.process_count() > 1 and not METRICS.value:
        raise ValueError("--distributed belongs to --metrics; the other evaluations run in one process")
    if METRICS.value:
        _evaluate_metrics()
    elif BENCHMARK.value == "edits":
        _evaluate_edits()
    elif BENCHMARK.value == "inversion":
        number = NUM_IMAGES.value or inversions.NUM_FACES
        model = sdgan_jax.load(MODEL.value)
        print(inversions.table(inversions.evaluate_inversion(model, OUT.value, DATA_DIR.value, number, INPUT.value)))
    else:
        results = attributes.evaluate_model(
            sdgan_jax.load(MODEL.value),
            OUT.value,
            DATA_DIR.value,
            NUM_IMAGES.value or attributes.NUM_IMAGES,
            SEED.value,
            CLASSIFIER.value,
        )
        print(report.table(results))
    if jax.process_index() == 0:
        print(f"Table, JSON and pictures: {printable(OUT.value)}")


def _check_flags() -> None:
    """Refuses flags that belong to another kind of evaluation."""
    given = flags.FLAGS
    for name, benchmarks in _OF_BENCHMARKS.items():
        if given[name].value != given[name].default and BENCHMARK.value not in benchmarks:
            asked = " or ".join(f"--benchmark={benchmark}" for benchmark in benchmarks)
            raise ValueError(f"--{name} belongs to {asked}; add it, or leave --{name} out")
    others = [f"--{name}" for name in _OF_METRICS if given[name].present]
    if not METRICS.value and others:
        raise ValueError(f"{', '.join(others)} belong to --metrics; add it, or leave them out")
    if METRICS.value and (BENCHMARK.value != "attributes" or NUM_IMAGES.value):
        raise ValueError("--benchmark and --num_images do not go with --metrics; the names have numbers, such as fid2k")
    if FAKE.value and MODEL.value:
        raise ValueError("--fake takes the place of --model; leave one of them out")


def _evaluate_metrics() -> None:
    """Computes the metrics of --metrics."""
    inputs = metric_inputs.Inputs(
        METRICS.value,
        MODEL.value,
        FAKE.value,
        REAL.value,
        SPLIT.value,
        DATA_DIR.value,
        CONVENTION.value,
        INCEPTION.value,
        LPIPS.value,
        CLASSIFIER.value,
        SEED.value,
    )
    table = image_metrics.table(metric_inputs.evaluate(inputs, OUT.value))
    if jax.process_index() == 0:
        print(table)


def _evaluate_edits() -> None:
    """Runs the benchmark `edits`."""
    variants = parse_variants(VARIANTS.value)
    results = edits.evaluate_edits(
        sdgan_jax.load(MODEL.value),
        MODEL.value or pretrained.SHIPPED_MODEL,
        OUT.value,
        DATA_DIR.value,
        NUM_IMAGES.value or edits.NUM_PERSONS,
        {name: sdgan_jax.load(path) for name, path in variants.items()},
        INPUT.value,
        CLASSIFIER.value,
    )
    print(edit_report.table(results))


def parse_variants(items: Sequence[str]) -> dict[str, str]:
    """Reads the value of --variants.

    Args:
        items: texts such as "no_3d=DIR".

    Returns:
        The directories by the names of their rows.

    Raises:
        ValueError: a text has another form, or a name comes twice.
    """
    variants: dict[str, str] = {}
    for item in items:
        name, separator, path = item.strip().partition("=")
        if not (name and separator and path) or name in variants:
            raise ValueError(f"--variants={','.join(items)}: {item!r} must be NAME=DIR, each name once")
        variants[name] = os.path.expanduser(path)
    return variants


if __name__ == "__main__":
    launch.run(main)
