"""Files of the identity network, written by torch and byte by byte; tests/nets/test_arcface.py tests its outputs."""

import dataclasses

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax import pretrained
from sdgan_jax.importers import arcface, formats
from sdgan_jax.importers.pickles import FileError
from sdgan_jax.nets.arcface import ArcFace
from tests.importers import states, writer
from tests.nets import golden

BLOCKS, WIDTHS, EMBEDDING = (1, 2), (16, 32), 8
STATE = states.irse(BLOCKS, WIDTHS, 3, EMBEDDING)


def save(path, tensors, legacy=False):
    torch = pytest.importorskip("torch")
    tensors = {key: torch.as_tensor(array) for key, array in tensors.items()}
    torch.save(tensors, path, _use_new_zipfile_serialization=not legacy)


def flat(variables):
    return flax.traverse_util.flatten_dict(variables, sep="/")


def same(a, b):
    assert flat(a).keys() == flat(b).keys()
    for path, array in flat(a).items():
        np.testing.assert_array_equal(array, flat(b)[path], err_msg=path)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_of_torch(tmp_path, legacy):
    save(tmp_path / "x.pth", STATE, legacy)
    found, network = formats.read(tmp_path / "x.pth")
    assert (found, network.kind) == ("irse50", "identity")
    crop = network.settings.pop("crop")
    np.testing.assert_array_equal(np.array(crop) * 256, [35, 32, 223, 220])
    sizes = {"blocks": BLOCKS, "widths": WIDTHS, "embedding_dim": EMBEDDING, "resolution": 12}
    assert network.settings == sizes
    variables = network.variables
    shapes = jax.eval_shape(ArcFace(BLOCKS, WIDTHS, EMBEDDING).init, jax.random.key(0), jnp.zeros((1, 12, 12, 3)))
    assert {path: leaf.shape for path, leaf in flat(shapes).items()} == {
        path: leaf.shape for path, leaf in flat(variables).items()
    }
    dense = STATE["output_layer.3.weight"].reshape(EMBEDDING, 32, 3, 3)  # [E,C,H,W]
    ours = variables["params"]["embedding"]["kernel"].reshape(3, 3, 32, EMBEDDING)
    np.testing.assert_array_equal(ours[2, 0, 5], dense[:, 5, 2, 0])
    np.testing.assert_array_equal(
        variables["params"]["block_1"]["conv_1"]["kernel"][0, 2], STATE["body.1.res_layer.3.weight"][:, :, 0, 2].T
    )


@pytest.mark.parametrize("write", [writer.torch_zip, writer.torch_legacy])
def test_names_with_and_without_a_prefix(tmp_path, write):
    state = {key: array for key, array in STATE.items() if "num_batches" not in key}
    expected = arcface.variables_of(STATE)
    for prefix in ("", "module."):
        (tmp_path / "x.pth").write_bytes(write({prefix + key: array for key, array in state.items()}))
        _, network = formats.read(tmp_path / "x.pth", "irse50")
        assert network.settings == expected[0] | {"crop": arcface.CROP}
        same(network.variables, expected[1])


def test_the_last_normalisation_may_have_no_scale_and_bias():
    without = {
        key: array for key, array in STATE.items() if key not in ("output_layer.4.weight", "output_layer.4.bias")
    }
    ones = {"output_layer.4.weight": np.ones(EMBEDDING), "output_layer.4.bias": np.zeros(EMBEDDING)}
    same(arcface.variables_of(without)[1], arcface.variables_of(STATE | ones)[1])


def test_every_name_of_the_published_network_is_read():
    """By shape alone, without its 44 million numbers."""
    shapes = golden.shapes("irse50")
    state = {key: np.broadcast_to(np.float32(1), shape) for key, shape in shapes.items()}
    settings, variables = arcface.variables_of(state)
    assert settings["resolution"] == 112
    numbers = sum(np.prod(shape, dtype=int) for key, shape in shapes.items() if not key.endswith("num_batches_tracked"))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == numbers


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"body.1.res_layer.4.bias": None}, "does not fit an IR-SE; 1 missing (body.1.res_layer.4.bias)"),
        ({"output_layer.4.bias": None}, "1 missing (output_layer.4.bias)"),
        ({"body.0.shortcut_layer.0.weight": np.zeros((16, 16, 1, 1))}, "1 unexpected (body.0.shortcut_layer.0.weight)"),
        (
            {"body.2.res_layer.5.fc1.weight": np.zeros((4, 32, 1, 1))},
            "1 misshaped (body.2.res_layer.5.fc1.weight is [4, 32, 1, 1], expected [2, 32, 1, 1])",
        ),
        ({"input_layer.1.bias": np.full(16, np.nan)}, "holds NaN or infinity; 1 not finite (input_layer.1.bias)"),
        ({"body.1.res_layer.1.weight": None}, "body.1.res_layer.1.weight is missing; the file is not an IR-SE network"),
        ({"body.1.res_layer.1.weight": np.zeros(3)}, "body.1.res_layer.1.weight is [3], expected 4 axes"),
        ({"output_layer.3.weight": np.zeros((8, 33))}, "is [8, 33]; it must fit a square map of 32 channels"),
    ],
)
def test_faults_are_named(change, message):
    state = {key: array for key, array in (STATE | change).items() if array is not None}
    with pytest.raises(FileError) as error:
        arcface.variables_of(state, "x.pth")
    assert str(error.value).startswith("x.pth: ") and message in str(error.value)
    assert "\n" not in str(error.value)


class Recorder:
    """A stand-in for a network that keeps its input."""

    def apply(self, variables, images):
        self.variables, self.images = variables, np.asarray(images)
        return np.ones((len(images), 1), np.float32)


def test_a_directory_gives_the_same_network(tmp_path):
    """The network is converted, written and read; its crops of photos of 64 and 256 pixels are those of torch."""
    torch = pytest.importorskip("torch")
    save(tmp_path / "x.pth", STATE)
    _, network = formats.read(tmp_path / "x.pth")
    pretrained.write(tmp_path / "net", network.kind, network.settings, network.variables)
    loaded = pretrained.identity_network(tmp_path / "net")
    assert loaded.net == ArcFace(BLOCKS, WIDTHS, EMBEDDING)
    same(loaded.variables, network.variables)
    # Of 256 pixels the crop is rows 35 to 223 and columns 32 to 220; of 64 it is rounded.
    for size, rows, columns in ((256, slice(35, 223), slice(32, 220)), (64, slice(9, 56), slice(8, 55))):
        photos = np.random.default_rng(0).uniform(-1, 1, (2, size, size, 3)).astype(np.float32)
        recorder = Recorder()
        dataclasses.replace(loaded, net=recorder)(photos)
        faces = torch.as_tensor(photos[:, rows, columns].transpose(0, 3, 1, 2))
        expected = torch.nn.functional.interpolate(faces, (12, 12), mode="area")
        np.testing.assert_allclose(recorder.images, expected.numpy().transpose(0, 2, 3, 1), atol=1e-6)
        same(recorder.variables, network.variables)


def test_other_files_are_refused(tmp_path):
    assert arcface.is_arcface(STATE) and arcface.is_arcface(f"module.{key}" for key in STATE)
    assert not arcface.is_arcface(["g_ema", "d"])
    (tmp_path / "x.pth").write_bytes(writer.torch_zip({k: v for k, v in STATE.items() if "num_batches" not in k}))
    for wrong in ("rosinality", "sfn", "nvlabs"):
        with pytest.raises(FileError, match=f"x.pth is of the format irse50, not {wrong}; leave --format=auto"):
            formats.read(tmp_path / "x.pth", wrong)
