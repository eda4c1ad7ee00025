"""Weights of ArcFace's identity network (`model_ir_se50.pth` of InsightFace_Pytorch): read.

A file is a state dict. Depth, widths and the size of the faces are read off the arrays, so that networks of the same
kind with other blocks are read, too. Facts: the keys of the golden file (`tests/golden/irse50.npz`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from sdgan_jax.importers import layouts
from sdgan_jax.importers.assembly import Network
from sdgan_jax.importers.layouts import CONV, SAME, Layout, Table
from sdgan_jax.importers.pickles import FileError
from sdgan_jax.nets.arcface import ArcFace

MOST_BLOCKS = 200
# What the network sees of an aligned photo: rows 35 to 223 and columns 32 to 220 of 256; top, left, bottom, right.
CROP = [35 / 256, 32 / 256, 223 / 256, 220 / 256]
# A 1×1 convolution [out,in,1,1] that sees one pixel; ours is dense [in,out].
_POINT = Layout(lambda x: x[:, :, 0, 0].T, lambda x: x.T[:, :, None, None])


def is_arcface(keys: Iterable[str]) -> bool:
    """Whether these keys of a state dict are those of such a network."""
    return {"input_layer.0.weight", "body.0.res_layer.0.weight", "output_layer.3.weight"} <= set(
        map(layouts.own_name, keys)
    )


def table(shortcuts: Iterable[bool], side: int) -> Table:
    """The names of the arrays: `params/…` and `batch_stats/…`.

    Args:
        shortcuts: for each residual block, whether its shortcut is a convolution.
        side: of the last map, in pixels.
    """
    names = {"params/input/kernel": ("input_layer.0.weight", CONV)} | _norm("input_norm", "input_layer.1")
    names["params/input_prelu/slope"] = ("input_layer.2.weight", SAME)
    for index, has_shortcut in enumerate(shortcuts):
        block, key = f"block_{index}", f"body.{index}.res_layer"
        names |= (
            _norm(f"{block}/norm_0", f"{key}.0")
            | _norm(f"{block}/norm_1", f"{key}.4")
            | {
                f"params/{block}/conv_0/kernel": (f"{key}.1.weight", CONV),
                f"params/{block}/prelu/slope": (f"{key}.2.weight", SAME),
                f"params/{block}/conv_1/kernel": (f"{key}.3.weight", CONV),
                f"params/{block}/excitation/squeeze/kernel": (f"{key}.5.fc1.weight", _POINT),
                f"params/{block}/excitation/excite/kernel": (f"{key}.5.fc2.weight", _POINT),
            }
        )
        if has_shortcut:
            key = f"body.{index}.shortcut_layer"
            names[f"params/{block}/shortcut/kernel"] = (f"{key}.0.weight", CONV)
            names |= _norm(f"{block}/shortcut_norm", f"{key}.1")
    names |= _norm("output_norm", "output_layer.0") | _norm("embedding_norm", "output_layer.4")
    return names | layouts.biased("params/embedding", "output_layer.3.", layouts.flat_columns(side))


def _norm(path: str, key: str) -> Table:
    """The rows of a batch normalisation."""
    return {
        f"params/{path}/scale": (f"{key}.weight", SAME),
        f"params/{path}/bias": (f"{key}.bias", SAME),
        f"batch_stats/{path}/mean": (f"{key}.running_mean", SAME),
        f"batch_stats/{path}/var": (f"{key}.running_var", SAME),
    }


def network_of(state: Mapping[str, np.ndarray], source: str = "the state dict") -> Network:
    """As `variables_of`, ready to be written: the settings also say what of a photo the network sees (`CROP`)."""
    settings, variables = variables_of(state, source)
    size = settings["resolution"]
    note = "it crops aligned 256-pixel photos, as IR-SE50 wants; crop: null in network.json for faces cropped already"
    description = f"identity network of {size} pixels, embeddings of {settings['embedding_dim']} numbers"
    return Network("identity", settings | {"crop": CROP}, variables, description, [note])


def variables_of(
    state: Mapping[str, np.ndarray], source: str = "the state dict"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """From a state dict of numpy arrays, which needs no file.

    Args:
        state: of the network, its keys with or without `module.` in front. The last normalisation may lack its scale
            and bias, as in encoder4editing.
        source: what to call it in messages.

    Returns:
        The settings `blocks`, `widths` and `embedding_dim` of `nets.arcface.ArcFace`, and `resolution`, the side of
        the faces it takes; the network's variables `params` and `batch_stats`, f32.

    Raises:
        FileError: an array is missing, unexpected, of another shape, or not finite; the first few are named.
    """
    state = layouts.unwrapped(state, source)
    state = {key: array for key, array in state.items() if not key.endswith(".num_batches_tracked")}
    settings = _settings(state, source)
    net = ArcFace(**{name: value for name, value in settings.items() if name != "resolution"})
    side = settings["resolution"] >> len(settings["blocks"])
    images = jnp.zeros((1, settings["resolution"], settings["resolution"], 3))
    shapes = jax.eval_shape(net.init, jax.random.key(0), images)
    flat = {path: leaf.shape for path, leaf in flax.traverse_util.flatten_dict(shapes, sep="/").items()}
    if not {"output_layer.4.weight", "output_layer.4.bias"} & set(state):
        width = settings["embedding_dim"]
        state |= {
            "output_layer.4.weight": np.ones(width, np.float32),
            "output_layer.4.bias": np.zeros(width, np.float32),
        }
    shortcuts = [f"params/block_{index}/shortcut/kernel" in flat for index in range(sum(settings["blocks"]))]
    ours = layouts.take(source, "the identity network", state, table(shortcuts, side), flat, kind="an IR-SE")
    return settings, flax.traverse_util.unflatten_dict(ours, sep="/")


def _settings(state: Mapping[str, np.ndarray], source: str) -> dict[str, Any]:
    """What the shapes say of the network: a stage is a run of blocks of one width, and halves the image."""
    count = layouts.last_number(r"body\.(\d+)\.res_layer\.1\.weight", state) + 1
    keys = [f"body.{index}.res_layer.1.weight" for index in range(min(count, MOST_BLOCKS))]
    dense = state.get("output_layer.3.weight")
    lengths = [state[key].shape[0] if key in state and state[key].ndim == 4 else 0 for key in keys]
    if not lengths or not all(lengths) or dense is None or dense.ndim != 2:
        raise FileError(f"{source}: {_fault(state, keys)}; the identity network is no IR-SE")
    runs = [(width, len(list(run))) for width, run in itertools.groupby(lengths)]
    widths, blocks = zip(*runs, strict=True)
    side = math.isqrt(dense.shape[1] // widths[-1])
    if not 1 <= side <= 1024 or side * side * widths[-1] != dense.shape[1] or len(blocks) > 10:
        raise FileError(
            f"{source}: output_layer.3.weight is {list(dense.shape)}, which is no square map of {widths[-1]} channels"
        )
    resolution = side << len(blocks)
    return {"blocks": blocks, "widths": widths, "embedding_dim": dense.shape[0], "resolution": resolution}


def _fault(state: Mapping[str, np.ndarray], keys: list[str]) -> str:
    """The first array that says how the network is built and is not as it should be."""
    for key, rank in [*((key, 4) for key in keys or ["body.0.res_layer.1.weight"]), ("output_layer.3.weight", 2)]:
        if key not in state:
            return f"{key} is missing"
        if state[key].ndim != rank or not state[key].shape[0]:
            return f"{key} is {list(state[key].shape)}, expected {rank} axes"
    return "it has no blocks"
