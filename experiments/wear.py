"""Puts masks, glasses and beards on the faces of photos by their shape in space, at the photos' own size.

python -m experiments.wear --input=FILE_OR_FOLDER --attribute=mask[,eyeglasses] --out=DIR [--style=cloth]
    [--colour=#7fb2d9] [--texture=FILE.png] [--random_styles --seed=0 --per_image=4] [--format=same] [--network=DIR]

A position network finds the face and its shape; no detector is needed. Writes a PNG for each photo under its own name,
sheet.png (the first photos, before and after), and manifest.csv, which also says which photos were left out and why.
Pixels away from what is worn stay as they are, and so do the colour profile and the EXIF data; transparent parts are
put on white. The same command, stopped and called again, goes on where it was.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

import jax
import numpy as np
from absl import flags
from etils import epath
from PIL import Image

from experiments import launch
from sdgan_jax import pretrained
from sdgan_jax.data import photo_files
from sdgan_jax.face3d.attire import styles
from sdgan_jax.photos import wearing
from sdgan_jax.pretrained import archive
from tfds_megn.listing import printable

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
RANDOM_STYLES = flags.DEFINE_bool("random_styles", False, "draw the looks at random; what other flags set stays")
SEED = launch.define_seed("seed", 0, "of the random looks")
PER_IMAGE = flags.DEFINE_integer("per_image", 1, "images made of each photo, with --random_styles", lower_bound=1)
FORMAT = flags.DEFINE_enum(
    "format", "png", wearing.FORMATS, "of the images; same: JPEG files become JPEG files, compressed as they were"
)
NETWORK = launch.define_path("network", "", "position network directory; the one that comes with the project if empty")


def main(argv: Sequence[str]) -> None:
    """Dresses what the flags name."""
    del argv
    out, looks = epath.Path(OUT.value), read_looks()
    found = photo_files.find(epath.Path(INPUT.value), out)
    finder = read_finder(NETWORK.value)
    print(wearing.wear_photos(found, out, looks, finder, PER_IMAGE.value, FORMAT.value, texture_paths()))


def read_finder(path: str) -> wearing.Finder:
    """Makes the face finder of a position network.

    Args:
        path: its directory, "" for the one that comes with the project.
    """
    network = pretrained.position_network(path)
    return wearing.Finder(jax.jit(network), network.uv_layout, network.framing, archive.fingerprint(network.variables))


def read_looks() -> wearing.Looks:
    """Reads attributes and styles from the flags.

    Raises:
        FileNotFoundError: a texture is missing.
        ValueError: flags do not fit.
    """
    attributes = ATTRIBUTE.value
    for name in attributes:
        if name not in styles.KINDS:
            raise ValueError(f"--attribute={name}: what can be worn is {', '.join(styles.KINDS)}")
    if len(set(attributes)) < len(attributes) or {"eyeglasses", "sunglasses"} <= set(attributes):
        raise ValueError(f"--attribute={','.join(attributes)}: each can be worn once, and one pair of glasses")
    for flag in (COLOUR, TEXTURE):
        if len(flag.value) not in (0, 1, len(attributes)):
            raise ValueError(f"--{flag.name} has {len(flag.value)} values for {len(attributes)} attributes")
    for kind in STYLE.value:
        if not any(kind in styles.KINDS[name] for name in attributes):
            choices = "; ".join(f"{name}: {', '.join(styles.KINDS[name])}" for name in attributes)
            raise ValueError(f"--style={kind}: no such style; {choices}")
    for name in attributes:
        if len(chosen := [kind for kind in STYLE.value if kind in styles.KINDS[name]]) > 1:
            raise ValueError(f"--style={','.join(chosen)}: {name} takes one style")
    if PER_IMAGE.value > 1 and not RANDOM_STYLES.value:
        raise ValueError("--per_image above 1 needs --random_styles, or all images would be the same")
    textures = tuple((printable(path), read_texture(path)) for path in texture_paths())
    seed = SEED.value if RANDOM_STYLES.value else None
    looks = wearing.Looks(tuple(attributes), tuple(STYLE.value), tuple(COLOUR.value), textures, seed)
    looks.of("")  # refuses colours that cannot be read
    return looks


def texture_paths() -> list[str]:
    """The files of --texture."""
    return [os.path.expanduser(path) for path in TEXTURE.value]


def read_texture(path: str) -> np.ndarray:
    """A picture u8[h,w,4] at no more than 512 a side: finer, nothing of it is left on a face."""
    file = epath.Path(path)
    if not file.exists():
        raise FileNotFoundError(f"--texture={printable(path)}: there is no such file")
    try:
        image = Image.open(io.BytesIO(file.read_bytes())).convert("RGBA")
    except Exception as error:  # Pillow's decoders raise nearly anything
        raise ValueError(f"--texture={printable(path)}: not an image that can be read") from error
    image.thumbnail((512, 512))
    return np.asarray(image)


if __name__ == "__main__":
    launch.run(main)
