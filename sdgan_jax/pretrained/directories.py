"""Model and network directories: the names of their files, and messages about paths that are something else.

A model directory contains `config.json` and either `checkpoints/` (a training workdir) or `weights.safetensors`. A
network directory contains `network.json` and `weights.safetensors`.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import shlex
from collections.abc import Mapping
from typing import Any

from etils import epath

from sdgan_jax.config import STAGES, Config
from sdgan_jax.config.networks import ClassifierConfig, IdentityConfig, PRNetConfig
from tfds_megn import json_text
from tfds_megn.listing import is_remote, printable

CONFIG = "config.json"
NETWORK = "network.json"
WEIGHTS = "weights.safetensors"
OLD_WEIGHTS = "weights.npz"  # the same arrays in the format of numpy; still read, no longer written
CHECKPOINTS = "checkpoints"
BASES = (
    "bases.safetensors"  # beside a model: "<estimator>/rows" f32[A,D], unit vectors, and "<estimator>/lengths" f32[A]
)

# For each kind of config, the name of the trained network and the kind of the network directory that the run writes.
RUNS = {
    Config: ("a GAN", ""),
    PRNetConfig: ("PRNet", "prnet"),
    IdentityConfig: ("the identity network", "identity"),
    ClassifierConfig: ("the attribute classifier", "classifier"),
}
# For each kind of network directory, the flag, field or function that takes it.
USES = {
    "prnet": "--network of experiments.wear or --config.fusion.position_network",
    "mesh": "--network of experiments.wear or --config.fusion.position_network",
    "identity": "--config.losses.identity_network",
    "classifier": "--classifier of experiments.evaluate and experiments.measure",
    "edges": "sdgan_jax/weights/edges",
    "sfn": "sdgan_jax.pretrained.fusion_network",
    "inception": "--inception of experiments.evaluate or --config.inception",
    "lpips": "--lpips of experiments.evaluate or --config.lpips",
}
# For kinds of networks that do not come with the project and that it does not train, the public files of them.
PUBLISHED = {
    "inception": "pt_inception-2015-12-05-6726825d.pth, published by the project pytorch-fid, or "
    "weights-inception-2015-12-05-6726825d.pth, published by torch-fidelity",
    "lpips": "vgg16-397923af.pth or alexnet-owt-7be5be79.pth, published by torchvision, beside vgg.pth or alex.pth "
    "from lpips/weights/v0.1 of the PyPI package lpips",
    "mesh": "face_landmarker.task, published by MediaPipe",
}
_WEIGHTS_SUFFIXES = (
    ".pt",
    ".pth",
    ".pkl",
    ".pickle",
    ".ckpt",
    ".index",
    ".safetensors",
    ".bin",
    ".h5",
    ".onnx",
    ".task",
    ".tflite",
)
_WEIGHTS_STARTS = (
    b"PK\x03\x04",
    b"\x80\x02",
    b"\x80\x03",
    b"\x80\x04",
)  # of torch's zip files and of pickles
_ABOVE = 6  # number of folders above a path that are searched


def read_object(file: epath.Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        ValueError: the file contains something else; the message does not name the file.
        OSError: the file cannot be read.
    """
    try:
        values = json_text.parse(file.read_bytes().decode())
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8 text") from error
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError("it is not a JSON object; it must be {…} with a value for each name")
    return values


def weights_of(folder: epath.Path) -> epath.Path | None:
    """Returns the file of weights in a folder, `OLD_WEIGHTS` only without `WEIGHTS`; None where there is neither."""
    return next((folder / name for name in (WEIGHTS, OLD_WEIGHTS) if (folder / name).exists()), None)


def bases_of(path: epath.PathLike) -> epath.Path | None:
    """Returns the file of the bases that the stage `basis` has written beside a model; None where there is none.

    Args:
        path: a model directory, a checkpoint, or the workdir of the recipe `staged`.
    """
    folder = checkpoint_of(path)[0]
    files = [folder / BASES, folder.parent / "basis" / BASES]  # the second is that of another stage of the same run
    return next((file for file in files if file.exists()), None)


def run_kind(values: Mapping[str, Any], wanted: type = Config) -> type:
    """Returns the kind of config that shares most fields with the values of a `config.json`; `wanted` if several do."""
    return max(RUNS, key=lambda kind: (_shared(values, kind), kind is wanted))


def _shared(values: Mapping[str, Any], kind: type) -> int:
    """Returns the number of values that are fields of a kind of config."""
    return len({field.name for field in dataclasses.fields(kind)} & set(values))


