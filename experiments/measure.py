"""Measures position maps, identity and wearing on rendered faces of people that the networks never saw.

python -m experiments.measure --out=DIR                                     (the networks that come with the project)
python -m experiments.measure --prnet=runs/prnet64 --identity=runs/identity64 --out=DIR --input=FOLDER     (others)

Prints the tables, and writes measurements.json, position_maps.png (the first faces of the test split), worn.png (by the
true and by the found map) and, with --input, photos.png (position maps over your photos).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from absl import flags
from etils import epath

from experiments import launch
from sdgan_jax import assessment, pictures, pretrained, rendered_faces
from tfds_megn import photos

OUT = flags.DEFINE_string("out", None, "folder for the tables and pictures", required=True)
PRNET = flags.DEFINE_string("prnet", "", "position network directory; the project's own if empty")
IDENTITY = flags.DEFINE_string("identity", "", "identity network directory; the project's own if empty")
DATASET = flags.DEFINE_string("dataset", "megn/rendered_64", "rendered faces; their test split is measured on")
DATA_DIR = flags.DEFINE_string("data_dir", "", "where prepared data live; TFDS's default if empty")
FACES = flags.DEFINE_integer("faces", 1200, "faces to measure position maps and verification on", lower_bound=60)
WORN = flags.DEFINE_integer("worn", 24, "faces to compare wearing on", lower_bound=6)
INPUT = flags.DEFINE_string("input", None, "folder of photos to draw position maps over")


def main(argv: Sequence[str]) -> None:
    """Measures as the flags say."""
    del argv
    out = epath.Path(OUT.value)
    network = pretrained.position_network(PRNET.value)
    shown = read_photos(epath.Path(INPUT.value)) if INPUT.value else []
    faces = rendered_faces.read(DATASET.value, "test", DATA_DIR.value).first(FACES.value)
    results: dict[str, Any] = {"position_maps": assessment.position_errors(network, faces)}
    print(assessment.text("position maps, NME in %", results["position_maps"]))
    if network.stages:
        results["uncorrected"] = assessment.position_errors(network.alone, faces)
        print(assessment.text("without its stages", results["uncorrected"]))
    pictures.write_png(out / "position_maps.png", assessment.map_sheet(network, faces.images[:12]))
    results["verification"] = assessment.verification(pretrained.identity_network(IDENTITY.value), faces)
    print(assessment.text("verification", results["verification"]))
    results["worn"], sheet = assessment.wear_overlap(network, faces.params[: WORN.value])
    print(assessment.text("worn regions", results["worn"]))
    pictures.write_png(out / "worn.png", sheet)
    if shown:
        sheet, scores = assessment.photo_sheet(network, [photo for _, photo in shown])
        pictures.write_png(out / "photos.png", sheet)
        results["photos"] = {str(path): score for (path, _), score in zip(shown, scores, strict=True)}
    (out / "measurements.json").write_text(json.dumps(results, indent=2) + "\n")
    print(f"Tables and pictures: {out}")


def read_photos(folder: epath.Path) -> list[tuple[epath.Path, Any]]:
    """The photos u8[H,W,3] below a folder, in the order of their names.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a photo cannot be read, or there is none.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"--input={folder}: there is no such folder")
    paths = pictures.image_files(folder)
    if not paths:
        raise ValueError(f"--input={folder}: no image; give {', '.join(pictures.IMAGE_SUFFIXES)} files")
    return [(path, photos.read_photo(path)) for path in paths]


if __name__ == "__main__":
    launch.run(main)
