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
        weights[key] = kept[key] if kind == "keep" else make(key, shape, kind)
        if crc is not None and kind != "keep":
            assert zlib.crc32(weights[key].tobytes()) == crc, key
    return arrays, weights


def make(key, shape, kind):
    """The weight of a name, a shape and a kind."""
    name, *numbers = kind.split(":")
    numbers = [np.float32(number) for number in numbers]
    if name == "zero":
        return np.zeros(shape, np.float32)
    n = draw(key, shape)
    if name == "affine":
        return numbers[0] + numbers[1] * n
    if name == "absvar":
        return np.abs(n) + np.float32(0.5)
    if name == "fan":
        return n / np.sqrt(numbers[0])
    assert name == "he", kind
    return n * np.sqrt(np.float32(2) / numbers[0])


def shapes(name):
    """The shapes of the reference's state dict, by its names."""
    listed = json.loads(str(np.load(FOLDER / f"{name}.npz")["meta"]))["keys"]
    return {key: tuple(shape) for key, shape, _, _ in listed}


def param_order(name):
    """The parameters that norms of gradients were taken of, in their order."""
    return json.loads(str(np.load(FOLDER / f"{name}.npz")["meta"]))["param_order"]
