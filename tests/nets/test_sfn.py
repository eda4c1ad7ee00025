"""The official fusion network against its golden file, and its parts against closed forms."""

import json
import zlib

import flax.traverse_util
import jax
import numpy as np
import pytest

from sdgan_jax.importers import sfn as importer
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


class TorchNetwork:
    """The network in torch, from the names and shapes of its state dict and the papers it follows; NCHW."""

    def __init__(self, state):
        self.torch = pytest.importorskip("torch")
        self.functional = self.torch.nn.functional
        self.state = {key: self.torch.as_tensor(array) for key, array in state.items()}

    def __call__(self, face, template, maps):
        """Takes NHWC arrays of numpy; returns the offset."""
        face, template, maps = (self.torch.as_tensor(x.transpose(0, 3, 1, 2).copy()) for x in (face, template, maps))
        x = self.prelu(self.norm(self.conv(face, "arcfacenet.conv1"), "arcfacenet.bn1"), "arcfacenet.prelu")
        features = self.trunk(self.functional.max_pool2d(x, 2), "arcfacenet", 1)
        x = self.norm(self.conv(template, "masknet.conv1"), "masknet.bn1").relu()
        semantic = self.trunk(x, "masknet", 2)
        plane = self.code_plane(face, features, self.code_map(maps))
        return self.regress(self.fuse(semantic, features, plane)).numpy()

    def norm(self, x, key):
        parts = (self.state[f"{key}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return self.functional.batch_norm(x, *parts)

    def conv(self, x, key, stride=1, padding=None):
        kernel = self.state[f"{key}.weight"]
        padding = kernel.shape[-1] // 2 if padding is None else padding
        return self.functional.conv2d(x, kernel, self.state.get(f"{key}.bias"), stride, padding)

    def dense(self, x, key):
        return self.functional.linear(x, self.state[f"{key}.weight"], self.state[f"{key}.bias"])

    def prelu(self, x, key):
        return self.functional.prelu(x, self.state[f"{key}.weight"])

    def block(self, x, key, stride):
        shortcut = x
        if f"{key}.downsample.0.weight" in self.state:
            shortcut = self.norm(self.conv(x, f"{key}.downsample.0", stride), f"{key}.downsample.1")
        if key.startswith("masknet"):
            y = self.norm(self.conv(x, f"{key}.conv1", stride), f"{key}.bn1").relu()
            return (self.norm(self.conv(y, f"{key}.conv2"), f"{key}.bn2") + shortcut).relu()
        y = self.norm(self.conv(self.norm(x, f"{key}.bn0"), f"{key}.conv1"), f"{key}.bn1")
        y = self.norm(self.conv(self.prelu(y, f"{key}.prelu"), f"{key}.conv2", stride), f"{key}.bn2")
        hidden = self.prelu(self.dense(y.mean((2, 3)), f"{key}.se.fc.0"), f"{key}.se.fc.1")
        scale = self.dense(hidden, f"{key}.se.fc.2")
        return self.prelu(y * scale.sigmoid()[:, :, None, None] + shortcut, f"{key}.prelu")

    def trunk(self, x, key, first):
        for stage in range(1, 5):
            for index in range(2):
                stride = (first if stage == 1 else 2) if index == 0 else 1
                x = self.block(x, f"{key}.layer{stage}.{index}", stride)
        return x

    def code_map(self, x):
        """The style encoder."""
        reflected = lambda x: self.functional.pad(x, (1, 1, 1, 1), "reflect")  # noqa: E731
        for index in (1, 4, 7, 10):
            key = f"encoder.model.{index}"
            if index == 1:
                x = self.conv(reflected(x), key, padding=0)
            elif index == 10:
                parts = (self.state[f"{key}.weight"], self.state[f"{key}.bias"])
                x = self.functional.conv_transpose2d(x, *parts, stride=2, padding=1, output_padding=1)
            else:
                x = self.conv(x, key, 2)
            x = self.functional.leaky_relu(self.functional.instance_norm(x), 0.2)
        return self.conv(reflected(x), "encoder.model.14", padding=0).tanh()

    def code_plane(self, face, features, code_map):
        """The codes of the regions, written where the channels of the features are not zero."""
        inside = self.functional.interpolate(face, size=code_map.shape[2:], mode="nearest").bool()
        plane = self.torch.zeros_like(features)
        for n in range(len(face)):
            for region in range(3):
                chosen = code_map[n][:, inside[n, region]]
                code = chosen.mean(1) if chosen.shape[1] else self.torch.zeros(len(code_map[n]))
                places = features[n, region] != 0
                plane[n][:, places] = self.dense(code, f"fusion.fc_mu{region}").relu()[:, None]
        return plane

    def fuse(self, semantic, features, plane):
        shared = self.conv(features, "fusion.Spade.mlp_shared.0").relu()
        blended = {}
        for name in ("gamma", "beta"):
            share = self.state[f"fusion.blending_{name}"].sigmoid()
            of_codes, of_face = self.conv(plane, f"fusion.conv_{name}"), self.conv(shared, f"fusion.Spade.mlp_{name}")
            blended[name] = share * of_codes + (1 - share) * of_face
        return self.functional.instance_norm(semantic) * (1 + blended["gamma"]) + blended["beta"]

    def regress(self, x):
        state, einsum = self.state, self.torch.einsum
        x = einsum("ncp,ocp->nop", x.flatten(2), state["regre.tree_connect_1.0.weight"][0, ..., 0]).relu()
        x = einsum("ndp,lpd->nld", x, state["regre.tree_connect_2.0.weight"][0, ..., 0]).relu()
        return self.functional.instance_norm(x, weight=state["regre.in3.weight"], bias=state["regre.in3.bias"])


def test_a_small_one_is_that_of_torch():
    """With a face whose third channel is black on one half and whose second is black altogether."""
    state = states.sfn(SMALL.widths, SMALL.style_widths, 2, SMALL.num_layers)
    images = [golden.draw(name, (2, 32, 32, 3)) for name in ("face", "template")]
    images[0][1, :, :16, 2] = images[0][1, ..., 1] = 0
    maps = golden.draw("maps", (2, 16, 16, 9))
    settings, variables = importer.variables_of(state)
    assert settings == SMALL
    actual = jax.jit(OfficialFusion(settings).apply)(variables, *images, maps)
    expected = TorchNetwork(state)(*images, maps)
    assert np.abs(actual - expected).max() <= 1e-5 * np.abs(expected).max()


def test_codes_are_means_where_a_channel_is_not_zero():
    code_map, face = golden.draw("codes", (2, 4, 4, 5)), golden.draw("face", (2, 8, 8, 3))
    face[0, :4, :, 1] = face[1, ..., 2] = 0
    actual = Codes().apply({}, code_map, face)
    np.testing.assert_allclose(actual[0, 1], code_map[0, 2:].mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(actual[1, 0], code_map[1].mean((0, 1)), rtol=1e-5)
    np.testing.assert_array_equal(actual[1, 2], np.zeros(5))
