"""Puts an attribute on the faces of photos: an edited PNG each, and a before/after sheet.

python -m experiments.edit --model=DIR --input=FILE_OR_FOLDER --attribute=mask[,eyeglasses] --strength=1.0 --out=DIR

Photos of any size and shape are cropped to their central square and brought to the model's size. The sheet shows each
photo, what the model makes of it without an edit (its reconstruction), and the edit.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import tqdm
from absl import flags
from etils import epath

import sdgan_jax
from experiments import launch
from sdgan_jax import pictures
from sdgan_jax.model import BATCH
from tfds_megn import photos

MODEL = flags.DEFINE_string("model", None, "training workdir or model directory", required=True)
INPUT = flags.DEFINE_string("input", None, "an image file, or a folder of them", required=True)
OUT = flags.DEFINE_string("out", None, "folder for the edited images and sheet.png", required=True)
ATTRIBUTE = flags.DEFINE_list("attribute", None, "name, or several separated by commas to wear at once", required=True)
STRENGTH = flags.DEFINE_float("strength", 1.0, "of the edit: 0 is the reconstruction, 1 as trained")


def main(argv: Sequence[str]) -> None:
    """Edits what the flags name."""
    del argv
    model = sdgan_jax.load(MODEL.value)
    names, photos_read = read_photos(epath.Path(INPUT.value), model.config.resolution)
    out, rows = epath.Path(OUT.value), []
    for first in tqdm.tqdm(range(0, len(names), BATCH), desc="editing", unit="batch"):
        before = photos_read[first : first + BATCH]
        faces = pictures.to_float(before)
        latent = model.invert(faces)
        drawn = [model.wear(latent, faces, "none"), model.wear(latent, faces, ATTRIBUTE.value, STRENGTH.value)]
        plain, after = (pictures.to_uint8(np.asarray(images)) for images in drawn)
        for name, image in zip(names[first : first + BATCH], after, strict=True):
            pictures.write_png(out / name, image)
        rows.append(np.stack((before, plain, after), axis=1))
    triples = np.concatenate(rows)
    labels = ["photo", "reconstruction", "+".join(ATTRIBUTE.value)]
    pictures.write_png(
        out / "sheet.png", pictures.grid(triples.reshape(-1, *triples.shape[2:]), 3, column_labels=labels)
    )
    print(f"{len(names)} edited images in {out}, before and after on {out / 'sheet.png'}")


def read_photos(source: epath.Path, size: int) -> tuple[list[str], np.ndarray]:
    """Reads one photo or those of a folder, each as a square; what cannot be read is named and left out.

    Args:
        source: an image file or a folder; sub-folders are searched too.
        size: side of the result, in pixels.

    Returns:
        What to call the edited files (as the photos, ending in .png; sub-folders are kept), and u8[N,size,size,3].

    Raises:
        FileNotFoundError: `source` does not exist.
        ValueError: there is no photo that can be read.
    """
    if not source.exists():
        raise FileNotFoundError(f"--input={source}: there is no such file or folder")
    folder = source if source.is_dir() else source.parent
    paths = pictures.image_files(source)
    images: dict[str, np.ndarray] = {}
    for path in paths:
        try:
            square = photos.crop_resize(photos.read_photo(path), size)
        except ValueError as error:
            print(f"skipped {error}", file=sys.stderr)
            continue
        name = str(path.relative_to(folder))
        plain = str(path.relative_to(folder).with_suffix(".png"))
        images[plain if plain not in images else f"{name}.png"] = square  # a.jpg beside a.png keep apart
    if len(images) < len(paths):
        print(f"skipped {len(paths) - len(images)} of {len(paths)} files of {source}", file=sys.stderr)
    if not images:
        raise ValueError(
            f"--input={source}: no image that can be read; give {', '.join(pictures.IMAGE_SUFFIXES)} files"
        )
    return list(images), np.stack(list(images.values()))


if __name__ == "__main__":
    launch.run(main)
