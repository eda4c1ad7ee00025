"""Reader of the Inception v3 of 2015 in the files of pytorch-fid and torch-fidelity.

`pt_inception-2015-12-05-6726825d.pth` and `weights-inception-2015-12-05-6726825d.pth` are state dicts of the same
arrays under the same names, those of torchvision's Inception v3. Their batch normalisations are folded into the
convolutions, and the bias of the dense layer is left out, as no metric uses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from sdgan_jax.importers import layouts
from sdgan_jax.importers.assembly import Network
from sdgan_jax.importers.layouts import CONV, DENSE, Table
from sdgan_jax.importers.pickles import FileError
from sdgan_jax.nets.inception import CLASSES, EPSILON, SIZE, Inception
from sdgan_jax.pretrained import directories

STATISTICS = "statistics/"  # prefix of the mean and the variance of a batch normalisation, until they are folded
TAKE = f"take {directories.PUBLISHED['inception']}"
NVLABS = f"the network is a program there, and nothing in a file is executed; {TAKE}: they hold the same network"


def is_inception(keys: Iterable[str]) -> bool:
    """Returns whether the keys of a state dict are those of an Inception v3."""
    return {"Conv2d_1a_3x3.conv.weight", "Mixed_7c.branch_pool.conv.weight", "fc.weight"} <= set(
        map(layouts.own_name, keys)
    )


def network_of(state: Mapping[str, np.ndarray], source: str = "the state dict") -> Network:
    """Returns the network ready for `pretrained.write`; see `variables_of`."""
    return Network("inception", {}, variables_of(state, source), f"Inception v3 of 2015, {CLASSES} classes")


def variables_of(state: Mapping[str, np.ndarray], source: str = "the state dict") -> dict[str, Any]:
    """Returns the variables of `nets.inception.Inception`, f32.

    Args:
        state: the arrays by key, with or without `module.` in front.
        source: name of the file in messages.

    Raises:
        FileError: the network is torchvision's, which is another one; an array is missing, unexpected, of another
            shape, or not finite, the first few are named; a variance is negative.
    """
    state = layouts.unwrapped(state, source)
    if any(key.startswith("AuxLogits.") for key in state) or len(state["fc.weight"]) == 1000:
        raise FileError(f"{source} is torchvision's Inception v3, not the network of FID; {TAKE}")
    state = {key: x for key, x in state.items() if not key.endswith(".num_batches_tracked") and key != "fc.bias"}
    images = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
    flat = layouts.shapes_of(jax.eval_shape(Inception().init, jax.random.key(0), images))
    names = table(flat)
    shapes = {path: flat.get(path) or flat[f"params/{_layer(path)}/bias"] for path in names}
    ours = layouts.take(source, "the network", state, names, shapes, kind="the Inception v3 of 2015")
    return flax.traverse_util.unflatten_dict(_fold(ours, source), sep="/")


def table(paths: Iterable[str]) -> Table:
    """Returns the names of the arrays by path: `params/…`, and `statistics/…` of the batch normalisations.

    Args:
        paths: the paths of the network's kernels; others are left out.
    """
    names: Table = {"params/fc/kernel": ("fc.weight", DENSE)}
    for path in paths:
        layer = _layer(path)
        if path.endswith("/kernel") and layer != "fc":
            key = layer.capitalize().replace("/", ".")
            names |= {path: (f"{key}.conv.weight", CONV)} | layouts.batch_norm(layer, f"{key}.bn", STATISTICS)
    return names


def _layer(path: str) -> str:
    """Returns the layer of a path, such as "mixed_5b/branch1x1" of "params/mixed_5b/branch1x1/kernel"."""
    return path.partition("/")[2].rpartition("/")[0]


def _fold(arrays: Mapping[str, np.ndarray], source: str) -> dict[str, np.ndarray]:
    """Returns kernels and biases of convolutions that equal convolution and batch normalisation in evaluation."""
    params = {"params/fc/kernel": arrays["params/fc/kernel"]}
    for path in (path for path in arrays if path.endswith("/var")):
        layer = _layer(path)
        kernel, scale, bias = (arrays[f"params/{layer}/{name}"] for name in ("kernel", "scale", "bias"))
        mean, var = (arrays[f"{STATISTICS}{layer}/{name}"] for name in ("mean", "var"))
        if var.min() < 0:
            raise FileError(f"{source}: the network has a negative variance ({layer})")
        gain = scale / np.sqrt(var.astype(np.float64) + EPSILON)
        params[f"params/{layer}/kernel"] = (kernel * gain).astype(np.float32)
        params[f"params/{layer}/bias"] = (bias - mean * gain).astype(np.float32)
    return params
