"""Draws faces that wear an attribute: one PNG each, and a sheet of all.

python -m experiments.generate --model=DIR --attribute=mask --seeds=0-15 --truncation=0.7 --out=DIR
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
from absl import flags
from etils import epath

import sdgan_jax
from experiments import launch
from sdgan_jax import pictures

MODEL = flags.DEFINE_string("model", None, "training workdir or model directory", required=True)
OUT = flags.DEFINE_string("out", None, "folder for the images and sheet.png", required=True)
ATTRIBUTE = flags.DEFINE_list("attribute", ["none"], "name, or several separated by commas to wear them at once")
SEEDS = flags.DEFINE_string("seeds", "0-15", "a face each, such as 0-15 or 0,3,5-7; a seed is the same face everywhere")
STRENGTH = flags.DEFINE_float("strength", 1.0, "of the attribute: 0 is the face without it, 1 as trained")
TRUNCATION = flags.DEFINE_float("truncation", 1.0, "psi: below 1 trades variety for typical faces", lower_bound=0.0)
TRUNCATION_CUTOFF = flags.DEFINE_integer("truncation_cutoff", None, "layers that are truncated; all when not given")
LABEL = flags.DEFINE_integer("label", None, "class to draw, for imported networks that are conditional")


def main(argv: Sequence[str]) -> None:
    """Draws what the flags ask for."""
    del argv
    seeds = launch.parse_seeds(SEEDS.value)
    model = sdgan_jax.load(MODEL.value)
    dim = model.config.generator.latent_dim
    z = np.stack([jax.random.normal(jax.random.key(seed), (dim,)) for seed in seeds])
    drawn = model.generate(
        z,
        ATTRIBUTE.value,
        strength=STRENGTH.value,
        truncation=TRUNCATION.value,
        truncation_cutoff=TRUNCATION_CUTOFF.value,
        label=None if LABEL.value is None else np.full(len(seeds), LABEL.value),
    )
    images = pictures.to_uint8(np.asarray(drawn))
    out, name = epath.Path(OUT.value), "+".join(ATTRIBUTE.value)
    for seed, image in zip(seeds, images, strict=True):
        pictures.write_png(out / f"{name}_seed{seed:04d}.png", image)
    sheet = out / f"{name}_sheet.png"
    pictures.write_png(sheet, pictures.grid(images, columns=min(8, len(images))))
    print(f"{len(images)} images in {out}, all on {sheet}")


if __name__ == "__main__":
    launch.run(main)
