"""Detection of the format of public weights, and their reader."""

from __future__ import annotations

import functools
from typing import Any, BinaryIO

from etils import epath

from sdgan_jax import outputs
from sdgan_jax.importers import (
    arcface,
    arrays,
    face_task,
    inception,
    lpips,
    nvlabs,
    nvlabs_tf,
    pickles,
    prnet,
    rosinality,
    sfn,
    tflite,
)
from sdgan_jax.importers.assembly import Imported, Network, Parts, assemble
from sdgan_jax.importers.pickles import Call, FileError, printable

FORMATS = ("rosinality", "nvlabs", "nvlabs_tf", "prnet", "irse50", "sfn", "inception", "lpips", "mesh")
MAX_BYTES = 8 << 30  # a training checkpoint of 1024 pixels with its optimisers has 0.7 GB
_KNOWN = (
    ".pt of rosinality, .pkl of NVlabs (stylegan2, -ada, 3), .pth of IR-SE50, of SD-GAN's fusion network, of FID's "
    "Inception, and of torchvision's VGG16 and AlexNet for LPIPS, MediaPipe's face_landmarker.task"
)
_STARTS = {  # files that are often saved under the name of a weights file, by their first bytes
    b"<!": "a web page, so the download failed",
    b"<html": "a web page, so the download failed",
    b"version https://git-lfs": "a Git LFS pointer; fetch the file itself by `git lfs pull`",
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a gzip archive; unpack it first",
}


def read(
    path: epath.PathLike, form: str = "auto", prnet_uv: epath.PathLike = "", lpips_heads: epath.PathLike = ""
) -> tuple[str, Imported | Network]:
    """Reads a file of public weights. Nothing in it is executed.

    Args:
        path: path of a local or remote file; for a TensorFlow checkpoint, any of its files or their prefix.
        form: one of `FORMATS`, or "auto" to detect the format.
        prnet_uv: folder of PRNet's UV files, "" for the folder of the checkpoint.
        lpips_heads: file of LPIPS' heads, "" for the file of their name in the folder of the trunk.

    Returns:
        The format of the file, and a GAN or another network.

    Raises:
        FileNotFoundError: the file, or that of LPIPS' heads, does not exist.
        ImportError: a TensorFlow checkpoint needs TensorFlow.
        ValueError: the file is of an unknown format or of another format than `form`, is damaged or hostile, or its
            arrays do not fit together; `prnet_uv` or `lpips_heads` is given for a file of another format. The message
            is one line that names the file.
    """
    file, source = epath.Path(path), str(path)
    if prefix := prnet.prefix_of(source):
        outputs.check_file(f"{prefix}.index", f"{prefix}.index")
        _check_format(source, "prnet", form, prnet_uv, lpips_heads)
        return "prnet", prnet.read(prefix, prnet_uv)
    outputs.check_file(file, source, "a file of weights, or a model directory to export it")
    if (size := file.stat().length) > MAX_BYTES:
        raise FileError(f"{source} has {size >> 30} GiB; no known network is that large")
    with file.open("rb") as opened:
        found, read = _read(opened, source, lpips_heads)
        _check_format(source, found, form, prnet_uv, lpips_heads)
        if isinstance(read, Network):
            return found, read
        format_of = {"rosinality": rosinality.FORMAT, "nvlabs": nvlabs.FORMAT, "nvlabs_tf": nvlabs_tf.FORMAT}[found]
        return found, assemble(source, format_of, read)


def _check_format(source: str, found: str, form: str, prnet_uv: epath.PathLike, lpips_heads: epath.PathLike) -> None:
    """Raises `FileError` where the user gives another format than the file has, or a file for another format."""
    if form not in ("auto", found):
        raise FileError(f"{source} is of the format {found}, not {form}; leave --format=auto")
    for flag, value, owner in (("prnet_uv", prnet_uv, "prnet"), ("lpips_heads", lpips_heads, "lpips")):
        if value and found != owner:
            raise FileError(f"{source} is of the format {found}; --{flag} belongs to {owner}, leave it out")


