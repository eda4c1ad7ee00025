"""The official fusion network against its golden file, and its parts against closed forms."""

import json
import zlib

import flax.traverse_util
import jax
import numpy as np
import pytest

from sdgan_jax.importers import sfn as importer
from sdgan_jax.nets.fusion_layers import LocallyConnected
from sdgan_jax.nets.sfn import Codes, OfficialFusion, Settings
from tests.importers import states
from tests.nets import golden

SMALL = Settings(widths=(16, 16, 32, 48), style_widths=(4, 5, 6, 7), resolution=32, num_layers=6)

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
    assert set(errors) == set(arrays)
    assert max(errors.values()) <= 1e-4, errors


def torch_network(state, face, template, maps):
    """The network in torch, from the names and shapes of its state dict and the papers it is made of."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    state = {key: torch.as_tensor(array) for key, array in state.items()}
    face, template, maps = (torch.as_tensor(x.transpose(0, 3, 1, 2).copy()) for x in (face, template, maps))

    def norm(x, key):
        parts = (state[f"{key}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, *parts)

    def conv(x, key, stride=1, padding=None):
        kernel = state[f"{key}.weight"]
        padding = kernel.shape[-1] // 2 if padding is None else padding
        return functional.conv2d(x, kernel, state.get(f"{key}.bias"), stride, padding)

    def dense(x, key):
        return functional.linear(x, state[f"{key}.weight"], state[f"{key}.bias"])

    def prelu(x, key):
        return functional.prelu(x, state[f"{key}.weight"])

    def block(x, key, stride):
        shortcut = x
        if f"{key}.downsample.0.weight" in state:
            shortcut = norm(conv(x, f"{key}.downsample.0", stride), f"{key}.downsample.1")
        if key.startswith("masknet"):
            y = norm(conv(x, f"{key}.conv1", stride), f"{key}.bn1").relu()
            return (norm(conv(y, f"{key}.conv2"), f"{key}.bn2") + shortcut).relu()
        y = norm(conv(norm(x, f"{key}.bn0"), f"{key}.conv1"), f"{key}.bn1")
        y = norm(conv(prelu(y, f"{key}.prelu"), f"{key}.conv2", stride), f"{key}.bn2")
        scale = dense(prelu(dense(y.mean((2, 3)), f"{key}.se.fc.0"), f"{key}.se.fc.1"), f"{key}.se.fc.2")
        return prelu(y * scale.sigmoid()[:, :, None, None] + shortcut, f"{key}.prelu")

    def trunk(x, key, first):
        for stage in range(1, 5):
            for index in range(2):
                x = block(x, f"{key}.layer{stage}.{index}", (first if stage == 1 else 2) if index == 0 else 1)
        return x

    x = prelu(norm(conv(face, "arcfacenet.conv1"), "arcfacenet.bn1"), "arcfacenet.prelu")
    features = trunk(functional.max_pool2d(x, 2), "arcfacenet", 1)
    semantic = trunk(norm(conv(template, "masknet.conv1"), "masknet.bn1").relu(), "masknet", 2)

    x, mirror = maps, (1, 1, 1, 1)
    for index in (1, 4, 7, 10):
        key = f"encoder.model.{index}"
        if index == 1:
            x = conv(functional.pad(x, mirror, "reflect"), key, padding=0)
        elif index == 10:
            parts = (state[f"{key}.weight"], state[f"{key}.bias"])
            x = functional.conv_transpose2d(x, *parts, stride=2, padding=1, output_padding=1)
        else:
            x = conv(x, key, 2)
        x = functional.leaky_relu(functional.instance_norm(x), 0.2)
    code_map = conv(functional.pad(x, mirror, "reflect"), "encoder.model.14", padding=0).tanh()

    inside = functional.interpolate(face, size=code_map.shape[2:], mode="nearest").bool()
    plane = torch.zeros_like(semantic)
    for n in range(len(face)):
        for region in range(3):
            chosen = code_map[n][:, inside[n, region]]
            code = chosen.mean(1) if chosen.shape[1] else torch.zeros(len(code_map[n]))
            plane[n][:, features[n, region] != 0] = dense(code, f"fusion.fc_mu{region}").relu()[:, None]
    shared = conv(features, "fusion.Spade.mlp_shared.0").relu()
    blended = {}
    for name in ("gamma", "beta"):
        share = state[f"fusion.blending_{name}"].sigmoid()
        of_codes, of_face = conv(plane, f"fusion.conv_{name}"), conv(shared, f"fusion.Spade.mlp_{name}")
        blended[name] = share * of_codes + (1 - share) * of_face
    x = functional.instance_norm(semantic) * (1 + blended["gamma"]) + blended["beta"]
    x = torch.einsum("ncp,ocp->nop", x.flatten(2), state["regre.tree_connect_1.0.weight"][0, ..., 0]).relu()
    x = torch.einsum("ndp,lpd->nld", x, state["regre.tree_connect_2.0.weight"][0, ..., 0]).relu()
    scale, bias = state["regre.in3.weight"], state["regre.in3.bias"]
    return functional.instance_norm(x, weight=scale, bias=bias).numpy()


def test_a_small_one_is_that_of_torch():
    """With a face whose third channel is black on one half and whose second is black altogether."""
    state = states.sfn(SMALL.widths, SMALL.style_widths, 2, SMALL.num_layers)
    images = [golden.draw(name, (2, 32, 32, 3)) for name in ("face", "template")]
    images[0][1, :, :16, 2] = images[0][1, ..., 1] = 0
    maps = golden.draw("maps", (2, 16, 16, 9))
    settings, variables = importer.variables_of(state)
    assert settings == SMALL
    actual = jax.jit(OfficialFusion(settings).apply)(variables, *images, maps)
    expected = torch_network(state, *images, maps)
    assert np.abs(actual - expected).max() <= 1e-5 * np.abs(expected).max()


def test_codes_are_means_where_a_channel_is_not_zero():
    code_map, face = golden.draw("codes", (2, 4, 4, 5)), golden.draw("face", (2, 8, 8, 3))
    face[0, :4, :, 1] = face[1, ..., 2] = 0
    actual = Codes().apply({}, code_map, face)
    np.testing.assert_allclose(actual[0, 1], code_map[0, 2:].mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(actual[1, 0], code_map[1].mean((0, 1)), rtol=1e-5)
    np.testing.assert_array_equal(actual[1, 2], np.zeros(5))


def test_each_position_has_its_own_dense_layer():
    x, kernel = golden.draw("x", (2, 4, 3)), golden.draw("kernel", (4, 3, 5))
    actual = LocallyConnected(5).apply({"params": {"kernel": kernel}}, x)
    for position in range(4):
        np.testing.assert_allclose(actual[:, position], x[:, position] @ kernel[position] / np.sqrt(3), rtol=1e-5)
