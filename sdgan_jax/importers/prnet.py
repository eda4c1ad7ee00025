"""Reader of PRNet's public TensorFlow checkpoint, `256_256_resfcn256_weight.{index,data-00000-of-00001}`.

This is the only format that needs TensorFlow. Sources: a golden file (`tests/golden`) for the names of the variables,
and PRNet's code for the two text files that describe its UV space.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from sdgan_jax import outputs
from sdgan_jax.importers import layouts
from sdgan_jax.importers.assembly import Network
from sdgan_jax.importers.layouts import Table
from sdgan_jax.importers.pickles import FileError
from sdgan_jax.nets.prnet import ResFCN
from sdgan_jax.pretrained import archive

SIZE = 256
BLOCKS, UPS = 10, 17  # residual blocks and transposed convolutions
LANDMARKS = "uv_kpt_ind.txt"  # two rows of 68 numbers, column and row of the UV map
FACE = "face_ind.txt"  # flat indices (row-major) of the texels that are points of the face
FACE_POINTS = 43867

_SUFFIX = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")
_NORM = {
    "params/{}/scale": "gamma",
    "params/{}/bias": "beta",
    "batch_stats/{}/mean": "moving_mean",
    "batch_stats/{}/var": "moving_variance",
}


def prefix_of(path: str) -> str | None:
    """Returns the prefix of the checkpoint that a path belongs to, None when there is no such checkpoint."""
    prefix = _SUFFIX.sub("", path)
    return prefix if epath.Path(f"{prefix}.index").exists() else None


def read(prefix: str, uv: epath.PathLike = "") -> Network:
    """Reads a checkpoint.

    Args:
        prefix: common prefix of its files.
        uv: folder of `uv_kpt_ind.txt` and `face_ind.txt`; "" for the folder of the checkpoint.

    Returns:
        The network, with its UV layout where the text files exist.

    Raises:
        FileNotFoundError: a text file is missing in the folder `uv`.
        ValueError: the checkpoint is damaged or of another network, or a text file is malformed or a pipe.
        ImportError: TensorFlow is not installed.
    """
    network = network_of(_variables(prefix), prefix)
    folder = epath.Path(uv) if uv else epath.Path(prefix).parent
    present = {name: (folder / name).exists() for name in (LANDMARKS, FACE)}
    if uv and not all(present.values()):
        missing = " and ".join(name for name, there in present.items() if not there)
        raise FileNotFoundError(f"{folder} has no {missing}; they are in PRNet's folder Data/uv-data")
    layout = {}
    if present[LANDMARKS]:
        layout["landmarks"] = read_landmarks(folder / LANDMARKS)
    if present[FACE]:
        layout["face"] = read_face(folder / FACE)
    if layout:
        network.variables["layout"] = layout
    for name, there in present.items():
        if not there:
            network.notes.append(f"there is no {name} beside the checkpoint; --prnet_uv=FOLDER gives PRNet's uv-data")
    return network


def network_of(arrays: Mapping[str, np.ndarray], source: str = "the checkpoint") -> Network:
    """Returns the network of a dict of arrays.

    Args:
        arrays: the network's arrays by TensorFlow's names; others, such as Adam's, are ignored.
        source: name of the file in messages.

    Raises:
        FileError: an array is missing, misshaped or not finite; the first few are named.
    """
    known = {key: arrays[key] for key, _ in table().values() if key in arrays}
    ours = layouts.take(source, "the network", known, table(), shapes(), "PRNet's ResFCN256")
    settings = {"size": SIZE, "channels": 16, "layout": "prnet", "depth_offset": 0.0}
    return Network("prnet", settings, archive.unflatten(ours), f"position maps of {SIZE} pixels")


@functools.cache
def shapes() -> dict[str, tuple[int, ...]]:
    """Returns the shapes of our arrays by path."""
    images = jnp.zeros((1, SIZE, SIZE, 3))
    return layouts.shapes_of(jax.eval_shape(ResFCN(SIZE).init, jax.random.key(0), images))


@functools.cache
def table() -> Table:
    """Returns the names of TensorFlow by path; all axes are as ours, also [k,k,out,in] of transposed convolutions."""
    rows: Table = {}

    def norm(path: str, key: str) -> None:
        for ours, theirs in _NORM.items():
            rows[ours.format(f"{path}/norm")] = (f"resfcn256/{key}/BatchNorm/{theirs}", layouts.SAME)

    def kernel(path: str, key: str) -> None:
        rows[f"params/{path}/kernel"] = (f"resfcn256/{key}/weights", layouts.SAME)

    def unit(path: str, key: str) -> None:
        kernel(f"{path}/conv", key)
        norm(path, key)

    def numbered(name: str, index: int) -> str:
        return f"{name}_{index}" if index else name

    unit("conv", "Conv")
    for index in range(BLOCKS):
        path, key = f"block_{index}", numbered("resBlock", index)
        if index % 2 == 0:
            kernel(f"{path}/shortcut", f"{key}/shortcut")
        unit(f"{path}/conv_0", f"{key}/Conv")
        unit(f"{path}/conv_1", f"{key}/Conv_1")
        kernel(f"{path}/conv_2", f"{key}/Conv_2")
        norm(path, key)
    for index in range(UPS):
        unit(f"up_{index}", numbered("Conv2d_transpose", index))
    return rows


def read_landmarks(file: epath.Path) -> np.ndarray:
    """Returns the 68 landmarks of `uv_kpt_ind.txt`: f32[68,2], u and v in [0,1] at the centres of texels.

    Raises:
        FileError: the file is malformed.
    """
    numbers = _numbers(file)
    if numbers.size != 136 or not ((numbers >= 0) & (numbers <= SIZE - 1)).all():
        raise FileError(
            f"{file} must hold two rows of 68 numbers from 0 to {SIZE - 1}; it holds {numbers.size} numbers"
        )
    return ((numbers.reshape(2, 68).T + 0.5) / SIZE).astype(np.float32)


def read_face(file: epath.Path) -> np.ndarray:
    """Returns the texels of `face_ind.txt`: bool[256,256], True on the face.

    Raises:
        FileError: the file is malformed.
    """
    numbers = _numbers(file)
    face = np.zeros(SIZE * SIZE, bool)
    inside = ((numbers >= 0) & (numbers < face.size) & (numbers == np.floor(numbers))).all()
    if inside:
        face[numbers.astype(int)] = True
    if not inside or numbers.size != FACE_POINTS or face.sum() != FACE_POINTS:
        raise FileError(
            f"{file} must hold {FACE_POINTS} different whole numbers below {face.size}; it holds {numbers.size}"
        )
    return face.reshape(SIZE, SIZE)


def _numbers(file: epath.Path) -> np.ndarray:
    """Returns all numbers of a text file, f64[N]."""
    outputs.check_file(file, str(file))
    try:
        return np.array(file.read_text().split(), np.float64)
    except ValueError as error:
        raise FileError(f"{file} must hold numbers and nothing else") from error


def _variables(prefix: str) -> dict[str, np.ndarray]:
    """Returns the network's arrays in a checkpoint; one of another shape is zeros that take no memory."""
    try:
        import tensorflow as tf
    except ImportError as error:
        raise ImportError(
            f"{prefix}.index is a checkpoint of TensorFlow, which is needed to read it: pip install -e '.[convert]'"
        ) from error
    wanted = {key: shapes()[path] for path, (key, _) in table().items()}
    arrays = {}
    try:
        reader = tf.train.load_checkpoint(prefix)
        for key, shape in reader.get_variable_to_shape_map().items():
            if key in wanted:
                fits = tuple(shape) == wanted[key]
                arrays[key] = reader.get_tensor(key) if fits else np.broadcast_to(np.float32(0), shape)
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise FileError(f"{prefix}.index or its data file is damaged or missing; download both again") from error
    return arrays
