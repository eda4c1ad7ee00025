"""The weights of a model, apart from the state of a run: read from a directory, written to one, and started from.

A model directory is a training workdir (`config.json` and `checkpoints/`) or holds `config.json` and `weights.npz`, a
plain archive of arrays named by their place in the tree. Nothing in it is ever executed.
"""

from __future__ import annotations

import io

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from sdgan_jax import config as config_lib
from sdgan_jax.config import Config
from sdgan_jax.training import checkpoint
from sdgan_jax.training.state import State, Tree, init_state

FIELDS = ("ema_g", "buffers_g", "params_d", "params_f", "w_avg", "basis")  # of the state, that make the model
FILE = "weights.npz"


def read(path: epath.PathLike, best: bool = False) -> tuple[Config, dict[str, Tree]]:
    """Reads a model directory.

    Args:
        path: a workdir or a directory with `weights.npz`, local or remote.
        best: of a workdir, the checkpoint with the best score instead of the newest.

    Returns:
        The config, and the trees of `FIELDS`, float32.

    Raises:
        FileNotFoundError: there is no model; the message says what to do.
        ValueError: the arrays are not those of the config; the first few are named.
    """
    config = checkpoint.load_config(path)
    shapes = jax.eval_shape(lambda: init_state(config))
    target = {name: getattr(shapes, name) for name in FIELDS}
    file = epath.Path(path) / FILE
    if not file.exists():
        return config, checkpoint.open_state(path, target, best)
    with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as archive:
        arrays = {name: archive[name].astype(np.float32) for name in archive.files}
    wanted = flax.traverse_util.flatten_dict(target, sep="/")
    wrong = [name for name in wanted if name not in arrays or arrays[name].shape != wanted[name].shape]
    if wrong:
        raise ValueError(f"{file} does not fit its config.json: {len(wrong)} arrays differ, {', '.join(wrong[:3])} …")
    return config, flax.traverse_util.unflatten_dict({name: jnp.asarray(arrays[name]) for name in wanted}, sep="/")


def write(path: epath.PathLike, config: Config, trees: dict[str, Tree], dtype: np.dtype | type = np.float32) -> None:
    """Writes a model directory: `config.json` and `weights.npz`.

    Args:
        path: the directory; made when it is not there.
        config: of the model.
        trees: of `FIELDS`.
        dtype: float32, or float16 for half the size.
    """
    folder = epath.Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = flax.traverse_util.flatten_dict(jax.device_get(trees), sep="/")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: np.asarray(array, dtype) for name, array in arrays.items()})
    (folder / FILE).write_bytes(buffer.getvalue())
    (folder / "config.json").write_text(config_lib.to_json(config))


def start_from(state: State, path: epath.PathLike) -> tuple[State, str]:
    """Puts the weights of a model into a fresh state, array by array where name and shape agree.

    Args:
        state: at step 0.
        path: a model directory.

    Returns:
        The state, and a line that says how much was taken of each network and how much is new.
    """
    _, trees = read(path)
    targets = {"params_g": "ema_g"} | {name: name for name in FIELDS}
    changes, report = {}, []
    for field, origin in targets.items():
        ours, theirs = (flax.traverse_util.flatten_dict({"": tree}) for tree in (getattr(state, field), trees[origin]))
        # Copies: params_g and ema_g start from the same arrays, and the step donates both.
        fits = {k: jnp.array(v) for k, v in theirs.items() if k in ours and ours[k].shape == v.shape}
        changes[field] = flax.traverse_util.unflatten_dict(ours | fits)[""]
        report.append(f"{field} {len(fits)}/{len(ours)}")
    return state.replace(**changes), f"Starting from {path}; arrays taken: {', '.join(report)}"