def describe_run(values: Mapping[str, Any]) -> str:
    """Returns a description of the run with this config, such as "a run of PRNet (64 pixels)"."""
    name, resolution = RUNS[run_kind(values)][0], values.get("resolution")
    return f"a run of {name}" + (f" ({resolution} pixels)" if type(resolution) is int else "")


def checkpoint_of(path: epath.PathLike) -> tuple[epath.Path, int | None]:
    """Splits the path of a checkpoint, `<workdir>/checkpoints/<step>`.

    Returns:
        The workdir and the step; for the workdir of the recipe `staged`, its last stage that has a model, and None; for
        any other path, the path and None.
    """
    for place in (epath.Path(path), _real(epath.Path(path))):
        if place.name.isdecimal() and place.parent.name == CHECKPOINTS and (place.parent.parent / CONFIG).exists():
            return place.parent.parent, int(place.name)
    folder = epath.Path(path)
    is_run = (folder / CONFIG).exists() and not _has_arrays(folder)
    stages = [folder / stage for stage in reversed(STAGES)] if is_run else []
    return next((stage for stage in stages if _has_arrays(stage)), folder), None


def has_checkpoints(folder: epath.Path) -> bool:
    """Returns whether a folder contains a checkpoint."""
    checkpoints = folder / CHECKPOINTS
    return checkpoints.exists() and any(path.name.isdecimal() for path in checkpoints.iterdir())


def _has_arrays(folder: epath.Path) -> bool:
    """Returns whether a folder contains checkpoints or weights."""
    return has_checkpoints(folder) or weights_of(folder) is not None


def check_target(folder: epath.Path) -> None:
    """Checks that a model directory can be written without loss: the folder is new, empty, or is one already.

    Raises:
        FileExistsError: it is something else; the message names it.
    """
    if not folder.exists():
        return
    if folder.is_dir():
        names = {path.name for path in folder.iterdir()}
        if not names or (weights_of(folder) is not None and CHECKPOINTS not in names and _has_config(folder)):
            return
    raise FileExistsError(f"{printable(folder)} exists and is no model directory; give a new folder")


def is_config(values: Mapping[str, Any]) -> bool:
    """Returns whether the values of a `config.json` are mostly those of a config of this program."""
    return 2 * _shared(values, run_kind(values)) > len(values)


def _has_config(folder: epath.Path) -> bool:
    try:
        return is_config(read_object(folder / CONFIG))
    except (OSError, ValueError):
        return False


def check_model(folder: epath.Path) -> None:
    """Checks that a folder is the model directory of a GAN.

    Raises:
        FileNotFoundError: there is no model; the message says what to do.
        ValueError: the folder belongs to another network, or its `config.json` is damaged.
    """
    if (folder / NETWORK).exists():
        kind = _network_kind(folder)
        raise ValueError(f"{folder} is a network directory ({kind}), not the model directory of a GAN{_used(kind)}")
    if not (folder / CONFIG).exists():
        raise FileNotFoundError(missing_model(folder))
    try:
        values = read_object(folder / CONFIG)
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG}: {error}") from error
    if network := RUNS[run_kind(values)][1]:
        raise ValueError(
            f"{folder} holds {describe_run(values)}, not of a GAN; its network, written when the run ends, "
            f"goes into {USES[network]}"
        )


def train_into(workdir: epath.PathLike) -> str:
    """Returns the command that trains a model in a workdir, as part of a message."""
    return f"train into it by `python -m experiments.train --workdir={shlex.quote(str(workdir))}`"


def missing_model(folder: epath.Path) -> str:
    """Returns the message about a path without `config.json` that was given as a model directory."""
    train = train_into(folder)
    if line := _elsewhere(folder):
        return line
    if not folder.exists():
        return f"{folder} does not exist; {train}, or give a training workdir or a model directory"
    held = sorted(folder.iterdir())
    if not held:
        return f"{folder} has no {CONFIG}: it is empty; {train}"
    if models := [path for path in held if (path / CONFIG).exists()]:
        others = f" (or another of the {len(models)} model directories in it)" if len(models) > 1 else ""
        return f"{folder} has no {CONFIG}; give {models[0]}{others}"
    if weights := _public_weights(folder):
        return f"{folder} has no {CONFIG}; {_convert(weights[0])}"
    return f"{folder} is not a model directory: it has no {CONFIG}; give a training workdir or a model directory"


