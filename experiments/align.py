"""Aligns labelled photos for a data set: cuts out the face of each photo as the training images of a model are.

python -m experiments.align --input=FOLDER_OR_ZIP --out=DIR [--network=MESH] [--crop=ffhq] [--size=512]

FOLDER_OR_ZIP is a manual_dir of megn/photos_<R>: photos in a folder for each attribute, or with a labels.csv. Then
DIR/photos is another one, with a square around the largest face of each photo; a photo without a face becomes its
central square. experiments.train does this by itself; the command is for other uses of the data set, and for looking
at the result first: DIR/sheet.png shows the first photos, and DIR/manifest.csv has a row for each photo: the crop, the
face, the split, and the number of its group of near-duplicates. If the command was stopped, the same command continues
its work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from absl import flags
from etils import epath

from experiments import launch
from sdgan_jax.face3d import face_crop
from sdgan_jax.photos import aligning, finders

INPUT = launch.define_path("input", None, "folder or zip of labelled photos", required=True)
OUT = launch.define_path("out", None, "folder for photos/, manifest.csv and sheet.png", required=True)
NETWORK = launch.define_network()
CROP: flags.FlagHolder[Any] = flags.DEFINE_enum(
    "crop", "megn", list(face_crop.CROPS), "megn: as rendered faces are framed; ffhq: as in FFHQ"
)
SIZE = flags.DEFINE_integer("size", aligning.SIZE, "width and height of the results", lower_bound=16, upper_bound=4096)


def main(argv: Sequence[str]) -> None:
    """Aligns the photos that the flags name."""
    del argv
    out = epath.Path(OUT.value)
    finder = finders.read_finder(NETWORK.value)
    print(aligning.align_photos(epath.Path(INPUT.value), out, finder, CROP.value, SIZE.value))
    print(f"Use them by --config.manual_dir={out / aligning.PHOTOS}, or as manual_dir of megn/photos_<R>")


if __name__ == "__main__":
    launch.run(main)
