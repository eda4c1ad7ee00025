"""Reads public weights, writes models for other programs, and rewrites model and network directories.

python -m experiments.convert --source=FILE --out=DIR                         # public weights to a model directory
python -m experiments.convert --source=DIR --format=rosinality --out=FILE.pt  # a model to a checkpoint of rosinality
python -m experiments.convert --source=DIR --format=stablehlo --out=FILE      # a generator that jax can call
python -m experiments.convert --source=DIR --out=DIR2                         # a directory with weights.safetensors

FILE is a .pt of rosinality/stylegan2-pytorch, or a .pkl of NVlabs stylegan2 (TensorFlow), stylegan2-ada-pytorch or
stylegan3 that contains StyleGAN2 networks; or it becomes a network directory: the .index of PRNet's TensorFlow
checkpoint, IR-SE50's model_ir_se50.pth, a checkpoint of SD-GAN's official fusion network, the Inception of FID
(pt_inception-2015-12-05-6726825d.pth, weights-inception-2015-12-05-6726825d.pth), or for LPIPS torchvision's
vgg16-*.pth or alexnet-*.pth, with the heads of the package lpips in --lpips_heads, or MediaPipe's
face_landmarker.task, a face detector and a face mesh. Nothing in it is executed.

DIR is a training workdir or a model directory; the last command also takes a network directory. It makes a model
directory of the newest checkpoint of a workdir, and rewrites the arrays of a weights.npz, the old format.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from etils import epath

from experiments import launch
from sdgan_jax.importers import conversion, formats
from tfds_megn.listing import printable

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
LPIPS_HEADS = launch.define_path(
    "lpips_heads",
    "",
    "the heads of LPIPS, lpips/weights/v0.1/vgg.pth or alex.pth of the package lpips; by default the file of that name "
    "in the folder of --source",
)
OUT = launch.define_path(
    "out", None, "the directory to write, or with --format=rosinality or stablehlo the file", required=True
)


def main(argv: Sequence[str]) -> None:
    """Converts what the flags name."""
    del argv
    source, out = epath.Path(SOURCE.value), epath.Path(OUT.value)
    others = [f"--{flag.name}" for flag in (PRNET_UV, LPIPS_HEADS) if flag.value]
    if source.is_dir() and others:
        raise ValueError(
            f"{', '.join(others)} belong to files of public weights, and --source={printable(source)} is a folder; "
            "leave them out"
        )
    if source.is_dir() and FORMAT.value == "auto":
        notes = conversion.rewrite(source, out)
    elif source.is_dir():
        if FORMAT.value not in conversion.OUTWARD:
            raise ValueError(
                f"--source={source} is a folder; a model is written by --format={' or '.join(conversion.OUTWARD)}"
            )
        notes = conversion.write_model(source, FORMAT.value, out)
    else:
        if FORMAT.value == "stablehlo":
            raise ValueError(f"--source={source}: stablehlo files are written only; give a model directory")
        notes = conversion.read_weights(source, FORMAT.value, out, PRNET_UV.value, LPIPS_HEADS.value)
    for note in notes:
        print(f"note: {note}")


if __name__ == "__main__":
    launch.run(main)
