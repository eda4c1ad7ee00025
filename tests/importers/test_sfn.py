"""Files of the official fusion network, by torch and byte by byte; tests/nets/test_sfn.py tests its outputs."""

import dataclasses

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax import pretrained
from sdgan_jax.importers import formats, sfn
from sdgan_jax.importers.pickles import FileError
from sdgan_jax.nets.sfn import OfficialFusion, Settings
from tests.importers import states, writer

SETTINGS = Settings(widths=(16, 16, 32, 48), style_widths=(4, 5, 6, 7), resolution=32, num_layers=6)
STATE = states.sfn(SETTINGS.widths, SETTINGS.style_widths, 2, SETTINGS.num_layers)


def save(path, legacy=False):
    torch = pytest.importorskip("torch")
    tensors = {f"module.{key}": torch.as_tensor(array) for key, array in STATE.items()}
    torch.save({"model": tensors, "epoch": 3}, path, _use_new_zipfile_serialization=not legacy)


def flat(variables):
    return flax.traverse_util.flatten_dict(variables, sep="/")


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_of_torch(tmp_path, legacy):
    save(tmp_path / "x.pth", legacy)
    found, network = formats.read(tmp_path / "x.pth")
    assert (found, network.kind) == ("sfn", "sfn")
    settings, variables = Settings(**network.settings), network.variables
    assert settings == SETTINGS
    images = jnp.zeros((1, 32, 32, 3))
    shapes = jax.eval_shape(OfficialFusion(settings).init, jax.random.key(0), images, images, jnp.zeros((1, 8, 8, 9)))
    assert {path: leaf.shape for path, leaf in flat(shapes).items()} == {
        path: leaf.shape for path, leaf in flat(variables).items()
    }


@pytest.mark.parametrize("prefix", ["", "module."])
def test_arrays_lie_as_here(tmp_path, prefix):
    """Kernels are transposed and stored times sqrt(fan_in); normalisations become one scale and one shift."""
    state = {key: array for key, array in STATE.items() if "num_batches" not in key}
    content = writer.torch_zip({"model": {prefix + key: array for key, array in state.items()}})
    (tmp_path / "x.pth").write_bytes(content)
    params = flat(formats.read(tmp_path / "x.pth", "sfn")[1].variables["params"])
    key, conv = "arcfacenet.layer3.0.conv2.weight", params["face/block_2_0/conv_1/kernel"]
    np.testing.assert_allclose(conv[0, 2, 5, 9], STATE[key][9, 5, 0, 2] * np.sqrt(9 * 16), rtol=1e-6)
    local = params["regressor/layers/kernel"]  # [D,P,L]
    np.testing.assert_allclose(local[7, 3, 2], STATE["regre.tree_connect_2.0.weight"][0, 2, 3, 7, 0] * 2, rtol=1e-6)
    norm = {part: STATE[f"masknet.layer2.0.downsample.1.{part}"] for part in ("weight", "bias")}
    mean, var = (STATE[f"masknet.layer2.0.downsample.1.running_{part}"] for part in ("mean", "var"))
    scale, bias = (params[f"template/block_1_0/shortcut_norm/{part}"] for part in ("scale", "bias"))
    np.testing.assert_allclose(scale, norm["weight"] / np.sqrt(var + 1e-5), rtol=1e-6)
    np.testing.assert_allclose(
        scale * 1.5 + bias, norm["bias"] + norm["weight"] * (1.5 - mean) / np.sqrt(var + 1e-5), rtol=1e-5
    )


