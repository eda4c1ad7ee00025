"""Measures position maps, identity and wearing on rendered faces of people that the networks never saw.

python -m experiments.measure --out=DIR                                     (the networks that come with the project)
python -m experiments.measure --prnet=runs/prnet64 --identity=runs/identity64 --out=DIR --input=FOLDER     (others)

Prints the tables, and writes measurements.json, position_maps.png (the first faces of the test split), worn.png (by the
true and by the found map) and, with --input, photos.png (position maps over the first of your photos).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from absl import flags
from etils import epath

from experiments import launch
from sdgan_jax import outputs, pictures, pretrained
from sdgan_jax.data import photo_files, rendered
from sdgan_jax.evaluation import networks, report
from tfds_megn.listing import printable

OUT = launch.define_path("out", None, "folder for the tables and pictures", required=True)
PRNET = launch.define_path("prnet", "", "position network directory; the project's own if empty")
IDENTITY = launch.define_path("identity", "", "identity network directory; the project's own if empty")
DATASET = flags.DEFINE_string("dataset", "megn/rendered_64", "rendered faces; their test split is measured on")
DATA_DIR = launch.define_path("data_dir", "", "where prepared data live; TFDS's default if empty")
FACES = flags.DEFINE_integer("faces", 1200, "faces to measure position maps and verification on", lower_bound=60)
WORN = flags.DEFINE_integer("worn", 24, "faces to compare wearing on", lower_bound=6)
INPUT = launch.define_path("input", None, "photo, or folder of photos, to draw position maps over")

BY = f"{outputs.MADE_BY} measure"
RESULTS, SHEETS = "measurements.json", ("position_maps.png", "worn.png", "photos.png")


def main(argv: Sequence[str]) -> None:
    """Measures as the flags say."""
    del argv
    out, results = epath.Path(OUT.value), dict[str, Any]()
    outputs.check_folder(out)
    outputs.check_own([out / name for name in (RESULTS, *SHEETS)], BY)
    shown = photo_files.find(epath.Path(INPUT.value), out) if INPUT.value else []
    network, judge = pretrained.position_network(PRNET.value), pretrained.identity_network(IDENTITY.value)
    networks.known_layout(network)
    faces = rendered.read(DATASET.value, "test", DATA_DIR.value).first(FACES.value)

    def enter(name: str, title: str, table: report.Table) -> None:
        """Prints a table, and stores all there are."""
        results[name] = table
        print(report.text(title, table))
        outputs.write_json(out / RESULTS, results, BY)

    enter("position_maps", "position maps, NME in %", networks.position_errors(network, faces))
    if network.stages:
        enter("uncorrected", "without its stages", networks.position_errors(network.alone, faces))
    pictures.write_png(out / "position_maps.png", networks.map_sheet(network, faces.images[:12]), BY)
    enter("verification", "verification", networks.verification(judge, faces))
    worn, sheet = networks.wear_overlap(network, faces.params[: WORN.value])
    enter("worn", "worn regions", worn)
    pictures.write_png(out / "worn.png", sheet, BY)
    if shown:
        drawn, results["photos"], notes = networks.photo_sheet(network, shown)
        for note in notes:
            print(f"skipped {note}", file=sys.stderr)
        if drawn is not None:
            pictures.write_png(out / "photos.png", drawn, BY)
        outputs.write_json(out / RESULTS, results, BY)
    print(f"Tables and pictures: {printable(out)}")


if __name__ == "__main__":
    launch.run(main)