def _read(file: BinaryIO, source: str, lpips_heads: epath.PathLike) -> tuple[str, Parts | Network]:
    """Returns the format of a file and the networks in it."""
    start = file.read(64).lstrip()
    file.seek(0)
    if start[4:8] == tflite.MAGIC:
        raise FileError(f"{source} is a single network of TensorFlow Lite; {face_task.TAKE}")
    if face_task.is_task(file):  # its zip may begin with padding
        return "mesh", face_task.network_of(file, source)
    if start.startswith(b"PK"):
        return _read_torch(file, source, lpips_heads)
    for known, what in _STARTS.items():
        if start.startswith(known):
            raise FileError(f"{source} is {what}")
    if start[:1] not in (b"\x80", b"c", b"(", b"}"):  # first bytes of a pickle
        what = "is empty" if not start else "is not a file of weights"
        raise FileError(f"{source} {what}; known are {_KNOWN}")
    try:
        saved = pickles.read(file, source)
    except FileError as error:
        if "inception" in epath.Path(source).name:
            raise FileError(f"{error}; of NVlabs' Inception, {inception.NVLABS}") from error
        raise
    if saved == arrays.LEGACY_MAGIC:
        file.seek(0)
        return _read_torch(file, source, lpips_heads)
    if isinstance(saved, tuple) and len(saved) == 3 and all(isinstance(network, Call) for network in saved):
        return "nvlabs_tf", nvlabs_tf.read(saved, source)
    if isinstance(saved, Call) and saved.name.name in ("_reconstruct_persistent_obj", "Network"):
        raise FileError(f"{source} holds a single network of NVlabs; of their Inception, {inception.NVLABS}")
    networks = arrays.as_dict(saved)
    if networks is not None and (networks.get("G_ema") is not None or networks.get("G") is not None):
        return "nvlabs", nvlabs.read(saved, source)
    raise FileError(f"{source} is a pickle, but holds no networks of NVlabs (neither G_ema, G, D nor a tuple of three)")


def _read_torch(file: BinaryIO, source: str, lpips_heads: epath.PathLike) -> tuple[str, Parts | Network]:
    """Returns the format of a file of torch, detected by its keys, and the networks in it."""
    saved, storages = arrays.read_torch(file, source)
    if (parts := rosinality.read(saved, source, storages)) is not None:
        return "rosinality", parts
    trees = [tree for _, tree in arrays.dicts(saved)]
    for name, is_known, network_of in (
        ("irse50", arcface.is_arcface, arcface.network_of),
        ("sfn", sfn.is_sfn, sfn.network_of),
        ("inception", inception.is_inception, inception.network_of),
        ("lpips", lpips.is_trunk, functools.partial(lpips.network_of, heads=lpips_heads)),
    ):
        for tree in trees:
            if is_known(map(str, tree)):
                return name, network_of(arrays.state_dict(tree, source, storages), source)
    if any(lpips.is_heads(map(str, tree)) for tree in trees):
        raise FileError(f"{source} holds the heads of LPIPS alone; give the trunk, a file of torchvision, as --source")
    if any({"synthesis.b4.const", "b4.const"} & {str(key) for key in tree} for tree in trees):
        raise FileError(
            f"{source} holds arrays of stylegan2-ada-pytorch without the settings of its layers; give its .pkl"
        )
    raise FileError(
        f"{source} is a file of torch, but of an unknown network: {_held(saved)}; known are the arrays of "
        "rosinality's Generator (g_ema, g, or a bare state dict), of IR-SE50, SD-GAN's fusion network, FID's Inception "
        "and of torchvision's VGG16 and AlexNet"
    )


def _held(saved: Any) -> str:
    """Returns the first names in a file of torch, for a message."""
    tree = arrays.as_dict(saved)
    if not tree:
        return "it holds no dict" if tree is None else "it holds an empty dict"
    names = []
    for key, item in list(tree.items())[:4]:
        inner = ", ".join(printable(name, 30) for name in list(arrays.as_dict(item) or {})[:2])
        names.append(printable(key, 30) + (f" ({inner}, …)" if inner else ""))
    return f"it holds {', '.join(names)}"
