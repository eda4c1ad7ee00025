"""Measures a model: attribute accuracy, share of faces, diversity, distances to real images.

python -m experiments.evaluate --out=DIR                    (the model that comes with the project)
python -m experiments.evaluate --model=DIR --out=DIR
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

import sdgan_jax
from experiments import launch
from sdgan_jax import outputs
from sdgan_jax.evaluation import attributes, report
from tfds_megn.listing import printable

MODEL = launch.define_model()
OUT = launch.define_path("out", None, "folder for metrics.txt, metrics.json and the sheets", required=True)
NUM_IMAGES = flags.DEFINE_integer(
    "num_images", attributes.NUM_IMAGES, "images to generate, all attributes together", lower_bound=12
)
DATA_DIR = launch.define_path("data_dir", "", "where prepared data live; the model's own by default")
CLASSIFIER = launch.define_path("classifier", "", "attribute classifier directory; the project's own if empty")
SEED = launch.define_seed("seed", 0, "random seed of the latents")


def main(argv: Sequence[str]) -> None:
    """Evaluates the model that the flags name."""
    del argv
    outputs.check_folder(OUT.value)
    results = attributes.evaluate_model(
        sdgan_jax.load(MODEL.value), OUT.value, DATA_DIR.value, NUM_IMAGES.value, SEED.value, CLASSIFIER.value
    )
    print(report.table(results))
    print(f"Table, JSON and pictures: {printable(OUT.value)}")


if __name__ == "__main__":
    launch.run(main)
