"""Measures a model: accuracy, share of faces, diversity, distances to real images; or its edits of test persons.

python -m experiments.evaluate --out=DIR [--model=DIR]                       (the project's own model, or another)
python -m experiments.evaluate --benchmark=edits --out=DIR                   (edits against true edited faces)
python -m experiments.evaluate --benchmark=edits --input=FOLDER --out=DIR    (edits of your labelled photos)

The benchmark `edits` puts each attribute on faces and takes it off, by the prior basis alone and by SD-GAN, and by the
models of --variants, and holds the results against the true image of the same face.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from absl import flags

import sdgan_jax
from experiments import launch
from sdgan_jax import outputs, pretrained
from sdgan_jax.evaluation import attributes, edit_report, edits, report
from tfds_megn.listing import printable

MODEL = launch.define_model()
OUT = launch.define_path("out", None, "folder for tables, JSON and sheets", required=True)
BENCHMARK = flags.DEFINE_enum(
    "benchmark", "attributes", ["attributes", "edits"], "attributes: generated faces; edits: edited faces"
)
NUM_IMAGES = flags.DEFINE_integer(
    "num_images",
    None,
    f"images to generate, all attributes together ({attributes.NUM_IMAGES} by default); with --benchmark=edits persons "
    f"to edit, a third for each of three seeds ({edits.NUM_PERSONS} by default)",
    lower_bound=6,
)
DATA_DIR = launch.define_path("data_dir", "", "where prepared data live; the model's own by default")
CLASSIFIER = launch.define_path("classifier", "", "attribute classifier directory; the project's own if empty")
SEED = launch.define_seed("seed", 0, "random seed of the latents; not used by --benchmark=edits")
VARIANTS = flags.DEFINE_list(
    "variants", [], "with --benchmark=edits: more rows, such as no_3d=DIR,concatenation=DIR: models with another F"
)
INPUT = launch.define_path(
    "input", None, "with --benchmark=edits: photos in folders named by attribute, or with a labels.csv"
)


def main(argv: Sequence[str]) -> None:
    """Evaluates the model that the flags name."""
    del argv
    outputs.check_folder(OUT.value)
    if BENCHMARK.value == "edits":
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
    else:
        if VARIANTS.value or INPUT.value:
            raise ValueError("--variants and --input belong to --benchmark=edits; add it, or leave them out")
        results = attributes.evaluate_model(
            sdgan_jax.load(MODEL.value),
            OUT.value,
            DATA_DIR.value,
            NUM_IMAGES.value or attributes.NUM_IMAGES,
            SEED.value,
            CLASSIFIER.value,
        )
        print(report.table(results))
    print(f"Table, JSON and pictures: {printable(OUT.value)}")


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
