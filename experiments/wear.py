"""Draws masks, glasses and beards on the faces of photos in 3D, at the photos' own size.

python -m experiments.wear --input=FILE_OR_FOLDER --attribute=mask[,eyeglasses] --out=DIR [--style=cloth]
    [--colour=#7fb2d9] [--texture=FILE.png] [--random_styles --seed=0 --per_image=4] [--format=same] [--network=DIR]
    [--faces=largest] [--landmarks]

A position network finds the faces and their shapes. Writes a PNG for each photo under its own name, sheet.png (the
first photos, before and after), and manifest.csv with a row for each face, which also lists the photos that were left
out, with the reason. --landmarks also writes landmarks.json, the 68 landmarks of each face in pixels of the photo. All
other pixels stay as they are, and so do the colour profile and the EXIF data. Results are RGB with 8 bits per channel;
transparent parts are put on white. If the command was stopped, the same command continues its work.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from etils import epath

from experiments import launch
from sdgan_jax.data import photo_files
from sdgan_jax.face3d.attire import styles
from sdgan_jax.photos import beam_wearing, finders, looks, picture_files, wearing

INPUT = launch.define_path("input", None, "an image file, or a folder of them", required=True)
OUT = launch.define_path("out", None, "folder for the images, sheet.png and manifest.csv", required=True)
ATTRIBUTE = flags.DEFINE_list("attribute", None, "name, or several separated by commas to wear at once", required=True)
STYLE = flags.DEFINE_list(
    "style",
    [],
    "forms, e.g. cloth or cloth,round: " + "; ".join(f"{k}: {', '.join(v)}" for k, v in styles.KINDS.items()),
)
COLOUR = flags.DEFINE_list("colour", [], "#rrggbb of cloth, rims or hair; one, or one for each attribute")
TEXTURE = flags.DEFINE_list("texture", [], "PNG with transparency laid onto it; one, or one for each attribute")
RANDOM_STYLES = flags.DEFINE_bool("random_styles", False, "choose the styles at random; values of other flags stay")
SEED = launch.define_seed("seed", 0, "random seed of the styles")
PER_IMAGE = flags.DEFINE_integer(
    "per_image",
    1,
    f"images made of each photo, with --random_styles; at most {looks.MOST_PER_IMAGE}",
    lower_bound=1,
)
FORMAT = flags.DEFINE_enum(
    "format",
    "png",
    picture_files.FORMATS,
    "file format of the images; same: JPEG files become JPEG files, compressed as they were",
)
NETWORK = launch.define_network()
FACES = flags.DEFINE_string("faces", "all", "all, largest, or a number: so many faces of each photo, the largest")
LANDMARKS = flags.DEFINE_bool("landmarks", False, "also write the 68 landmarks of each face to landmarks.json")
RUNNER = flags.DEFINE_string(
    "runner",
    None,
    "runner of Apache Beam, such as DirectRunner or DataflowRunner, for very many photos: writes the same images and "
    "manifest-*.csv, without sheet.png; needs pip install -e '.[beam]'",
)
PIPELINE_OPTIONS = flags.DEFINE_list(
    "pipeline_options", [], "options of Beam with --runner, such as direct_num_workers=4 or project=p,region=r"
)


def main(argv: Sequence[str]) -> None:
    """Draws the attributes that the flags name."""
    del argv
    if SEED.present and not RANDOM_STYLES.value:
        raise ValueError("--seed chooses among random styles; give --random_styles too, or leave it out")
    seed = SEED.value if RANDOM_STYLES.value else None
    chosen = looks.read(ATTRIBUTE.value, STYLE.value, COLOUR.value, TEXTURE.value, seed, PER_IMAGE.value)
    out = epath.Path(OUT.value)
    found = photo_files.find(epath.Path(INPUT.value), out)
    most = finders.read_most(FACES.value)
    if PIPELINE_OPTIONS.value and not RUNNER.value:
        raise ValueError("--pipeline_options are those of Beam; give --runner too, or leave them out")
    if RUNNER.value:
        if LANDMARKS.value:
            raise ValueError(
                "--landmarks writes one file of all photos, which --runner does not; leave one of them out"
            )
        job = beam_wearing.Job(OUT.value, chosen, NETWORK.value, FORMAT.value, most)
        print(beam_wearing.wear_photos(found, job, RUNNER.value, PIPELINE_OPTIONS.value))
        return
    finder = finders.read_finder(NETWORK.value)
    print(wearing.wear_photos(found, out, chosen, finder, FORMAT.value, most, LANDMARKS.value))


if __name__ == "__main__":
    launch.run(main)
