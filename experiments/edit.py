"""Edits photos with a model: writes a PNG with the attribute for each photo, and a sheet of before and after.

python -m experiments.edit --input=FILE_OR_FOLDER --attribute=mask[,eyeglasses] --strength=1.0 --out=DIR [--model=DIR]

Photos of any size and shape are cropped to their central square and resized to the model's resolution. sheet.png shows
the first photos, the model's reconstruction of each without an edit, and the edit. manifest.csv has a row for each
photo, and lists the photos that were left out, with the reason. If the command was stopped, the same command continues
its work.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from etils import epath

import sdgan_jax
from experiments import launch
from sdgan_jax.data import photo_files
from sdgan_jax.photos import editing

MODEL = launch.define_model()
INPUT = launch.define_path("input", None, "an image file, or a folder of them", required=True)
OUT = launch.define_path("out", None, "folder for the edited images, sheet.png and manifest.csv", required=True)
ATTRIBUTE = flags.DEFINE_list("attribute", None, "name, or several separated by commas to wear at once", required=True)
STRENGTH = flags.DEFINE_float("strength", 1.0, "strength of the edit: 0 is the reconstruction, 1 as trained")


def main(argv: Sequence[str]) -> None:
    """Edits the photos that the flags name."""
    del argv
    out = epath.Path(OUT.value)
    found = photo_files.find(epath.Path(INPUT.value), out)
    print(editing.edit_photos(sdgan_jax.load(MODEL.value), found, out, ATTRIBUTE.value, STRENGTH.value))


if __name__ == "__main__":
    launch.run(main)
