"""The official fusion network against its golden file, and its parts against closed forms."""

import json
import zlib

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.importers import sfn as importer
from sdgan_jax.nets.sfn import OfficialFusion
from tests.nets import golden

TAPS = {  # the module whose output it is, and what the golden file keeps of it
    "arcfacenet_s": ("face", lambda x: x.transpose(0, 3, 1, 2)[:, ::16, ::4, ::4]),
    "masknet_s": ("template", lambda x: x.transpose(0, 3, 1, 2)[:, ::16, ::4, ::4]),
    "style_code": ("codes", lambda x: x),
    "fusion_s": ("fuse", lambda x: x.transpose(0, 3, 1, 2)[:, ::16, ::4, ::4]),
    "tree_connect_1_s": ("regressor/local", lambda x: np.maximum(x, 0).swapaxes(1, 2)[:, ::16, ::16]),
    "tree_connect_2": ("regressor/layers", lambda x: np.maximum(x, 0).swapaxes(1, 2)),
}


def golden_inputs():
    """Face, template and the two sizes of 3D maps, NHWC."""
    made = {}
    for name, channels, size, cell in (
        ("face_image", 3, 256, 32),
        ("mask_image", 3, 256, 32),
        ("style_image", 9, 128, 16),
        ("style_image64", 9, 64, 8),
    ):
        low = np.float32(0.5) * golden.draw(f"input.{name}.low", (2, channels, size // cell, size // cell))
        image = np.kron(low, np.ones((cell, cell), np.float32))
        image += np.float32(0.25) * golden.draw(f"input.{name}", (2, channels, size, size))
        if name == "face_image":
            image[1, 0, 64:192, 32:160] = image[1, 1] = image[1, 2, :, :100] = 0
        made[name] = image
    listed = json.loads(str(np.load(golden.FOLDER / "sdgan_sfn.npz")["meta"]))["crc"]
    assert {name: zlib.crc32(image.tobytes()) for name, image in made.items()} == listed
    return {name: image.transpose(0, 2, 3, 1) for name, image in made.items()}


@pytest.mark.slow
def test_the_release():
    arrays, state = golden.load("sdgan_sfn")
    settings, variables = importer.variables_of(state)
    del state
    inputs, net = golden_inputs(), OfficialFusion(settings)
    apply = jax.jit(lambda v, *images: net.apply(v, *images, capture_intermediates=True))
    errors = {}
    for suffix in ("", "64"):
        maps = inputs[f"style_image{suffix}"]
        direction, kept = apply(variables, inputs["face_image"], inputs["mask_image"], maps)
        kept = flax.traverse_util.flatten_dict(kept["intermediates"], sep="/")
        taps = {name: cut(np.asarray(kept[f"{path}/__call__"][0])) for name, (path, cut) in TAPS.items()}
        if suffix:
            taps = {"style_code64": taps["style_code"]}
        taps["direction_style64" if suffix else "direction"] = np.asarray(direction)
        for name, actual in taps.items():
            assert actual.shape == arrays[name].shape, name
            errors[name] = np.abs(actual - arrays[name]).max() / np.abs(arrays[name]).max()
    print(errors)
    assert set(errors) == set(arrays)
    assert max(errors.values()) <= 1e-4, errors
