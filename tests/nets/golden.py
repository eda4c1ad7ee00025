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
        weights[key] = kept[key] if kind == "keep" else weight(key, shape, kind)
        assert crc is None or zlib.crc32(weights[key].tobytes()) == crc, key
    return arrays, weights


def weight(key, shape, kind):
    """The scheme's weight of a name, all in float32."""
    kind, *numbers = kind.split(":")
    numbers = [np.float32(number) for number in numbers]
    if kind == "affine":
        return numbers[0] + numbers[1] * draw(key, shape)
    if kind == "absvar":
        return np.abs(draw(key, shape)) + np.float32(0.5)
    if kind == "fan":
        return draw(key, shape) / np.sqrt(numbers[0])
    if kind == "he":
        return draw(key, shape) * np.sqrt(np.float32(2) / numbers[0])
    assert kind == "zero", kind
    return np.zeros(shape, np.float32)


def param_order(name):
    """The parameters that norms of gradients were taken of, in their order."""
    return json.loads(str(np.load(FOLDER / f"{name}.npz")["meta"]))["param_order"]
