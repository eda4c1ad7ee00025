"""Measures a model: attribute accuracy, diversity, distances to real images; or its edits against true edited faces.

python -m experiments.evaluate --model=DIR --out=DIR
python -m experiments.evaluate --model=DIR --benchmark=edits --out=DIR                        (rendered test persons)
python -m experiments.evaluate --model=DIR --benchmark=edits --input=FOLDER --out=DIR         (your labelled photos)

The benchmark `edits` puts each attribute on faces and takes it off, by the prior basis alone and by SD-GAN, and by the
models of --variants, and holds the results against the true image of the same face.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from absl import flags

import sdgan_jax
from experiments import launch
from sdgan_jax import outputs
from sdgan_jax.evaluation import attributes, edit_report, edits, report
from tfds_megn.listing import printable

MODEL = launch.define_path("model", None, "training workdir or converted model directory", required=True)
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
            MODEL.value,
            OUT.value,
            DATA_DIR.value,
            NUM_IMAGES.value or edits.NUM_PERSONS,
            {name: sdgan_jax.load(path) for name, path in variants.items()},
            INPUT.value,
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
