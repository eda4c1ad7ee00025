"""Golden files of reference StyleGAN2 networks (see tests/golden/README.md)."""

import json
import pathlib
import zlib

import numpy as np

FOLDER = pathlib.Path(__file__).parents[1] / "golden"


def draw(key, shape):
    """The scheme's array of a name."""
    return np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)


def load(name):
    """Returns the arrays of a golden file and the state dict its reference was given, by the reference's names."""
    arrays = dict(np.load(FOLDER / f"{name}.npz"))
    meta = json.loads(str(arrays.pop("meta")))
    kept = {key: arrays[array] for array, keys in meta["keep"].items() for key in keys}
    weights = {}
    for key, shape, kind, crc in meta["keys"]:
        if kind == "keep":
            weights[key] = kept[key]
        else:
            _, offset, scale = kind.split(":")
            weights[key] = np.float32(offset) + np.float32(scale) * draw(key, shape)
            assert zlib.crc32(weights[key].tobytes()) == crc, key
    return arrays, weights


def param_order(name):
    """The parameters that norms of gradients were taken of, in their order."""
    return json.loads(str(np.load(FOLDER / f"{name}.npz")["meta"]))["param_order"]
