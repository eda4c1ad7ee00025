"""Public weights in, and models out.

python -m experiments.convert --source=FILE --format=auto --out=DIR           # public weights to a model directory
python -m experiments.convert --source=DIR --format=rosinality --out=FILE.pt  # a model to a checkpoint of rosinality
python -m experiments.convert --source=DIR --format=stablehlo --out=FILE      # a generator that jax can call

FILE is a .pt of rosinality/stylegan2-pytorch, or a .pkl of NVlabs stylegan2 (TensorFlow), stylegan2-ada-pytorch or
stylegan3 that holds StyleGAN2 networks; or it becomes a network directory: the .index of PRNet's TensorFlow
checkpoint, IR-SE50's model_ir_se50.pth, or a checkpoint of SD-GAN's official fusion network. Nothing in it is executed.
DIR is a training workdir or a model directory.
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
from sdgan_jax.training.gan import weights
from tfds_megn.listing import printable

OUTWARD = ("rosinality", "stablehlo")  # formats that a model can be written in

SOURCE = launch.define_path("source", None, "a file of public weights, or a model directory", required=True)
FORMAT = flags.DEFINE_enum(
    "format",
    "auto",
    ["auto", *formats.FORMATS, "stablehlo"],
    "in: what the file is, auto looks at it (nvlabs is PyTorch, nvlabs_tf TensorFlow); "
    "out: rosinality or stablehlo, which must be named",
)
PRNET_UV = launch.define_path(
    "prnet_uv", "", "the folder of PRNet's uv_kpt_ind.txt and face_ind.txt; by default that of its checkpoint"
)
OUT = launch.define_path("out", None, "in: the model directory to write; out: the file to write", required=True)


def main(argv: Sequence[str]) -> None:
    """Converts what the flags name."""
    del argv
    source, out = epath.Path(SOURCE.value), epath.Path(OUT.value)
    if source.is_dir():
        if FORMAT.value not in OUTWARD:
            raise ValueError(f"--source={source} is a folder; a model is written by --format={' or '.join(OUTWARD)}")
        notes = write_model(source, FORMAT.value, out)
    else:
        if FORMAT.value == "stablehlo":
            raise ValueError(f"--source={source}: stablehlo files are written only; give a model directory")
        notes = read_weights(source, FORMAT.value, out)
    for note in notes:
        print(f"note: {note}")


def read_weights(source: epath.Path, form: str, out: epath.Path) -> list[str]:
    """Public weights to a model or network directory; returns what to tell the user."""
    if outputs.exists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise ValueError(f"--out={printable(out)} exists and is not empty; give a new folder")
    found, read = formats.read(source, form, PRNET_UV.value)
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
    """A model to a file; returns what to tell the user."""
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


def _describe(config: Config) -> str:
    """A model in a few words."""
    network = config.generator
    labels = f", {network.label_dim} classes" if network.label_dim else ""
    return f"{config.resolution} pixels, {network.mapping_layers} mapping layers{labels}"


if __name__ == "__main__":
    launch.run(main)
