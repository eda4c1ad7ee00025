"""Golden files of reference StyleGAN2 networks, read into this project's parameter trees."""

import json
import pathlib
import zlib

import numpy as np

FOLDER = pathlib.Path(__file__).parents[1] / "golden"


def draw(key, shape):
    """The scheme's array of a name (see tests/golden/README.md)."""
    return np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)


def load(name):
    """Returns the arrays of a golden file and the weights its reference was given, by reference name."""
    arrays = dict(np.load(FOLDER / f"{name}.npz"))
    weights = {}
    for key, shape, kind, crc in json.loads(str(arrays.pop("meta")))["keys"]:
        if kind.startswith("affine"):
            _, offset, scale = kind.split(":")
            weights[key] = np.float32(offset) + np.float32(scale) * draw(key, shape)
            assert zlib.crc32(weights[key].tobytes()) == crc, key
    return arrays, weights


def _dense(weights, name):
    return {"kernel": weights[f"{name}.weight"].T, "bias": weights[f"{name}.bias"]}


def _modulated(weights, name):
    return {
        "kernel": weights[f"{name}.weight"][0].transpose(2, 3, 1, 0),
        "affine": _dense(weights, f"{name}.modulation"),
    }


def generator(weights):
    """A rosinality generator as the variables of `Generator`."""

    def styled(name):
        return {
            "conv": _modulated(weights, f"{name}.conv"),
            "noise_strength": weights[f"{name}.noise.weight"][0],
            "bias": weights[f"{name}.activate.bias"],
        }

    def rgb(name):
        return {"conv": _modulated(weights, f"{name}.conv"), "bias": weights[f"{name}.bias"].reshape(3)}

    def noise(index):
        return {"noise": weights[f"noises.noise_{index}"].reshape(*weights[f"noises.noise_{index}"].shape[2:], 1)}

    blocks = sum(key.startswith("to_rgbs") and key.endswith(".bias") and "conv" not in key for key in weights)
    synthesis = {
        "const": weights["input.input"][0].transpose(1, 2, 0),
        "conv_4": styled("conv1"),
        "rgb_4": rgb("to_rgb1"),
    }
    buffers = {"conv_4": noise(0)}
    for block in range(blocks):
        size = 8 << block
        synthesis[f"conv_{size}_up"], synthesis[f"conv_{size}"] = (
            styled(f"convs.{2 * block}"),
            styled(f"convs.{2 * block + 1}"),
        )
        synthesis[f"rgb_{size}"] = rgb(f"to_rgbs.{block}")
        buffers[f"conv_{size}_up"], buffers[f"conv_{size}"] = noise(2 * block + 1), noise(2 * block + 2)
    mapping = {f"dense_{i}": _dense(weights, f"style.{i + 1}") for i in range(8)}
    return {"params": {"mapping": mapping, "synthesis": synthesis}, "buffers": {"synthesis": buffers}}


def discriminator(weights, num_attributes):
    """A rosinality discriminator as the variables of `Discriminator`; its attribute head is zero."""

    def conv(name):
        return {"kernel": weights[name].transpose(2, 3, 1, 0)}

    def biased(name, bias):
        return conv(name) | {"bias": weights[bias]}

    params = {"from_rgb": biased("convs.0.0.weight", "convs.0.1.bias")}
    blocks = sum(key.endswith("skip.1.weight") for key in weights)
    for block in range(1, blocks + 1):
        params[f"block_{4 << (blocks - block)}"] = {
            "conv_0": biased(f"convs.{block}.conv1.0.weight", f"convs.{block}.conv1.1.bias"),
            "conv_1": biased(f"convs.{block}.conv2.1.weight", f"convs.{block}.conv2.2.bias"),
            "skip": conv(f"convs.{block}.skip.1.weight"),
        }
    params["conv_4"] = biased("final_conv.0.weight", "final_conv.1.bias")
    flat = weights["final_linear.0.weight"]  # its columns are (C,H,W)
    width = flat.shape[1] // 16
    kernel = flat.reshape(-1, width, 4, 4).transpose(2, 3, 1, 0).reshape(-1, flat.shape[0])
    params["dense"] = {"kernel": kernel, "bias": weights["final_linear.0.bias"]}
    params["realness"] = _dense(weights, "final_linear.1")
    params["attribute"] = {
        "kernel": np.zeros((width, num_attributes), np.float32),
        "bias": np.zeros(num_attributes, np.float32),
    }
    return {"params": params}
