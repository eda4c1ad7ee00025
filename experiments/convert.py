"""Reads public weights, writes models for other programs, and rewrites model and network directories.

python -m experiments.convert --source=FILE --out=DIR                         # public weights to a model directory
python -m experiments.convert --source=DIR --format=rosinality --out=FILE.pt  # a model to a checkpoint of rosinality
python -m experiments.convert --source=DIR --format=stablehlo --out=FILE      # a generator that jax can call
python -m experiments.convert --source=DIR --out=DIR2                         # a directory with weights.safetensors

FILE is a .pt of rosinality/stylegan2-pytorch, or a .pkl of NVlabs stylegan2 (TensorFlow), stylegan2-ada-pytorch or
stylegan3 that contains StyleGAN2 networks; or it becomes a network directory: the .index of PRNet's TensorFlow
checkpoint, IR-SE50's model_ir_se50.pth, or a checkpoint of SD-GAN's official fusion network. Nothing in it is executed.
DIR is a training workdir or a model directory; the last command also takes a network directory. It makes a model
directory of the newest checkpoint of a workdir, and rewrites the arrays of a weights.npz, the old format.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from etils import epath

import sdgan_jax
from experiments import launch
from sdgan_jax import outputs, pretrained
from sdgan_jax.config import Config
from sdgan_jax.importers import formats, rosinality, stablehlo
from sdgan_jax.importers.assembly import Network
from sdgan_jax.pretrained import archive, directories
from sdgan_jax.training.gan import weights
from tfds_megn.listing import printable

OUTWARD = ("rosinality", "stablehlo")  # formats that a model can be written in

SOURCE = launch.define_path("source", None, "a file of public weights, or a model or network directory", required=True)
FORMAT = flags.DEFINE_enum(
    "format",
    "auto",
    ["auto", *formats.FORMATS, "stablehlo"],
    "of a file that is read: auto looks at it (nvlabs is PyTorch, nvlabs_tf TensorFlow); "
    "of a file that is written: rosinality or stablehlo",
)
PRNET_UV = launch.define_path(
    "prnet_uv", "", "the folder of PRNet's uv_kpt_ind.txt and face_ind.txt; by default that of its checkpoint"
)
OUT = launch.define_path(
    "out", None, "the directory to write, or with --format=rosinality or stablehlo the file", required=True
)


def main(argv: Sequence[str]) -> None:
    """Converts what the flags name."""
    del argv
    source, out = epath.Path(SOURCE.value), epath.Path(OUT.value)
    if source.is_dir() and FORMAT.value == "auto":
        notes = rewrite(source, out)
    elif source.is_dir():
        if FORMAT.value not in OUTWARD:
            raise ValueError(f"--source={source} is a folder; a model is written by --format={' or '.join(OUTWARD)}")
        notes = write_model(source, FORMAT.value, out)
    else:
        if FORMAT.value == "stablehlo":
            raise ValueError(f"--source={source}: stablehlo files are written only; give a model directory")
        notes = read_weights(source, FORMAT.value, out, PRNET_UV.value)
    for note in notes:
        print(f"note: {note}")


def read_weights(source: epath.Path, form: str, out: epath.Path, prnet_uv: str = "") -> list[str]:
    """Makes a model or network directory of public weights; returns notes for the user."""
    _check_new_folder(out)
    found, read = formats.read(source, form, prnet_uv)
    with outputs.in_one_piece(out) as folder:
        if isinstance(read, Network):
            pretrained.write(folder, read.kind, read.settings, read.variables)
        else:
            weights.write(folder, read.config, read.trees)
    if isinstance(read, Network):
        print(f"{printable(source)} ({found}): {read.description}; network in {printable(out)}")
    else:
        print(f"{printable(source)} ({found}): {_describe(read.config)}; model in {printable(out)}")
    return read.notes


def write_model(source: epath.Path, form: str, out: epath.Path) -> list[str]:
    """Writes a model to a file; returns notes for the user."""
    if outputs.exists(out):
        way_out = "give the file to write" if out.is_dir() else "give a new one"
        raise ValueError(f"--out={printable(out)} is a {'folder' if out.is_dir() else 'file'}; {way_out}")
    if form == "stablehlo":
        model = sdgan_jax.load(source)
        with outputs.in_one_piece(out) as file:
            stablehlo.write(file, model)
        print(
            f"{printable(source)}: {_describe(model.config)}; {stablehlo.signature(model.config)} in {printable(out)}"
        )
        return []
    nets, trees = weights.read(source)
    config = nets.config
    with outputs.in_one_piece(out) as file:
        notes = rosinality.write(file, config, trees)
    print(f"{printable(source)}: {_describe(config)}; checkpoint in {printable(out)}")
    return notes


def rewrite(source: epath.Path, out: epath.Path) -> list[str]:
    """Writes a model or network directory anew, its arrays as safetensors; returns notes for the user."""
    _check_new_folder(out)
    settings = source / directories.NETWORK
    if not settings.exists():
        settings = source / directories.CONFIG
        directories.check_model(directories.checkpoint_of(source)[0])
    if (file := directories.weights_of(source)) is not None:
        with outputs.in_one_piece(out) as folder:
            folder.mkdir(parents=True, exist_ok=True)
            archive.rewrite(file, folder / directories.WEIGHTS)
            (folder / settings.name).write_bytes(settings.read_bytes())
    elif settings.name == directories.NETWORK:
        raise FileNotFoundError(f"{source} has no {directories.WEIGHTS}; give a complete network directory")
    else:
        nets, trees = weights.read(source)
        with outputs.in_one_piece(out) as folder:
            weights.write(folder, nets.config, trees)
    print(f"{printable(source)}: written anew in {printable(out)}")
    return []


def _check_new_folder(out: epath.Path) -> None:
    """Raises `ValueError` where there is something else than an empty folder."""
    if outputs.exists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise ValueError(f"--out={printable(out)} exists and is not empty; give a new folder")


def _describe(config: Config) -> str:
    """Describes a model in a few words."""
    network = config.generator
    labels = f", {network.label_dim} classes" if network.label_dim else ""
    return f"{config.resolution} pixels, {network.mapping_layers} mapping layers{labels}"


if __name__ == "__main__":
    launch.run(main)
