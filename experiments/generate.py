"""Generates faces with an attribute: one PNG each, and a sheet of the first ones.

python -m experiments.generate --attribute=mask --seeds=0-15 --truncation=0.7 --out=DIR [--model=DIR]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tqdm
from absl import flags
from etils import epath

import sdgan_jax
from experiments import launch
from sdgan_jax import interrupts, latents, outputs, pictures
from sdgan_jax.config import Config
from sdgan_jax.model import BATCH
from tfds_megn.listing import printable

MODEL = launch.define_model()
OUT = launch.define_path("out", None, "folder for the images and their sheet", required=True)
ATTRIBUTE = flags.DEFINE_list("attribute", ["none"], "name, or several separated by commas to wear them at once")
SEEDS = flags.DEFINE_string(
    "seeds", "0-15", "random seeds such as 0-15 or 0,3,5-7, one face each; a seed always gives the same face"
)
STRENGTH = flags.DEFINE_float(
    "strength",
    1.0,
    "strength of the attribute: 0 is the face without it, 1 as trained",
    lower_bound=-100.0,
    upper_bound=100.0,
)
TRUNCATION = flags.DEFINE_float(
    "truncation", 1.0, "psi: below 1 trades variety for typical faces", lower_bound=0.0, upper_bound=100.0
)
TRUNCATION_CUTOFF = flags.DEFINE_integer(
    "truncation_cutoff", None, "number of layers that are truncated; all by default", lower_bound=0
)
LABEL = flags.DEFINE_integer(
    "label", None, "class to generate, for imported networks that are conditional", lower_bound=0
)

BY = f"{outputs.MADE_BY} generate"
SHEET_IMAGES = 256


def main(argv: Sequence[str]) -> None:
    """Generates the faces that the flags describe."""
    del argv
    seeds = list(dict.fromkeys(launch.parse_seeds(SEEDS.value)))
    out, name = epath.Path(OUT.value), "+".join(ATTRIBUTE.value)
    outputs.check_folder(out)
    files = {seed: out / f"{name}_seed{seed:04d}.png" for seed in seeds}
    sheet = out / f"{name}_sheet.png"
    outputs.check_own([*files.values(), sheet], BY)
    model = sdgan_jax.load(MODEL.value)
    check_flags(model.config)
    shown: list[np.ndarray] = []
    stopped_at = None
    with interrupts.stop_asked() as stop:
        for first in tqdm.trange(0, len(seeds), BATCH, desc="generate", unit="batch", disable=len(seeds) <= BATCH):
            if stop():
                stopped_at = first
                break
            some = seeds[first : first + BATCH]
            for seed, image in zip(some, generate(model, some), strict=True):
                pictures.write_png(files[seed], image, BY)
                shown += [image] if len(shown) < SHEET_IMAGES else []
    if shown:
        pictures.write_png(sheet, pictures.grid(np.stack(shown), columns=min(8, len(shown))), BY)
    if stopped_at is not None:
        raise KeyboardInterrupt(f"stopped; {stopped_at} of {len(seeds)} images are in {printable(out)}")
    which = "all" if len(shown) == len(seeds) else f"the first {len(shown)}"
    count = "1 image" if len(seeds) == 1 else f"{len(seeds)} images"
    print(f"{count} in {printable(out)}, {which} on {printable(sheet)}")


def check_flags(config: Config) -> None:
    """Checks the flags that depend on the model, before any face is generated.

    Raises:
        ValueError: a flag does not fit the model.
    """
    latents.attribute_weights(ATTRIBUTE.value, config.attributes, 1)
    cutoff, classes = TRUNCATION_CUTOFF.value, config.generator.label_dim
    if cutoff is not None and cutoff > config.num_layers:
        raise ValueError(f"--truncation_cutoff={cutoff}: the model has {config.num_layers} layers")
    if LABEL.value is not None and not classes:
        raise ValueError(f"--label={LABEL.value}: the model knows no classes; leave --label out")
    if classes and (LABEL.value is None or LABEL.value >= classes):
        raise ValueError(f"the model has classes; give --label, from 0 to {classes - 1}")


def generate(model: sdgan_jax.Model, seeds: list[int]) -> np.ndarray:
    """Generates the face u8[N,R,R,3] of each seed with the attribute, strength and truncation of the flags."""
    images = model.generate(
        latents.from_seeds(seeds, model.config.generator.latent_dim),
        ATTRIBUTE.value,
        strength=STRENGTH.value,
        truncation=TRUNCATION.value,
        truncation_cutoff=TRUNCATION_CUTOFF.value,
        label=None if LABEL.value is None else np.full(len(seeds), LABEL.value),
    )
    return pictures.to_uint8(np.asarray(images))


if __name__ == "__main__":
    launch.run(main)
