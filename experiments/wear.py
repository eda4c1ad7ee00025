"""Puts masks, glasses and beards on the faces of photos by their shape in space, at the photos' own size.

python -m experiments.wear --input=FILE_OR_FOLDER --attribute=mask[,eyeglasses] --out=DIR [--style=cloth]
    [--colour=#7fb2d9] [--texture=FILE.png] [--random_styles --seed=0 --per_image=4] [--network=DIR]

A position network finds the face and its shape; no detector is needed. Writes a PNG for each photo under its own name,
sheet.png (before and after), and manifest.csv, which also says which photos were left out and why.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from absl import flags
from etils import epath
from PIL import Image

from experiments import launch
from sdgan_jax import pictures, pretrained
from sdgan_jax.face3d import finding, geometry, layout, styles, wear
from tfds_megn import photos

INPUT = flags.DEFINE_string("input", None, "an image file, or a folder of them", required=True)
OUT = flags.DEFINE_string("out", None, "folder for the images, sheet.png and manifest.csv", required=True)
ATTRIBUTE = flags.DEFINE_list("attribute", None, "name, or several separated by commas to wear at once", required=True)
STYLE = flags.DEFINE_list(
    "style",
    [],
    "forms, e.g. cloth or cloth,round: " + "; ".join(f"{k}: {', '.join(v)}" for k, v in styles.KINDS.items()),
)
COLOUR = flags.DEFINE_list("colour", [], "#rrggbb of cloth, rims or hair; one, or one for each attribute")
TEXTURE = flags.DEFINE_list("texture", [], "PNG with transparency laid onto it; one, or one for each attribute")
RANDOM_STYLES = flags.DEFINE_bool("random_styles", False, "draw the looks at random; what other flags set stays")
SEED = flags.DEFINE_integer("seed", 0, "of the random looks", lower_bound=0)
PER_IMAGE = flags.DEFINE_integer("per_image", 1, "images made of each photo, with --random_styles", lower_bound=1)
NETWORK = flags.DEFINE_string("network", "", "position network directory; the one that comes with the project if empty")

COLUMNS = ("file", "out", "attribute", "style", "colour", "texture", "score", "left", "top", "right", "bottom",
           "yaw", "pitch", "roll", "note")  # fmt: skip
SHEET_PHOTOS, CELL = 24, 256


def main(argv: Sequence[str]) -> None:
    """Dresses what the flags name."""
    del argv
    source, out = epath.Path(INPUT.value), epath.Path(OUT.value)
    worn = _check(ATTRIBUTE.value)
    looks = [_looks(worn, k) for k in range(PER_IMAGE.value)]  # refuses bad flags before the network is read
    predict, square, framing = read_network(NETWORK.value)
    rows: list[dict[str, Any]] = []
    cells: list[np.ndarray] = []
    names = _names(source)
    for number, (path, name) in enumerate(tqdm.tqdm(names.items(), desc="wearing", unit="photo")):
        row: dict[str, Any] = {"file": str(path), "attribute": "+".join(worn)}
        try:
            photo = photos.read_photo(path)
        except ValueError as error:
            rows.append(row | {"note": str(error)})
            continue
        found = finding.find(photo, predict, square, framing)
        if found is None:
            rows.append(row | {"note": "no face found"})
            continue
        row |= _where(found, square)
        made = []
        for k in range(PER_IMAGE.value):
            if RANDOM_STYLES.value:
                looks[k] = _looks(worn, number * PER_IMAGE.value + k)
            made.append(wear.wear_photo(photo, found.position_map, looks[k], square))
            file = name if PER_IMAGE.value == 1 else str(epath.Path(name).with_suffix(f".{k}.png"))
            pictures.write_png(out / file, made[-1])
            rows.append(row | {"out": file} | _describe(looks[k]))
        if len(cells) < SHEET_PHOTOS:
            cells.append(np.stack([pictures.square(image, CELL) for image in (photo, *made[:3])]))
    _report(out, rows, cells)


def read_network(path: str) -> tuple[Callable, layout.Layout, finding.Framing]:
    """A position network: from images to position maps, how these lie, and how the faces were framed it knows.

    Args:
        path: its directory, "" for the one that comes with the project.
    """
    network = pretrained.position_network(path)
    return jax.jit(network), network.uv_layout, network.framing


def _check(attributes: Sequence[str]) -> list[str]:
    """The attributes to wear, if the flags about them fit."""
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
    if PER_IMAGE.value > 1 and not RANDOM_STYLES.value:
        raise ValueError("--per_image above 1 needs --random_styles, or all images would be the same")
    return list(attributes)


def _looks(worn: list[str], number: int) -> dict[str, styles.Style]:
    """A style for each attribute, by the flags."""
    looks = {}
    for k, name in enumerate(worn):
        kind = next((kind for kind in STYLE.value if kind in styles.KINDS[name]), None)
        if RANDOM_STYLES.value:
            style = styles.random_style(name, SEED.value * 1_000_003 + number, kind)
        else:
            style = styles.default_style(name, kind)
        if COLOUR.value:
            style = dataclasses.replace(style, colour=styles.parse_colour(COLOUR.value[k % len(COLOUR.value)]))
        if TEXTURE.value:
            style = dataclasses.replace(style, texture=_texture(TEXTURE.value[k % len(TEXTURE.value)]))
        looks[name] = style
    return looks


def _texture(path: str) -> np.ndarray:
    """A picture u8[h,w,4] at no more than 512 a side: finer, nothing of it is left on a face."""
    file = epath.Path(path)
    if not file.exists():
        raise FileNotFoundError(f"--texture={path}: there is no such file")
    try:
        image = Image.open(io.BytesIO(file.read_bytes())).convert("RGBA")
    except Exception as error:  # Pillow's decoders raise nearly anything
        raise ValueError(f"--texture={path}: not an image that can be read") from error
    image.thumbnail((512, 512))
    return np.asarray(image)


def _names(source: epath.Path) -> dict[epath.Path, str]:
    """The image files to read, and what to call what is made of them."""
    if not source.exists():
        raise FileNotFoundError(f"--input={source}: there is no such file or folder")
    folder = source if source.is_dir() else source.parent
    paths = pictures.image_files(source)
    if not paths:
        raise ValueError(f"--input={source}: no image; give {', '.join(pictures.IMAGE_SUFFIXES)} files")
    names: dict[epath.Path, str] = {}
    for path in paths:
        plain = str(path.relative_to(folder).with_suffix(".png"))
        # a.jpg beside a.png keep apart.
        names[path] = plain if plain not in names.values() else f"{path.relative_to(folder)}.png"
    return names


def _where(found: finding.Found, square: layout.Layout) -> dict[str, Any]:
    """Columns of the manifest: score, box, angles in degrees."""
    pose = geometry.pose(jnp.asarray(found.position_map), square)
    angles = {name: round(float(np.rad2deg(getattr(pose, name))), 2) for name in ("yaw", "pitch", "roll")}
    box = zip(("left", "top", "right", "bottom"), (round(float(x), 1) for x in found.box))
    return {"score": round(found.score, 4)} | dict(box) | angles


def _describe(looks: dict[str, styles.Style]) -> dict[str, str]:
    """Columns of the manifest: how it is worn."""

    def hexadecimal(colour: Any) -> str:
        return "" if colour is None else "#" + "".join(f"{round(255 * float(c)):02x}" for c in colour)

    return {
        "style": "+".join(style.kind for style in looks.values()),
        "colour": "+".join(hexadecimal(style.colour) for style in looks.values()),
        "texture": "+".join(TEXTURE.value),
    }


def _report(out: epath.Path, rows: list[dict[str, Any]], cells: list[np.ndarray]) -> None:
    """Writes manifest and sheet, and says how it went."""
    out.mkdir(parents=True, exist_ok=True)
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    (out / "manifest.csv").write_text(table.getvalue())
    skipped = [row for row in rows if "note" in row]
    for row in skipped:
        print(f"skipped {row['file']}: {row['note']}", file=sys.stderr)
    if not cells:
        raise ValueError(f"nothing could be done with the {len(rows)} photos of --input; see {out / 'manifest.csv'}")
    together = max(1, min(len(cells), 8 // len(cells[0])))  # photos in a row of the sheet
    labels = (["photo"] + ["+".join(ATTRIBUTE.value)] * (len(cells[0]) - 1)) * together
    sheet = np.concatenate(cells)
    pictures.write_png(out / "sheet.png", pictures.grid(sheet, together * len(cells[0]), column_labels=labels))
    print(f"{len(rows) - len(skipped)} images in {out}, before and after on {out / 'sheet.png'}")


if __name__ == "__main__":
    launch.run(main)