def missing_network(folder: epath.Path, *kinds: str) -> str:
    """Returns the message about a path that was given as a network directory of one of these kinds, but is none."""
    wanted = f"give a network directory of the kind {' or '.join(kinds)}"
    if len(kinds) == 1 and kinds[0] in PUBLISHED:
        wanted += f", made by `{_CONVERT.format('FILE', 'DIR')}` of {PUBLISHED[kinds[0]]}"
    if line := _elsewhere(folder):
        return line
    if not folder.exists():
        return f"{folder} does not exist; {wanted}"
    if not (folder / NETWORK).exists() and (folder / CONFIG).exists():
        try:
            values = read_object(folder / CONFIG)
        except ValueError as error:
            return f"{folder} has no {NETWORK}, and of its {CONFIG}: {error}; {wanted}"
        what, network = describe_run(values), RUNS[run_kind(values)][1]
        if network in kinds:
            return f"{folder} holds {what} that has not ended; run the same training again to end it, or {wanted}"
        return f"{folder} holds {what}{'' if network else ', which --model takes'}; {wanted}"
    if weights := _public_weights(folder):
        return f"{folder} has no {NETWORK}; {_convert(weights[0])}"
    return f"{folder} has no {WEIGHTS if (folder / NETWORK).exists() else NETWORK}; {wanted}"


def _elsewhere(path: epath.Path) -> str:
    """Returns the message about a file, or a part of a model or network directory; "" for other paths."""
    if path.is_file() and _is_public_weights(path):
        return f"{path} is a file of weights, not a directory; {_convert(path)}"
    above = itertools.chain(list(path.parents)[:_ABOVE], list(_real(path).parents)[:_ABOVE])
    owner = next((folder for folder in above if _is_owner(folder)), None)
    if owner is not None:
        what = "is part of" if path.exists() else "does not exist in"
        return f"{path} {what} the directory {owner}; give {owner}"
    if path.is_file():
        return f"{path} is a file; give a directory"
    if epath.Path(f"{path}.index").exists():  # the prefix of a TensorFlow checkpoint
        return f"{path} is a checkpoint of TensorFlow, not a directory; {_convert(path)}"
    if not path.exists() and path.suffix in _WEIGHTS_SUFFIXES:
        return f"{path} does not exist; a file of weights is converted by `{_CONVERT.format('FILE', 'DIR')}`"
    return ""


def _real(path: epath.Path) -> epath.Path:
    """Returns a local path in full, links followed, and a remote one unchanged."""
    return path if is_remote(path) else epath.Path(os.path.realpath(path))


def _is_owner(folder: epath.Path) -> bool:
    """Returns whether a folder is a model or network directory that is not empty."""
    if (folder / NETWORK).exists():
        return weights_of(folder) is not None
    return (folder / CONFIG).exists() and ((folder / CHECKPOINTS).exists() or weights_of(folder) is not None)


def _public_weights(folder: epath.Path) -> list[epath.Path]:
    """Returns the files in a folder that are named like public weights."""
    return [path for path in sorted(folder.iterdir()) if path.suffix in _WEIGHTS_SUFFIXES and path.name != WEIGHTS]


def _is_public_weights(file: epath.Path) -> bool:
    """Returns whether the suffix or the first bytes of a file are those of public weights."""
    if file.name == WEIGHTS or file.suffix in (".npz", ".zip"):
        return False
    if file.suffix in _WEIGHTS_SUFFIXES:
        return True
    with file.open("rb") as opened:
        return opened.read(4).startswith(_WEIGHTS_STARTS)


_CONVERT = "python -m experiments.convert --source={} --out={}"


def _convert(file: epath.Path) -> str:
    """Returns the command that converts a file of weights."""
    out = file.with_suffix("") if file.suffix in _WEIGHTS_SUFFIXES else file
    while out.exists():
        out = out.with_name(f"{out.name}_model")
    source, target = (shlex.quote(str(path)) for path in (file, out))
    return f"convert it by `{_CONVERT.format(source, target)}`, then give {target}"


def is_network(path: epath.PathLike, kind: str) -> bool:
    """Returns whether a path is a network directory of this kind."""
    folder = epath.Path(path)
    return (folder / NETWORK).exists() and _network_kind(folder) == kind


def _network_kind(folder: epath.Path) -> str:
    """Returns the kind of network in a `network.json`."""
    try:
        return str(read_object(folder / NETWORK).get("kind"))[:40]
    except ValueError:
        return "damaged"


def _used(kind: str) -> str:
    """Returns the flag or field that takes a network of this kind."""
    return f"; it goes into {USES[kind]}" if kind in USES else ""
