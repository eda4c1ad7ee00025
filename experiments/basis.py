"""Estimates the prior basis of a model: one direction in w for each attribute, by four estimators.

python -m experiments.basis --estimator=svm --out=DIR [--model=DIR] [--samples=4000]

G draws faces, which the attribute classifier judges. The estimators: `random`, the basis that the model has; `means`,
differences of class means; `svm`, InterFaceGAN's normals of linear SVMs, and `svm_conditional`, the same with the other
attributes' directions removed; `paired`, differences of the encoder's latents of faces with and without the attribute.

Writes a model directory with the basis of --estimator, all bases (bases.safetensors), the report on them (basis.txt,
basis.json), and for each a sheet of faces that move along its directions (traversal_<estimator>.png). A model without
attributes gets those of the classifier.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from absl import flags
from etils import epath

import sdgan_jax
import tfds_megn
from experiments import launch
from sdgan_jax import config as config_lib
from sdgan_jax import outputs, pretrained
from sdgan_jax.config import Config
from sdgan_jax.networks import make_networks
from sdgan_jax.pretrained import directories
from sdgan_jax.training.gan import basis, basis_report
from tfds_megn.listing import printable

MODEL = launch.define_model()
OUT = launch.define_path("out", None, "folder for the model with the basis, the report and the sheets", required=True)
ESTIMATOR = flags.DEFINE_enum(
    "estimator", "paired", config_lib.ESTIMATORS, "estimator of the basis of the written model; paired needs an encoder"
)
SAMPLES = flags.DEFINE_integer(
    "samples", config_lib.StagedConfig().basis_samples, "latents, and faces of the data set for paired", lower_bound=100
)
DATA_DIR = launch.define_path("data_dir", "", "where prepared data live; the model's own by default")


def main(argv: Sequence[str]) -> None:
    """Estimates the basis as the flags say."""
    del argv
    out = epath.Path(OUT.value)
    outputs.check_folder(out)
    basis.train(make_networks(make_config(sdgan_jax.load(MODEL.value).config)), out)
    print(basis_report.table(directories.read_object(out / basis_report.JSON)), end="")
    sheets = printable(out / basis_report.SHEET.format("*"))
    print(f"\nModel with the basis: {printable(out)}; faces along its directions: {sheets}")


def make_config(source: Config) -> Config:
    """Returns the config of the stage for the model of the flags, whose config is `source`."""
    estimator: Any = ESTIMATOR.value
    staged = dataclasses.replace(source.staged, basis=estimator, basis_samples=SAMPLES.value)
    model = MODEL.value or str(pretrained.SHIPPED_MODEL)
    config = dataclasses.replace(source, init=model, staged=staged, data_dir=DATA_DIR.value or source.data_dir)
    if config.num_attributes == 1:
        config.attributes = tuple(tfds_megn.ATTRIBUTES)
    return config_lib.validate(config)


if __name__ == "__main__":
    launch.run(main)
