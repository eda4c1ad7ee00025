"""Edits photos with a model: writes a PNG with the attribute for each photo, and a sheet of before and after.

python -m experiments.edit --input=FILE_OR_FOLDER --attribute=mask[,eyeglasses] --strength=1.0 --out=DIR [--model=DIR]
python -m experiments.edit --input=FILE_OR_FOLDER --remove=eyeglasses --out=DIR

Photos of any size and shape are cropped to their central square and resized to the model's resolution. The edit is
blended into the photo: what it does not change stays as it was. sheet.png shows the first photos, the model's
reconstruction of each without an edit, and the edit. manifest.csv has a row for each
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
ATTRIBUTE = flags.DEFINE_list("attribute", [], "name, or several separated by commas to wear at once")
REMOVE = flags.DEFINE_list("remove", [], "name, or several, to take off; this or --attribute is required")
STRENGTH = flags.DEFINE_float("strength", 1.0, "strength of the edit: 0 gives the photo back, 1 is as trained")
STEPS = flags.DEFINE_integer(
    "steps",
    None,
    "steps of optimisation that improve the latents of the photos; when not given, none for a model with an encoder",
    lower_bound=0,
    upper_bound=100_000,
)


def main(argv: Sequence[str]) -> None:
    """Edits the photos that the flags name."""
    del argv
    out = epath.Path(OUT.value)
    found = photo_files.find(epath.Path(INPUT.value), out)
    edit = editing.Edit(ATTRIBUTE.value, REMOVE.value, STRENGTH.value, STEPS.value)
    print(editing.edit_photos(sdgan_jax.load(MODEL.value), found, out, edit))


if __name__ == "__main__":
    launch.run(main)
