"""Conversion of files: public weights to directories, models to files of other programs, old directories to new ones.

Each function writes its result in one piece and prints a line about it.
"""

from __future__ import annotations

from etils import epath

from sdgan_jax import model as model_lib
from sdgan_jax import outputs, pretrained
from sdgan_jax.config import Config
from sdgan_jax.importers import formats, rosinality, stablehlo
from sdgan_jax.importers.assembly import Network
from sdgan_jax.pretrained import archive, directories
from sdgan_jax.training.gan import weights
from tfds_megn.listing import printable

OUTWARD = ("rosinality", "stablehlo")  # formats that a model can be written in


def read_weights(
    source: epath.Path, form: str, out: epath.Path, prnet_uv: str = "", lpips_heads: str = ""
) -> list[str]:
    """Makes a model or network directory of public weights; returns notes for the user."""
    _check_new_folder(out)
    if source.name in (directories.WEIGHTS, directories.OLD_WEIGHTS) and source.exists():
        raise ValueError(f"--source={source} is part of a model or network directory; give --source={source.parent}")
    found, read = formats.read(source, form, prnet_uv, lpips_heads)
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
        model = model_lib.load(source)
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
    """Rewrites a model or network directory with its arrays as safetensors; returns notes for the user.

    The bases beside a model, which the edit benchmark measures, go with it.
    """
    _check_new_folder(out)
    settings, bases = source / directories.NETWORK, None
    if not settings.exists():
        settings, bases = source / directories.CONFIG, directories.bases_of(source)
        directories.check_model(directories.checkpoint_of(source)[0])
    file = directories.weights_of(source)
    if file is None and settings.name == directories.NETWORK:
        raise FileNotFoundError(f"{source} has no {directories.WEIGHTS}; give a complete network directory")
    read = weights.read(source) if file is None else None
    with outputs.in_one_piece(out) as folder:
        if file is not None:
            archive.rewrite(file, folder / directories.WEIGHTS)
            (folder / settings.name).write_bytes(settings.read_bytes())
        if read is not None:
            weights.write(folder, read[0].config, read[1])
        if bases is not None:
            archive.rewrite(bases, folder / directories.BASES)
    print(f"{printable(source)}: rewritten in {printable(out)}")
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