def test_every_array_is_taken_but_the_dead_ones():
    _, variables = sfn.variables_of(STATE)
    dead = [f"fusion.fc_mu{index}.{part}" for index in range(3, 19) for part in ("weight", "bias")]
    dead += [f"encoder.model.{index}.bias" for index in (1, 4, 7, 10)]  # a normalisation takes them away
    unused = (".num_batches_tracked", ".running_mean", ".running_var", "fusion.noise_var")
    live = [array for key, array in STATE.items() if key not in dead and not key.endswith(unused)]
    assert sorted(leaf.size for leaf in jax.tree.leaves(variables)) == sorted(array.size for array in live)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"masknet.layer1.0.bn2.running_var": None},
            "does not fit a Semantic_Fusion_Network of SD-GAN; 1 missing (masknet.layer1.0.bn2.running_var)",
        ),
        ({"arcfacenet.layer3.0.conv2.weight": None}, "missing (arcfacenet.layer3.0.conv2.weight)"),
        ({"fusion.extra.weight": np.zeros(3)}, "1 unexpected (fusion.extra.weight)"),
        ({"fusion.conv_beta.bias": np.zeros(47)}, "1 misshaped (fusion.conv_beta.bias is [47], expected [48])"),
        ({"regre.tree_connect_1.0.weight": np.zeros((1, 48, 48, 5, 1))}, "misshaped (regre.tree_connect_1.0.weight"),
        ({"regre.in3.weight": np.full(6, np.nan)}, "holds NaN or infinity; 1 not finite (regre.in3.weight)"),
        ({"arcfacenet.bn1.running_var": np.full(16, -1.0)}, "the network has a negative variance (face/input_norm)"),
    ],
)
def test_faults_are_named(change, message):
    state = {key: array for key, array in (STATE | change).items() if array is not None}
    with pytest.raises(FileError) as error:
        sfn.variables_of(state, "x.pth")
    assert str(error.value).startswith("x.pth: ") and message in str(error.value)
    assert "\n" not in str(error.value)


class Recorder:
    """A stand-in for a network that keeps its input."""

    settings = SETTINGS

    def apply(self, variables, *inputs):
        self.variables, self.inputs = variables, inputs
        return np.ones((len(inputs[0]), 6, 48), np.float32)


def test_a_directory_gives_the_same_network(tmp_path):
    """The network is converted, written and read; its input has the size that it was built for."""
    save(tmp_path / "x.pth")
    _, network = formats.read(tmp_path / "x.pth")
    pretrained.write(tmp_path / "net", network.kind, network.settings, network.variables)
    loaded = pretrained.fusion_network(tmp_path / "net")
    assert loaded.net == OfficialFusion(SETTINGS)
    rng = np.random.default_rng(0)
    face, maps = (rng.uniform(-1, 1, shape).astype(np.float32) for shape in ((2, 32, 32, 3), (2, 8, 8, 9)))
    ramp = (np.arange(64, dtype=np.float32) - 31.5) / 32
    template = np.broadcast_to(ramp[:, None, None], (2, 64, 64, 3))
    recorder = Recorder()
    dataclasses.replace(loaded, net=recorder)(face, template, maps)
    np.testing.assert_array_equal(recorder.inputs[0], face)
    # At half the size a ramp is a ramp, but for its ends.
    shrunk = np.broadcast_to(((np.arange(32) - 15.5) / 16)[:, None, None], (2, 32, 32, 3))
    np.testing.assert_allclose(recorder.inputs[1][:, 2:-2], shrunk[:, 2:-2], atol=1e-6)
    np.testing.assert_array_equal(recorder.inputs[2], maps)
    read, written = flat(recorder.variables), flat(network.variables)
    assert read.keys() == written.keys()
    for path, array in read.items():
        np.testing.assert_array_equal(array, written[path], err_msg=path)
    with pytest.raises(ValueError, match=r"templates must be \[N,R,R,3\], got \[2, 64, 63, 3\]"):
        loaded(face, template[:, :, 1:], maps)
    with pytest.raises(ValueError, match=r"maps must be \[N,S,S,9\], S a multiple of 4; got \[2, 8, 8, 8\]"):
        loaded(face, template, maps[..., 1:])


def test_other_files_are_refused(tmp_path):
    assert sfn.is_sfn(STATE) and sfn.is_sfn(f"module.{key}" for key in STATE)
    assert not sfn.is_sfn(["g_ema", "d"])
    (tmp_path / "x.pth").write_bytes(writer.torch_zip({"model": {"x": np.zeros(2, np.float32)}}))
    with pytest.raises(
        FileError, match=r"x.pth is a file of torch, but of an unknown network: it holds model \(x, …\); "
    ):
        formats.read(tmp_path / "x.pth")
    state = {key: array for key, array in STATE.items() if "num_batches" not in key}
    (tmp_path / "x.pth").write_bytes(writer.torch_legacy({"model": state}))
    with pytest.raises(FileError, match="x.pth is of the format sfn, not irse50; leave --format=auto"):
        formats.read(tmp_path / "x.pth", "irse50")
