"""Measures position maps, identity, attributes and wearing on rendered faces of people that the networks never saw.

python -m experiments.measure --out=DIR                                     (the networks that come with the project)
python -m experiments.measure --prnet=runs/prnet64 --identity=runs/identity64 --out=DIR --input=FOLDER     (others)
python -m experiments.measure --prnet=runs/varied64 --input=FOLDER --points=FILE --out=DIR  (photos of known truth)

Prints the tables, and writes measurements.json, position_maps.png (the first faces of the test split), worn.png (by the
true and by the found map) and, with --input, photos.png (position maps over the first of your photos).
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from etils import epath

from experiments import launch
from sdgan_jax import outputs, pretrained
from sdgan_jax.data import photo_files, rendered
from sdgan_jax.evaluation import networks, photo_landmarks, report

OUT = launch.define_path("out", None, "folder for the tables and pictures", required=True)
PRNET = launch.define_path("prnet", "", "position network directory; the project's own by default")
IDENTITY = launch.define_path("identity", "", "identity network directory; the project's own by default")
CLASSIFIER = launch.define_path("classifier", "", "attribute classifier directory; the project's own by default")
DATASET = flags.DEFINE_string("dataset", "megn/rendered_64", "rendered faces; their test split is measured on")
DATA_DIR = launch.define_path("data_dir", "", "where prepared data live; TFDS's own folder by default")
FACES = flags.DEFINE_integer("faces", 1200, "faces to measure the three networks on", lower_bound=60)
WORN = flags.DEFINE_integer("worn", 24, "faces to compare wearing on", lower_bound=6)
INPUT = launch.define_path("input", None, "photo, or folder of photos, to draw position maps over")
POINTS = launch.define_path(
    "points", "", "NumPy archive of the true landmarks of the photos, `name` and `points`; only these are measured then"
)

_OF_RENDERED = (IDENTITY, CLASSIFIER, DATASET, DATA_DIR, FACES, WORN)


def main(argv: Sequence[str]) -> None:
    """Measures the networks that the flags name."""
    del argv
    out = epath.Path(OUT.value)
    outputs.check_folder(out)
    outputs.check_own([out / name for name in (networks.RESULTS, *networks.SHEETS)], networks.BY)
    if POINTS.value and not INPUT.value:
        raise ValueError("--points are the landmarks of photos; give their folder by --input")
    unused = [f"--{flag.name}" for flag in _OF_RENDERED if flag.present]
    if POINTS.value and unused:
        raise ValueError(
            f"{', '.join(unused)} belong to rendered faces, and --points measures photos alone; leave them out"
        )
    photos = photo_files.find(epath.Path(INPUT.value), out) if INPUT.value else []
    if POINTS.value:
        points = photo_landmarks.read_points(epath.Path(POINTS.value))
        table = photo_landmarks.measure_photos(pretrained.prnet_network(PRNET.value), photos, points)
        print(report.text("photos, NME in %", table))
        outputs.write_json(out / networks.RESULTS, {"photo_landmarks": table}, networks.BY)
        return
    position, embedder = pretrained.prnet_network(PRNET.value), pretrained.identity_network(IDENTITY.value)
    judge = pretrained.attribute_classifier(CLASSIFIER.value)
    networks.known_layout(position)  # before the data are prepared
    faces = rendered.read(DATASET.value, "test", DATA_DIR.value).first(FACES.value)
    networks.measure_networks(out, position, embedder, judge, faces, WORN.value, photos)


if __name__ == "__main__":
    launch.run(main)
