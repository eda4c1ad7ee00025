"""Edits the faces of photos with a model: writes each photo with its edited face, and a sheet of before and after.

python -m experiments.edit --input=FILE_OR_FOLDER --attribute=mask[,eyeglasses] --strength=1.0 --out=DIR [--model=DIR]
python -m experiments.edit --input=FILE_OR_FOLDER --remove=eyeglasses --out=DIR [--steps=50] [--pivotal=100]
python -m experiments.edit --input=FILE_OR_FOLDER --attribute=mask --align=off --out=DIR    (photos that are crops)

The faces of each photo are found, cut out upright as the model's training images were, edited, and pasted back at the
photo's own size, behind the larger faces of the photo: what the edit does not change stays as it was, and so do the
colour profile and the EXIF data. Results are RGB with 8 bits per channel; transparent parts are put on white. With
--align=off the central square of each photo is edited at the model's size. sheet.png shows the first photos, their
largest faces, the model's reconstruction of each without an edit, and the edit. manifest.csv has a row for each face,
and lists the photos that were left out, with the reason. If the command was stopped, the same command continues its
work.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from etils import epath

import sdgan_jax
from experiments import launch
from sdgan_jax.data import photo_files
from sdgan_jax.photos import editing, finders, picture_files

MODEL = launch.define_model()
INPUT = launch.define_path("input", None, "an image file, or a folder of them", required=True)
OUT = launch.define_path("out", None, "folder for the edited images, sheet.png and manifest.csv", required=True)
ATTRIBUTE = flags.DEFINE_list("attribute", [], "name, or several separated by commas to wear at once")
REMOVE = flags.DEFINE_list("remove", [], "name, or several, to take off; this or --attribute is required")
STRENGTH = flags.DEFINE_float(
    "strength",
    1.0,
    "strength of the edit: 0 gives the photo back, 1 is as trained",
    lower_bound=-100.0,
    upper_bound=100.0,
)
STEPS = flags.DEFINE_integer(
    "steps",
    None,
    "steps of optimisation that improve the latents of the photos; when not given, none for a model with an encoder",
    lower_bound=0,
    upper_bound=100_000,
)
PIVOTAL = flags.DEFINE_integer(
    "pivotal",
    0,
    "steps of pivotal tuning: a copy of G is trained on each face, which then looks more like the photo; 0 for none",
    lower_bound=0,
    upper_bound=100_000,
)
LPIPS = launch.define_path(
    "lpips",
    "",
    "network directory of LPIPS (experiments.convert), the perceptual distance of --steps and --pivotal; features of "
    "the project's own networks by default",
)
ALIGN = flags.DEFINE_enum(
    "align",
    "auto",
    ["auto", "off"],
    "auto: find the face and edit it in its place; off: edit the central square of each photo as it is",
)
NETWORK = launch.define_network()
FACES = flags.DEFINE_string("faces", "all", "all, largest, or a number: so many faces of each photo, the largest")
FORMAT = flags.DEFINE_enum(
    "format",
    "png",
    picture_files.FORMATS,
    "file format of the images; same: JPEG files become JPEG files, compressed as they were",
)


def main(argv: Sequence[str]) -> None:
    """Edits the photos that the flags name."""
    del argv
    out = epath.Path(OUT.value)
    if ALIGN.value == "off" and (NETWORK.value or FACES.present):
        raise ValueError("--network and --faces are about finding faces, which --align=off leaves out; leave them out")
    most = finders.read_most(FACES.value)
    found = photo_files.find(epath.Path(INPUT.value), out)
    edit = editing.Edit(ATTRIBUTE.value, REMOVE.value, STRENGTH.value, STEPS.value, PIVOTAL.value, LPIPS.value)
    model = sdgan_jax.load(MODEL.value, lpips=LPIPS.value)
    if LPIPS.value and "E" in model.params and not (STEPS.value or PIVOTAL.value):
        raise ValueError("--lpips is the distance of a search; give --steps or --pivotal too, or leave it out")
    finder = finders.read_finder(NETWORK.value) if ALIGN.value == "auto" else None
    print(editing.edit_photos(model, found, out, edit, finder, FORMAT.value, most))
    if finder and (line := editing.describe_domain(model)):
        print(line)


if __name__ == "__main__":
    launch.run(main)
