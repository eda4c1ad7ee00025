"""Reader of ArcFace's identity network (`model_ir_se50.pth` of InsightFace_Pytorch).

The file is a state dict. Depth, widths and the size of the faces follow from the shapes of the arrays, so that other
networks of the same kind can be read as well. Source of the names: the golden file `tests/golden/irse50.npz`.
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
from sdgan_jax.importers.layouts import CONV, SAME, Layout, Table, batch_norm
from sdgan_jax.importers.pickles import FileError
from sdgan_jax.nets.arcface import ArcFace

MOST_BLOCKS = 200
# The crop of an aligned photo that the network sees: rows 35 to 223 and columns 32 to 220 of 256; top, left, bottom,
# right.
CROP = [35 / 256, 32 / 256, 223 / 256, 220 / 256]
# A 1×1 convolution [out,in,1,1] on a single pixel; ours is a dense layer [in,out].
_POINT = Layout(lambda x: x[:, :, 0, 0].T, lambda x: x.T[:, :, None, None])


def is_arcface(keys: Iterable[str]) -> bool:
    """Returns whether the keys of a state dict are those of an IR-SE network."""
    return {"input_layer.0.weight", "body.0.res_layer.0.weight", "output_layer.3.weight"} <= set(
        map(layouts.own_name, keys)
    )


def table(shortcuts: Iterable[bool], side: int) -> Table:
    """Returns the names of the arrays by path: `params/…` and `batch_stats/…`.

    Args:
        shortcuts: for each residual block, True if its shortcut is a convolution.
        side: height and width of the last feature map, in pixels.
    """
    names = {"params/input/kernel": ("input_layer.0.weight", CONV)} | batch_norm("input_norm", "input_layer.1")
    names["params/input_prelu/slope"] = ("input_layer.2.weight", SAME)
    for index, has_shortcut in enumerate(shortcuts):
        block, key = f"block_{index}", f"body.{index}.res_layer"
        names |= (
            batch_norm(f"{block}/norm_0", f"{key}.0")
            | batch_norm(f"{block}/norm_1", f"{key}.4")
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
            names |= batch_norm(f"{block}/shortcut_norm", f"{key}.1")
    names |= batch_norm("output_norm", "output_layer.0") | batch_norm("embedding_norm", "output_layer.4")
    return names | layouts.biased("params/embedding", "output_layer.3.", layouts.flat_columns(side))


def network_of(state: Mapping[str, np.ndarray], source: str = "the state dict") -> Network:
    """Returns the network ready for `pretrained.write`, its settings with `crop`; see `variables_of`."""
    settings, variables = variables_of(state, source)
    size = settings["resolution"]
    note = "it crops aligned photos as IR-SE50 does; for faces that are cropped already, set crop: null in network.json"
    description = f"identity network of {size} pixels, embeddings of {settings['embedding_dim']} numbers"
    return Network("identity", settings | {"crop": CROP}, variables, description, [note])


def variables_of(
    state: Mapping[str, np.ndarray], source: str = "the state dict"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns settings and variables of the network of a state dict.

    Args:
        state: the arrays by key, with or without `module.` in front. Scale and bias of the last normalisation may be
            missing, as in encoder4editing.
        source: name of the file in messages.

    Returns:
        The settings `blocks`, `widths` and `embedding_dim` of `nets.arcface.ArcFace`, and `resolution`, height and
        width of its input in pixels; the variables `params` and `batch_stats`, f32.

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
    flat = layouts.shapes_of(shapes)
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
    """Derives the settings from the shapes: a stage is a run of blocks of equal width, and halves the image."""
    count = layouts.last_number(r"body\.(\d+)\.res_layer\.1\.weight", state) + 1
    keys = [f"body.{index}.res_layer.1.weight" for index in range(min(count, MOST_BLOCKS))]
    dense = state.get("output_layer.3.weight")
    lengths = [state[key].shape[0] if key in state and state[key].ndim == 4 else 0 for key in keys]
    if not lengths or not all(lengths) or dense is None or dense.ndim != 2:
        raise FileError(f"{source}: {_fault(state, keys)}; the file is not an IR-SE network")
    runs = [(width, len(list(run))) for width, run in itertools.groupby(lengths)]
    widths, blocks = zip(*runs, strict=True)
    side = math.isqrt(dense.shape[1] // widths[-1])
    if not 1 <= side <= 1024 or side * side * widths[-1] != dense.shape[1] or len(blocks) > 10:
        raise FileError(
            f"{source}: output_layer.3.weight is {list(dense.shape)}; it must fit a square map of {widths[-1]} channels"
        )
    resolution = side << len(blocks)
    return {"blocks": blocks, "widths": widths, "embedding_dim": dense.shape[0], "resolution": resolution}


def _fault(state: Mapping[str, np.ndarray], keys: list[str]) -> str:
    """Describes the first fault among the arrays whose shapes give the settings."""
    for key, rank in [*((key, 4) for key in keys or ["body.0.res_layer.1.weight"]), ("output_layer.3.weight", 2)]:
        if key not in state:
            return f"{key} is missing"
        if state[key].ndim != rank or not state[key].shape[0]:
            return f"{key} is {list(state[key].shape)}, expected {rank} axes"
    return "there are no blocks"
